"""System calls that lead around a network namespace or to more kernel than an agent needs."""

from agent import Case

REFUSED = {"EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT"}
# The kernel refuses these to all who lack capabilities, in the same words: no control is possible.
WITHOUT_CONTROL = {
    "raw, high bits", "x32 getpid", "pivot_root", "fsopen", "fsmount", "move_mount", "fspick",
    "kexec_load", "init_module", "finit_module", "delete_module", "swapon", "acct", "reboot",
    "ptrace pid 1", "pidfd_getfd pid 1",
}  # fmt: skip


class SystemCalls(Case):
    def test_each_filtered_system_call_is_refused_inside_and_works_outside(self):
        """vsock, netlink, keyctl, bpf, perf, userfaultfd, io_uring, user namespaces, mounts,
        TIOCSTI, int80, and with the upper 32 bits set: refused by the filter, not by luck."""
        inside, outside = self.probe("syscalls"), self.control("syscalls")
        for name, answer in inside.items():
            with self.subTest(name):
                self.assertIn(answer, REFUSED)
                if answer != outside[name]:
                    continue
                if name not in WITHOUT_CONTROL:
                    print(f"no control: this kernel answers {answer} to {name} by itself")
                self.assertNotEqual(outside[name], "ok")

    def test_the_route_netlink_socket_that_libc_needs_still_works(self):
        run = self.run_agent("ip", "-o", "addr", "show", "dev", "lo")
        self.assertIn("127.0.0.1", run.out, run)

    def test_routes_and_links_cannot_be_changed_from_inside(self):
        run = self.shell(
            """
            ip link set lo down && echo changed
            ip route add 10.0.0.0/8 dev lo && echo changed
            ip route flush table local && echo changed
            ip link add dummy0 type dummy && echo changed
            ip tuntap add dev tun0 mode tun && echo changed
            true
            """
        )
        self.assertNotIn("changed", run.out, run)

    def test_the_agent_has_no_capability_no_new_privileges_and_a_filter(self):
        run = self.run_agent("cat", "/proc/self/status")
        fields = dict(line.split(":", 1) for line in run.out.splitlines())
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(fields[name], 16), 0, name)
        self.assertEqual(fields["NoNewPrivs"].strip(), "1")
        self.assertEqual(fields["Seccomp"].strip(), "2")

    def test_a_setuid_program_gives_nothing(self):
        run = self.shell("su -c id </dev/null; ping -c1 127.0.0.1 >/dev/null; unshare -Ur id; true")
        self.assertNotIn("uid=0", run.out, run)

    def test_everyday_programs_work_under_the_filter(self):
        """git, python with threads, a compiler, strace."""
        run = self.shell(
            """
            export HOME=$PWD
            git init -q repo && cd repo && echo text > f && git add f
            git -c user.name=a -c user.email=a@example.com commit -qm first
            git log --oneline | wc -l
            python3 -c 'import threading; threading.Thread(target=print, args=("thread",)).start()'
            echo 'int main() { return 0; }' > a.c && gcc a.c -o a && ./a && echo compiled
            strace -f -o /dev/null true && echo traced
            """
        )
        for word in ("1", "thread", "compiled", "traced"):
            self.assertIn(word, run.out.split(), run)
