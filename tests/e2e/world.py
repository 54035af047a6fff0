"""A world of its own for the tests: namespace W, where sluice runs, and namespace O, the outside.

W and O are joined by one veth pair, and O answers for every address there is: whatever leaves W is
seen by O, logged, and goes no further. Nothing of it has a name on the machine; all of it ends with
the process that made it.

    W  25.10.0.1, 2a0e:1::1  --veth--  O  25.10.0.53 (DNS), 25.10.0.10-13, and every other address
"""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import kernel

MACHINE4 = "25.10.0.1"
MACHINE6 = "2a0e:1::1"
DNS4 = "25.10.0.53"
ALLOWED4 = "25.10.0.10"
ALLOWED6 = "2a0e:1::10"
OTHER4 = "25.10.0.11"
SSH4 = "25.10.0.12"
ROUTER4 = "25.10.0.2"
ROUTER6 = "2a0e:1::2"

PREFIX = "sluice-e2e-"
BASE = "/mnt"  # the world's directory, as W sees it
BIN = "/home/bin"  # the programs under test
DEB = "/home/sluice.deb"  # the package of $SLUICE_DEB
TESTS = "/home/tests"  # these sources
DOCS = "/home/docs"  # the documentation, which a test types
DEPLOY = "/home/deploy"  # what is shipped for operators
PROMETHEUS = "/home/prometheus"  # Prometheus's programs, where SLUICE_PROMETHEUS names them
INSIDE = "/home/inside"  # the probe programs, readable for every agent
LOG = BASE + "/outside.jsonl"
FIRST_OWN, OWN = 10000, 50000  # ports of the packets with which the log of packets is waited for
CERTIFICATES = BASE + "/tls"
CA = CERTIFICATES + "/ca.pem"
PYTHON = "/usr/bin/python3"

NAMES_IN_CERTIFICATE = [
    "allowed.test",
    "*.allowed.test",
    "other.test",
    "*.wild.test",
    "*.example.com",
    "*.example.org",
    "*.cdn.example.net",
    "*.flip.test",
    "mixed.test",
    "v6.test",
]


class Impossible(Exception):
    """This machine cannot make the world; the text is the kernel's fact."""


# -- made from outside: the directory, the namespaces, pid 1 of W --------------------------------


def enter(arguments):
    """Makes the world, runs this program again inside with `arguments`, answers its exit status."""
    _remove_abandoned()
    base = tempfile.mkdtemp(prefix=PREFIX)
    held = _lock(base)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _fill_directory(base)
        child = os.fork()
        if child == 0:
            _guarded(_namespaces, base, arguments)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        shutil.rmtree(base, ignore_errors=True)
        os.close(held)


def _lock(folder):
    """A descriptor that holds `folder`'s lock; OSError when another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned():
    """A run that was ended by SIGKILL could not remove its directory: the next one does."""
    for name in os.listdir(tempfile.gettempdir()):
        folder = os.path.join(tempfile.gettempdir(), name)
        if not name.startswith(PREFIX):
            continue
        try:
            descriptor = _lock(folder)
        except OSError:
            continue
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and time.time() - found.st_mtime > 60:  # made just now?
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _guarded(function, *arguments):
    """Runs `function` in a forked child, which never returns to the caller's code."""
    status = 70
    try:
        status = function(*arguments)
    except Impossible as error:
        print(f"skipped: {error}")
        status = 77
    except BaseException as error:  # a child that returned would run the parent's clean-up
        print(f"world: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if status >= 0 else 128 - status)


def _fill_directory(base):
    os.chmod(base, 0o711)
    for name in ("home/bin", "home/tests", "home/agent", "home/prometheus", "root", "tls"):
        os.makedirs(f"{base}/{name}")
    here = os.path.dirname(os.path.abspath(__file__))
    shutil.copytree(f"{here}/inside", f"{base}/home/inside")
    for top in ("docs", "deploy"):
        shutil.copytree(f"{here}/../../{top}", f"{base}/home/{top}")
    shutil.copy(f"{here}/../../.dockerignore", f"{base}/home/deploy")
    for top in ("inside", "docs", "deploy"):
        for folder, _, files in os.walk(f"{base}/home/{top}"):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(f"{folder}/{name}", 0o644)
    if "SLUICE_DEB" in os.environ:
        shutil.copy(os.environ["SLUICE_DEB"], f"{base}/home/sluice.deb")
    with open(f"{base}/resolv.conf", "w") as file:
        file.write(f"nameserver {DNS4}\n")
    with open(f"{base}/hosts", "w") as file:
        file.write("127.0.0.1 localhost\n::1 localhost\n")
    os.chmod(f"{base}/resolv.conf", 0o644)
    os.chmod(f"{base}/hosts", 0o644)
    _make_certificates(f"{base}/tls")


def _make_certificates(folder):
    names = ",".join(f"DNS:{name}" for name in NAMES_IN_CERTIFICATE)
    with open(f"{folder}/leaf.cnf", "w") as file:
        file.write(f"subjectAltName={names}\n")

    def openssl(*arguments):
        subprocess.run(
            ["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60
        )

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30",
            "-subj", "/CN=sluice test CA")  # fmt: skip
    openssl("req", *key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=allowed.test")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30",
            "-CAcreateserial", "-extfile", "leaf.cnf", "-out", "leaf.pem")  # fmt: skip


def _namespaces(base, arguments):
    """The first child: unshares, becomes the parent of W's pid 1, and dies with its own parent."""
    kernel.die_with_parent()
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    uid, gid = os.geteuid(), os.getegid()
    ordinary = uid != 0
    try:
        kernel.unshare(flags | (kernel.CLONE_NEWUSER if ordinary else 0))
    except OSError as error:
        raise Impossible(f"the kernel refuses new namespaces: {error}") from error
    if ordinary:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    init = os.fork()
    if init == 0:
        _guarded(_init, base, arguments, ordinary)
    return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def _init(base, arguments, ordinary):
    """W's pid 1: mounts, starts the tests, reaps. The kernel kills what is left when it ends."""
    kernel.die_with_parent()
    _mounts(base)
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SLUICE_E2E_WORLD": "rootless" if ordinary else "root",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for asked in ("SLUICE_WALKTHROUGH", "SLUICE_LIVES", "SLUICE_E2E_PATIENCE", "SLUICE_E2E_DELEGATED"):
        if asked in os.environ:
            environment[asked] = os.environ[asked]
    runner = os.fork()
    if runner == 0:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # nohup(1) and a shell's & ignore them
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        os.execve(PYTHON, [PYTHON, f"{TESTS}/run.py", *arguments], environment)
    while True:
        pid, status = os.wait()
        if pid == runner:
            return os.waitstatus_to_exitcode(status)


def _mounts(base):
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    programs = os.environ["SLUICE_BIN"]
    here = os.path.dirname(os.path.abspath(__file__))
    binds = [(programs, "home/bin"), (here, "home/tests")]
    if "SLUICE_PROMETHEUS" in os.environ:
        binds.append((os.environ["SLUICE_PROMETHEUS"], "home/prometheus"))
    for source, target in binds:
        kernel.mount(source, f"{base}/{target}", "", kernel.MS_BIND)
    # Before /home and /root are covered: the tree may be in either.
    for source, target in (("", BASE), ("home", "/home"), ("root", "/root")):
        kernel.mount(f"{base}/{source}", target, "", kernel.MS_BIND | kernel.MS_REC)
    try:
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV)
    except OSError as error:
        raise Impossible(f"a new proc cannot be mounted here: {error}") from error
    for target, mode in (("/run", "0755"), ("/tmp", "1777"), ("/var/tmp", "1777"), ("/dev/shm", "1777")):
        if os.path.isdir(target):  # a small machine has no /dev/shm
            kernel.mount("tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"mode={mode}")
    for name in ("resolv.conf", "hosts"):
        target = os.path.realpath(f"/etc/{name}")  # may point into the /run that is empty now
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            _write(target, "")
        kernel.mount(f"{BASE}/{name}", target, "", kernel.MS_BIND)


# -- made from inside W: the outside, and what it saw --------------------------------------------


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Impossible(f"{' '.join(command)}: {done.stderr.strip()}")


class Outside:
    """Namespace O: its servers, and the log of everything that reached it."""

    def __init__(self):
        self._log_at = 0
        self._settled = 0
        open(LOG, "w").close()
        self._process = subprocess.Popen(
            [PYTHON, f"{TESTS}/origins.py", LOG, CERTIFICATES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect("namespace")
        self._join()
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self._expect("ready")

    def _expect(self, word):
        line = self._process.stdout.readline().strip()
        if line != word:
            raise Impossible(f"the outside did not come up: {line!r} instead of {word!r}")

    def _join(self):
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "w0", "type", "veth", "peer", "name", "o0",
             "netns", str(self._process.pid))  # fmt: skip
        inside = ["nsenter", "-t", str(self._process.pid), "-n", "ip"]
        _run("ip", "addr", "add", f"{MACHINE4}/24", "dev", "w0")
        _run("ip", "-6", "addr", "add", f"{MACHINE6}/64", "dev", "w0", "nodad")
        _run(*inside, "addr", "add", f"{ROUTER4}/24", "dev", "o0")
        _run(*inside, "-6", "addr", "add", f"{ROUTER6}/64", "dev", "o0", "nodad")
        for last in (10, 11, 12, 13, 53):
            _run(*inside, "addr", "add", f"25.10.0.{last}/24", "dev", "o0")
            _run(*inside, "-6", "addr", "add", f"2a0e:1::{last}/64", "dev", "o0", "nodad")
        _run("ip", "link", "set", "w0", "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "link", "set", "o0", "up")
        _run("ip", "route", "add", "default", "via", ROUTER4)
        _run("ip", "-6", "route", "add", "default", "via", ROUTER6)
        # O is every address: a packet that slips out of W always finds a server that tells of it.
        _run(*inside, "route", "add", "table", "local", "local", "0.0.0.0/0", "dev", "lo")
        _run(*inside, "-6", "route", "add", "table", "main", "local", "::/0", "dev", "lo")

    def mark(self):
        """From now on events() answers only what comes later; a packet that came before may be logged late."""
        self._settle()
        self._log_at = os.path.getsize(LOG)

    def _logged(self):
        with open(LOG, "rb") as file:
            file.seek(self._log_at)
            lines = file.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def events(self, kind=None):
        """What O saw since mark(), in order; `kind` is packet, tcp, http, tls or dns."""
        return [event for event in self._logged() if kind in (None, event["kind"]) and not self._is_own(event)]

    def _is_own(self, event):
        """A packet of _settle()."""
        return event["kind"] == "packet" and event["to"] == DNS4 and FIRST_OWN <= event["port"] < FIRST_OWN + OWN

    def wait_for(self, kind, condition, seconds=60):
        """The first event of `kind` for which `condition` holds; None after `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for event in self.events(kind):
                if condition(event):
                    return event
            time.sleep(0.05)
        return None

    def _settle(self):
        """Packets are logged by a thread of their own, in their order: one more, and those before it are there."""
        self._settled += 1
        port = FIRST_OWN + self._settled % OWN
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one_more:
            for number in range(6000):
                if number % 100 == 0:
                    one_more.sendto(b"", (DNS4, port))
                if any(self._is_own(event) and event["port"] == port for event in self._logged()):
                    return
                time.sleep(0.01)
        raise AssertionError("the outside logs no packets any more")

    def addresses_reached(self):
        """Every destination address of a packet that arrived, the DNS server's apart."""
        self._settle()
        return sorted({event["to"] for event in self.events("packet")} - {DNS4})

    def questions(self):
        """Every name that the outer DNS server was asked, lower case."""
        return sorted({event["name"] for event in self.events("dns")})


_outside = None


def outside():
    """The one outside of this process, made when it is first asked for."""
    global _outside
    if _outside is None:
        _outside = Outside()
    return _outside


def processes():
    """Every process of W, pid -> command line, but kernel threads and zombies."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if line:
                found[int(name)] = line
    return found


class Trap:
    """A TCP listener in W, on an address of the machine itself, that counts who arrives."""

    def __init__(self, address, port=0, family=socket.AF_INET):
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.listen(64)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def visitors(self):
        """How many connections have arrived since the last call."""
        count = 0
        while True:
            try:
                self._socket.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1

    def wait(self, seconds=60):
        """Whether somebody arrives."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def close(self):
        self._socket.close()
