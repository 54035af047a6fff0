"""deploy/docker and deploy/compose: built by podman, run by podman, and attached to sluice."""

import errno
import json
import os
import shutil
import socket
import tarfile
import time

import compose
import engine
import world
from agent import as_ordinary, is_root
from networks import NETNS, NetworkCase
from shared import FOLDER

FILES = f"{world.DEPLOY}/compose"
PROFILE = "/usr/share/containers/seccomp.json"
IMAGE_USER = 65532
MOST_MEGABYTES = 64

POLICY = """
version: 1
agents:
  "coder-*":
    allow: [{host: allowed.test}]
"""
FETCH = "curl -sS -m 60 --cacert /etc/ca.pem https://allowed.test/"
REFUSED = "curl -sS -m 60 http://other.test/"
WITHOUT_PROXY = "env -u HTTP_PROXY -u http_proxy -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy"

# The kernel takes the lower half of a family, a filter compares both.
SOCKETS = """
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  const long families[] = {40, 40 + (1L << 32), 2, 1};
  for (int i = 0; i < 4; ++i) printf("%d ", syscall(SYS_socket, families[i], 1L, 0L) < 0 ? errno : 0);
  return 0;
}
"""
REFUSALS = (errno.EPERM, errno.ENOSYS)  # the kernel's own for a family that it lacks is another


class EngineCase(NetworkCase):
    policy = POLICY
    _built = set()
    _engine_is_ready = False

    def setUp(self):
        super().setUp()
        reason = engine.lacking()
        if reason:
            self.skipTest(reason)
        if not is_root():
            engine.give_ids_to_the_user()
        self.engine_folder, self.environment = engine.environment(self.home)
        if not os.path.exists(self.engine_folder):
            engine.prepare(self.engine_folder, {"sluice.json": self.hook()})
            self.own_all(self.engine_folder)
        self._engine_is_ready = True
        if not self._built:
            self.make_images()
        self._before |= set(world.processes())  # an ordinary user's engine keeps one process for all containers

    def tearDown(self):
        """While what watches over them still runs, containers end with their control groups."""
        ready, self._engine_is_ready = self._engine_is_ready, False
        if ready:
            self.podman("rm", "--all", "--force", "--volumes", "--time", "0", status=None)
        super().tearDown()

    def hook(self):
        with open(f"{world.DEPLOY}/oci/sluice.json") as file:
            return file.read().replace("/usr/bin/sluice-netns", NETNS)

    def own_all(self, folder):
        for path, folders, names in os.walk(folder):
            for name in [".", *folders, *names]:
                if not os.path.islink(f"{path}/{name}"):
                    self.own(f"{path}/{name}")

    def engine(self, *line, status=0, timeout=300):
        """`podman …` or `buildah …` as this test's identity."""
        run = self.finish(self.start(list(line) if is_root() else as_ordinary(*line)), timeout)
        if status is not None:
            self.assertEqual(run.status, status, f"{line}\n{run}")
        return run

    def podman(self, *arguments, **keywords):
        return self.engine("podman", *arguments, **keywords)

    def make_images(self):
        """A builder and an agent's image of this machine's programs, then the project's own by its Dockerfile."""
        made = f"{self.engine_folder}/made"
        for name, fill, image in (("builder", engine.make_builder, engine.BUILDER),
                                  ("agent", engine.make_agent, engine.AGENT)):  # fmt: skip
            fill(f"{made}/{name}")
            self.own_all(f"{made}/{name}")
            container = self.engine("buildah", "from", "scratch").out.strip()
            self.engine("buildah", "copy", "-q", container, f"{made}/{name}", "/")
            self.engine("buildah", "commit", "-q", "--rm", container, image)
        self.assert_containers_start()
        engine.make_context(f"{made}/context")
        self.own_all(f"{made}/context")
        self.engine("podman", "build", "--format", "docker", "--network", "none", "-t", engine.IMAGE,
                    "--build-arg", f"BUILD={engine.BUILDER}", "--build-arg", "READY=build/release/bin",
                    "-f", f"{made}/context/deploy/docker/Dockerfile", f"{made}/context", timeout=300)  # fmt: skip
        shutil.rmtree(made)
        self._built.add(engine.IMAGE)

    def assert_containers_start(self):
        limits = ["--memory", "64m", "--cpus", "1", "--pids-limit", "64"]
        run = self.podman("run", "--rm", "--network", "none", *limits, engine.AGENT, "/bin/true", status=None)
        if run.status != 0:
            self.skipTest(f"{engine.runtime()} cannot start a container with limits here: {run.err.strip()[-200:]}")

    def profile(self):
        made = f"{self.workspace}/seccomp.json"
        run = self.finish(self.start([world.PYTHON, "-B", f"{FILES}/seccomp.py", PROFILE]))
        self.assertEqual(run.status, 0, run)
        return self.write(made, run.out)

    def start_image(self, *options):
        """The image's sluiced as its own defaults start it, with a root that cannot be written."""
        locked = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        return self.podman("run", "-d", *locked, "--network", "none", *options, engine.IMAGE).out.strip()

    def wait_until_healthy(self, container):
        """A sluiced that ended is told with its last words."""
        for _ in range(240):
            if self.podman("healthcheck", "run", container, status=None).status == 0:
                return
            state = self.podman("inspect", "-f", "{{.State.Status}}", container).out.strip()
            if state not in ("created", "running"):
                break
            time.sleep(0.5)
        self.fail(f"it is never healthy\n{self.podman('logs', container)}")


class TheImage(EngineCase):
    def test_sluiced_runs_in_it_as_nobody_and_says_whether_it_is_well(self):
        container = self.start_image()
        self.wait_until_healthy(container)
        inside = self.podman("exec", container, "/usr/bin/sluice-netns", "--version")
        self.assertRegex(inside.out, r"\d+\.\d+\.\d+")
        pid = self.podman("inspect", "-f", "{{.State.Pid}}", container).out.strip()
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertNotIn(status["Uid"].split()[0], ("0", str(os.getuid())))
        self.assertEqual(int(status["CapEff"], 16), 0, status)
        self.assertEqual(status["NoNewPrivs"], "1", status)
        self.podman("stop", "--time", "100", container)
        self.assertEqual(self.podman("wait", container).out.strip(), "0")

    def test_without_a_sluiced_that_answers_the_health_check_fails_and_says_why(self):
        check = ("--healthcheck", "--config", "/etc/sluice/sluiced.yaml")
        run = self.podman("run", "--rm", "--network", "none", engine.IMAGE, *check, status=1)
        self.assertIn("no sluiced answers at '/run/sluice/admin.sock'", run.err)
        stopped = self.start_image()
        self.wait_until_healthy(stopped)
        self.podman("kill", "--signal", "STOP", stopped)
        self.assertNotEqual(self.podman("healthcheck", "run", stopped, status=None).status, 0)
        self.podman("kill", "--signal", "CONT", stopped)
        self.wait_until_healthy(stopped)

    def test_it_has_the_programs_their_libraries_and_nothing_that_its_user_may_change(self):
        described = json.loads(self.podman("image", "inspect", engine.IMAGE).out)[0]
        self.assertEqual(described["Config"]["User"], f"{IMAGE_USER}:{IMAGE_USER}")
        self.assertLess(described["Size"], MOST_MEGABYTES << 20)
        archive = self.export()
        with tarfile.open(archive) as tar:
            members = {f"/{member.name.lstrip('./')}": member for member in tar}
        self.assertEqual(sorted(name for name in members if name.startswith("/usr/bin/")),
                         ["/usr/bin/sluice", "/usr/bin/sluice-netns", "/usr/bin/sluiced"])  # fmt: skip
        for name, member in members.items():
            if member.issym() or name.startswith(("/run/sluice", "/var/lib/sluice", "/proc", "/sys", "/dev")):
                continue
            with self.subTest(name):
                self.assertEqual((member.uid, member.gid), (0, 0))
                self.assertEqual(member.mode & 0o7022, 0)

    def test_its_root_runs_under_sluice_run(self):
        archive = self.export()
        data = f"{self.home}/data-{os.path.basename(self.workspace)}"
        os.makedirs(data)
        self.own(data)
        self.environment["XDG_DATA_HOME"] = data
        self.addCleanup(shutil.rmtree, data, True)
        run = self.sluice("root", "import", "sluice-image", archive)
        self.assertEqual(run.status, 0, run)
        options = ["--root", "sluice-image"]
        run = self.run_agent("/usr/bin/sluiced", "--check", "--config", "/etc/sluice/sluiced.yaml", options=options)
        self.assertIn("everything is denied", run.err)
        self.run_agent("/bin/sh", "-c", "true", options=options, status=127)

    def export(self):
        """A container's root as a tar; every container that is made has the image's."""
        archive = f"{self.workspace}/image.tar"
        container = self.podman("create", engine.IMAGE).out.strip()
        self.podman("export", "-o", archive, container)
        return archive


class Composed(EngineCase):
    """What a compose file describes, run by podman."""

    def setUp(self):
        super().setUp()
        self.folder_of_files = f"{self.home}/compose-{os.path.basename(self.workspace)}"
        shutil.copytree(FILES, self.folder_of_files)
        self.addCleanup(shutil.rmtree, self.folder_of_files, True)
        self.write(f"{self.folder_of_files}/policy/agents.yaml", self.policy)
        shutil.move(self.profile(), f"{self.folder_of_files}/seccomp.json")
        os.makedirs(f"{self.folder_of_files}/workspace")
        self.own_all(self.folder_of_files)
        os.chmod(f"{self.folder_of_files}/workspace", 0o777)
        os.chmod(self.home, 0o755)

    def read(self, *names):
        first, *beside = (f"{self.folder_of_files}/{name}" for name in names)
        return compose.read(first, {"SLUICE_IMAGE": engine.IMAGE, "AGENT_IMAGE": engine.AGENT}, beside)

    def compose(self, *names):
        """The services of a file and those beside it; its networks and volumes are made."""
        content = self.read(*names)
        project = os.path.basename(self.workspace)
        for line in compose.network_lines(content, project):
            self.podman(*line)
            self.addCleanup(self.podman, "network", "rm", "--force", line[-1], status=None)
        for line in compose.volume_lines(content, project):
            self.podman(*line)
        return {service: (compose.run_line(body, self.folder_of_files, project), body["image"])
                for service, body in content["services"].items()}  # fmt: skip

    def start_service(self, service):
        options, image = service
        container = self.podman("run", "-d", *options, image).out.strip()
        self.wait_until_healthy(container)
        return container

    def agent(self, service, script, status=0):
        line, image = service
        return self.podman("run", "--rm", *line, image, "/bin/sh", "-c", script, status=status)

    def assert_locked(self, service):
        """A root that cannot be written, a capped /tmp, no privileges, limits."""
        script = """
            touch /x /etc/x /usr/bin/x
            dd if=/dev/zero of=/tmp/much bs=1M count=300 2>&1 | grep -o 'No space left'
            grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
            echo made >/workspace/made && cat /workspace/made
        """
        run = self.agent(service, script)
        self.assertEqual(run.err.count("Read-only file system"), 3, run)
        words = ["No", "space", "left", "CapBnd:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "made"]
        self.assertEqual(sorted(run.out.split()), sorted(words), run)
        if is_root():  # an ordinary user's limits need control groups that were delegated to him
            limits = " ".join(f"/sys/fs/cgroup/{path}" for path in ("memory/memory.limit_in_bytes", "memory.max",
                                                                    "pids/pids.max", "pids.max"))  # fmt: skip
            run = self.agent(service, f"cat {limits}", status=None)
            self.assertEqual(run.out.split(), [str(2 << 30), "512"], run)

    def await_log(self, container, *words):
        said = ""

        def all_there():
            nonlocal said
            said = self.podman("logs", container).out
            return all(word in said for word in words)

        self.wait_until(all_there, said)


class ComposedAttached(Composed):
    def setUp(self):
        super().setUp()
        if not is_root():
            self.start_sluiced()

    def services(self):
        """An ordinary user's engine needs slirp4netns for a way out, so that sluiced runs beside it there."""
        services = self.compose("compose.yaml", "podman.yaml") if is_root() else self.without_networks()
        if is_root():
            os.chown(FOLDER, IMAGE_USER, IMAGE_USER)
            self.addCleanup(os.chown, FOLDER, 0, 0)
            self.sluiced = self.start_service(services["sluiced"])
        return services

    def without_networks(self):
        content = self.read("compose.yaml", "podman.yaml")
        return {"agent": (compose.run_line(content["services"]["agent"], self.folder_of_files, "x"), engine.AGENT)}

    def test_the_hook_gives_the_agent_its_network_before_its_first_process_runs(self):
        agent = self.services()["agent"]
        script = f"{FETCH}; {WITHOUT_PROXY} {FETCH}; {REFUSED}; cat /proc/net/dev"
        run = self.agent(agent, script)
        self.assertEqual(run.out.count('"origin": "allowed.test"'), 2, run)
        self.assertIn("not_listed", run.out, run)
        links = [line.split(":")[0].strip() for line in run.out.splitlines() if ":" in line and "packets" not in line]
        self.assertIn("lo", links, run)
        self.assertNotIn("eth0", links, run)
        if is_root():
            self.await_log(self.sluiced, '"agent":"coder-1"', '"reason":"not_listed"')
        self.assertNotIn("other.test", self.outside.questions())
        self.wait_until(lambda: self.metric("sluice_agents") == 0, "the agent is registered still")

    def test_a_container_that_no_hook_knows_is_attached_by_its_pid(self):
        options, image = self.services()["agent"]
        at = options.index("--annotation")
        plain = [*options[:at], *options[at + 2 :]]
        container = self.podman("run", "-d", *plain, image, "/bin/sleep", "1000").out.strip()
        before = self.podman("exec", container, "/bin/sh", "-c", f"{WITHOUT_PROXY} {FETCH}", status=None)
        self.assertNotEqual(before.status, 0, before)
        pid = self.podman("inspect", "-f", "{{.State.Pid}}", container).out.strip()
        # An ordinary user cannot read the filter of a process, and so accepts that it is not seen.
        self.attach("--pid", pid, "--agent", "coder-1", *(() if is_root() else ("--despite", "vsock")))
        after = self.podman("exec", container, "/bin/sh", "-c", f"{FETCH}; {REFUSED}")
        self.assertIn('"origin": "allowed.test"', after.out, after)
        self.assertIn("not_listed", after.out, after)

    def test_without_a_sluiced_the_agent_does_not_start(self):
        options, image = self.without_networks()["agent"]
        away = ["--annotation", "dev.sluice.proxy=/run/sluice/nobody.sock"]
        run = self.podman("run", "--rm", *options, *away, image, "/bin/sh", "-c", "echo started", status=None)
        self.assertNotEqual(run.status, 0, run)
        self.assertNotIn("started", run.out)

    def test_the_engines_own_seccomp_profile_is_not_enough(self):
        try:
            socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
        except OSError:
            self.skipTest("the kernel has no AF_VSOCK")
        options, image = self.services()["agent"]
        at = next(i for i, word in enumerate(options) if word.startswith("seccomp="))
        plain = [*options[: at - 1], *options[at + 1 :]]
        run = self.podman("run", "--rm", *plain, image, "/bin/sh", "-c", "echo started", status=None)
        self.assertNotEqual(run.status, 0, run)
        self.assertNotIn("started", run.out)
        if engine.runtime() == "runc":  # crun keeps to itself what a hook says
            self.assertIn("AF_VSOCK", run.err, run)

    def test_no_way_of_asking_for_an_af_vsock_socket_passes_the_profile(self):
        source = self.write(f"{self.workspace}/sockets.c", SOCKETS)
        program = f"{self.folder_of_files}/workspace/sockets"
        built = self.finish(self.start(["gcc", "-static", "-o", program, source]))
        self.assertEqual(built.status, 0, built)
        run = self.agent(self.services()["agent"], "/workspace/sockets")
        vsock, with_upper_half, internet, unix = map(int, run.out.split())
        self.assertIn(vsock, REFUSALS, run)
        self.assertIn(with_upper_half, REFUSALS, run)
        self.assertEqual((internet, unix), (0, 0), run)

    def test_the_agent_is_locked_in(self):
        self.assert_locked(self.services()["agent"])


class ComposedExplicit(Composed):
    def setUp(self):
        super().setUp()
        if not is_root():
            self.skipTest("an ordinary user's engine needs slirp4netns for a network between containers")

    def test_the_agent_reaches_what_the_proxy_lets_it_and_nothing_else(self):
        services = self.compose("explicit.yaml")
        sluiced = self.start_service(services["sluiced"])
        run = self.agent(services["agent"], f"{FETCH}; {REFUSED}")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("not_listed", run.out, run)
        self.await_log(sluiced, '"agent":"coder-1"')
        self.outside.mark()
        asked = self.agent(services["agent"], "grep nameserver /etc/resolv.conf").out
        self.assertEqual(asked, "nameserver 127.0.0.1\n")
        direct = f"{WITHOUT_PROXY} curl -sS -m 60 http://{world.ALLOWED4}/"
        named = f"{WITHOUT_PROXY} curl -sS -m 60 http://leak.other.test/"
        trap = world.Trap("0.0.0.0")
        self.addCleanup(trap.close)
        machine = "; ".join(f"{WITHOUT_PROXY} curl -sS -m 2 http://{address}:{trap.port}/"
                            for address in ("10.89.77.1", world.MACHINE4))  # fmt: skip
        run = self.agent(services["agent"], f"{direct}; {named}; {machine}", status=None)
        self.assertNotIn("origin", run.out, run)
        self.assertEqual(trap.visitors(), 0, run)
        self.assertEqual(self.outside.addresses_reached(), [], run)
        self.assertEqual(self.outside.questions(), [], run)
        self.assert_locked(services["agent"])

    def test_another_container_of_that_network_is_nobody(self):
        services = self.compose("explicit.yaml")
        self.start_service(services["sluiced"])
        options, image = services["agent"]
        moved = [word.replace("10.89.77.3", "10.89.77.4") for word in options]
        run = self.agent((moved, image), f"{FETCH}; {REFUSED}", status=None)
        self.assertNotIn("origin", run.out, run)
        self.assertIn("unknown_agent", run.out, run)


def tearDownModule():
    engine.take_back_the_ids()
