"""sluice-netns as an OCI hook: by the state on stdin, and called by runc and crun themselves."""

import json
import os
import shutil
import subprocess
import unittest

import world
from agent import curl, is_root
from networks import ALLOWED, NETNS, REFUSED, Container, NetworkCase

needs_root = unittest.skipUnless("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "needs root")

# What an engine gives a container whose profile is as strict as an agent's must be.
CAPABILITIES = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID"]
FILTER = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            # The kernel looks at the low half of the argument alone.
            "args": [{"index": 0, "value": 0xFFFFFFFF, "valueTwo": 40, "op": "SCMP_CMP_MASKED_EQ"}],
        },
        {"names": ["io_uring_setup"], "action": "SCMP_ACT_ERRNO"},
    ],
}


@needs_root
class HookCase(NetworkCase):
    def setUp(self):
        super().setUp()
        self.start_sluiced()

    def bundle(self, command=("true",), annotations=None, **process):
        """A bundle whose root is the machine's own, read-only."""
        folder = f"/tmp/bundle-{os.path.basename(self.workspace)}"
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(f"{folder}/rootfs")
        sets = ("bounding", "effective", "permitted")
        hook = {"path": NETNS, "args": ["sluice-netns", "oci-hook"], "env": ["PATH=/usr/sbin"]}
        bind = {"type": "bind", "options": ["rbind", "ro"]}
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": list(command),
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
                "capabilities": dict.fromkeys(sets, CAPABILITIES),
                **process,
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                *({"destination": path, "source": path, **bind}
                  for path in ("/usr", "/bin", "/lib", "/lib64", "/etc", "/mnt")
                  if os.path.exists(path)),
            ],
            "hooks": {"createRuntime": [hook], "poststop": [hook]},
            "annotations": annotations or {},
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "network")],
                "seccomp": FILTER,
            },
        }  # fmt: skip
        self.write(f"{folder}/config.json", json.dumps(config))
        return folder

    def hook(self, state, status=0):
        process = subprocess.Popen(
            [NETNS, "oci-hook"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        run = self.finish(process, stdin=json.dumps(state).encode())
        self.assertEqual(run.status, status, run)
        return run


class ByState(HookCase):
    def state(self, container, annotations, status="creating"):
        return {
            "ociVersion": "1.0.2",
            "id": "web-1",
            "status": status,
            "pid": container.process.pid if status == "creating" else 0,
            "bundle": self.bundle(),
            "annotations": annotations,
        }

    def test_a_container_with_the_annotation_gets_its_network_and_loses_it(self):
        container = Container(self, "filtered")
        agent = {"dev.sluice.agent": "coder-7"}
        for _ in range(2):
            self.hook(self.state(container, agent))
        self.assertIn('"origin": "allowed.test"', container.fetch(ALLOWED)["out"])
        self.assertIn("not_listed", container.ask_proxy(REFUSED)["out"])
        listed = self.netns("list", "--json").json()
        self.assertEqual([(one["kind"], one["name"]) for one in listed], [("oci", "web-1")])
        for _ in range(2):
            self.hook(self.state(container, agent, "stopped"))
        self.assert_no_network_left()

    def test_without_the_annotation_nothing_is_done(self):
        container = Container(self, "filtered")
        self.assertEqual(self.hook(self.state(container, {"other": "x"})).err, "")
        self.assertNotEqual(container.fetch(ALLOWED)["status"], 0)
        self.assertEqual(self.metric("sluice_agents"), 0)

    def test_what_cannot_be_promised_is_refused_unless_it_is_accepted(self):
        container = Container(self, "filtered")
        state = self.state(container, {"dev.sluice.agent": "coder-7"})
        with open(f"{state['bundle']}/config.json") as file:
            config = json.load(file)
        config["process"]["capabilities"]["bounding"].append("CAP_NET_ADMIN")
        self.write(f"{state['bundle']}/config.json", json.dumps(config))
        self.assertIn("CAP_NET_ADMIN", self.hook(state, 125).err)
        self.assertEqual(self.metric("sluice_agents"), 0)
        state["annotations"]["dev.sluice.despite"] = "net_admin"
        self.assertIn("it is not promised", self.hook(state).err)
        self.hook({**state, "status": "stopped"})

    def test_a_sluiced_that_is_not_there_a_bundle_and_a_state_that_are_none_are_refused(self):
        container = Container(self, "filtered")
        good = self.state(container, {"dev.sluice.agent": "coder-7"})
        nobody = {"dev.sluice.agent": "coder-7", "dev.sluice.proxy": "/run/nobody.sock"}
        cases = [
            ({**good, "annotations": nobody}, "nobody.sock"),
            ({**good, "bundle": "/nowhere"}, "/nowhere/config.json"),
            ({**good, "status": "running"}, "running"),
            ({**good, "pid": os.getpid()}, ""),
            ({"id": "x"}, "not the state of a container"),
        ]
        for state, expected in cases:
            self.assertIn(expected, self.hook(state, 125).err)
        self.assertEqual(self.metric("sluice_agents"), 0)


class ByRuntime:
    """The methods of one class for each runtime."""

    def runtime(self, *arguments, status=0):
        root = f"/run/{self.name}-test"
        run = self.finish(self.start(["env", self.name, "--root", root, *self.options, *arguments]))
        if status is not None:
            self.assertEqual(run.status, status, run)
        return run

    def setUp(self):
        super().setUp()
        if not shutil.which(self.name, path="/usr/sbin:/usr/bin"):
            self.skipTest(f"{self.name} is not installed")
        plain = self.run_bundle(self.bundle(), None)
        if plain.status != 0:
            self.skipTest(f"{self.name} cannot start a container here: {plain.err.strip()[-200:]}")

    def run_bundle(self, bundle, status=0):
        return self.runtime("run", "--bundle", bundle, "container-1", status=status)

    def test_its_container_has_the_agents_network_from_its_first_process_on(self):
        url = " ".join(curl(ALLOWED)).replace("ca.pem", world.CA)
        script = f"{url}; curl -sS -m 60 -x http://127.0.0.1:3128 {REFUSED}; ip -o link"
        bundle = self.bundle(["sh", "-c", script], {"dev.sluice.agent": "coder-7"})
        run = self.run_bundle(bundle, None)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("not_listed", run.out, run)
        self.assertNotIn("eth0", run.out)
        self.assert_no_network_left()

    def test_a_container_whose_agent_is_refused_does_not_start(self):
        bundle = self.bundle(["touch", "/mnt/started"], {"dev.sluice.agent": "a b"})
        run = self.run_bundle(bundle, None)
        self.assertNotEqual(run.status, 0, run)
        bundle = self.bundle(["echo", "started"], {"dev.sluice.agent": "coder-7"},
                             capabilities={"bounding": ["CAP_NET_ADMIN"]})  # fmt: skip
        run = self.run_bundle(bundle, None)
        self.assertNotEqual(run.status, 0, run)
        self.assertNotIn("started", run.out)
        self.assert_no_network_left()


class ByRunc(ByRuntime, HookCase):
    name, options = "runc", ()


class ByCrun(ByRuntime, HookCase):
    # crun knows no mixture of cgroups v1 and v2, which some machines have.
    name, options = "crun", ("--cgroup-manager=disabled",)


class ByPodman(HookCase):
    """With a hooks.d file like deploy/oci/sluice.json."""

    FOLDERS = [folder for folder in ("/usr", "/bin", "/lib", "/lib64", "/etc") if os.path.exists(folder)]

    def setUp(self):
        super().setUp()
        if not shutil.which("podman", path="/usr/bin"):
            self.skipTest("podman is not installed")
        self.base = f"/tmp/podman-{os.path.basename(self.workspace)}"
        for name in ("root", "hooks"):
            os.makedirs(f"{self.base}/{name}")
        hook = {
            "version": "1.0.0",
            "hook": {"path": NETNS, "args": ["sluice-netns", "oci-hook"]},
            "when": {"annotations": {"^dev\\.sluice\\.agent$": ".+"}},
            "stages": ["createRuntime", "poststop"],
        }
        self.write(f"{self.base}/hooks/sluice.json", json.dumps(hook))
        self.write(f"{self.base}/filter.json", json.dumps(FILTER))
        plain = self.podman("true")
        if plain.status != 0:
            self.skipTest(f"podman cannot start a container here: {plain.err.strip()[-200:]}")

    def podman(self, *command, options=(), network="none"):
        engine = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver",
                  "vfs", "--events-backend", "none", "--root", f"{self.base}/store", "--runroot",
                  f"{self.base}/run", "--hooks-dir", f"{self.base}/hooks"]  # fmt: skip
        container = ["run", "--rm", "--network", network, "--cgroupns", "private", "--security-opt",
                     f"seccomp={self.base}/filter.json", "--ulimit", "nofile=1024:1024", "--ulimit",
                     "nproc=1000:1000"]  # fmt: skip
        for folder in (*self.FOLDERS, world.BASE):
            container += ["-v", f"{folder}:{folder}:ro"]
        line = [*engine, *container, *options, "--rootfs", f"{self.base}/root", *command]
        return self.finish(self.start(line))

    def test_a_container_with_the_annotation_has_the_agents_network(self):
        url = " ".join(curl(ALLOWED)).replace("ca.pem", world.CA)
        script = f"{url}; curl -sS -m 60 -x http://127.0.0.1:3128 {REFUSED}"
        run = self.podman("sh", "-c", script, options=["--annotation", "dev.sluice.agent=coder-7"])
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("not_listed", run.out, run)
        self.wait_until(lambda: not self.states(), "its network stays")  # podman may clean up in the background
        self.assert_no_network_left()

    def test_a_container_in_a_named_network_goes_out_by_its_policy(self):
        self.netns("create", "coder-7")
        url = " ".join(curl(ALLOWED)).replace("ca.pem", world.CA)
        script = f"{url}; curl -sS -m 60 -x http://127.0.0.1:3128 {REFUSED}"
        run = self.podman("sh", "-c", script, network="ns:/run/netns/coder-7")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertIn("not_listed", run.out, run)
        self.netns("delete", "coder-7")
        self.assert_no_network_left()

    def test_a_container_with_net_admin_does_not_start(self):
        options = ["--annotation", "dev.sluice.agent=coder-7", "--cap-add", "NET_ADMIN"]
        run = self.podman("echo", "started", options=options)
        self.assertNotEqual(run.status, 0, run)
        self.assertNotIn("started", run.out)
        self.assertIn("CAP_NET_ADMIN", run.err)
