"""One gate, one dialer: an end-to-end run under strace."""

import re
import shutil

import world
from agent import Case, curl

# PID SYSCALL(…sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("25.10.0.10")…
CALL = re.compile(
    r'^(?P<pid>\d+) +(?P<name>connect|sendto|sendmsg|sendmmsg)\(.*?sa_family=AF_INET6?, '
    r'sin6?_port=htons\((?P<port>\d+)\).*?"(?P<address>[0-9a-f.:]+)"'
)


class Trace(Case):
    def test_only_sluiced_sends_anything_out_and_only_where_the_policy_leads(self):
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")
        trace = f"{self.workspace}/trace"
        script = [
            " ".join(curl("https://allowed.test/")),
            "curl -s -m 60 https://other.test/",
            "curl -s -m 60 http://169.254.169.254/",
            "exit 0",
        ]
        line = self.command(*self.run_line("bash", "-c", "; ".join(script)))
        # Before the identity is given up: an enclosed sluiced cannot be read by its own user.
        calls = "trace=connect,sendto,sendmsg,sendmmsg,execve"
        line = ["strace", "-f", "-qq", "-s", "200", "-e", calls, "-o", trace, *line]
        run = self.finish(self.start(line))
        self.assertIn('"origin": "allowed.test"', run.out, run)
        with open(trace) as file:
            lines = file.read().splitlines()
        faults = [one for one in lines if re.search(r"--- SIG(SEGV|ABRT|BUS|ILL|FPE) ", one)]
        self.assertEqual(faults, [], "nothing of sluice's ends by a fault")
        supervisor = next(one.split()[0] for one in lines if f'execve("{world.BIN}/sluice"' in one)
        proxies = {one.split()[0] for one in lines if re.search(r"execve(at)?\(.*sluiced", one)}
        self.assertTrue(proxies, lines[:50])
        called = [match for match in map(CALL.match, lines) if match]
        dialled = [c for c in called if c["pid"] in proxies and c["name"] == "connect"]
        by_proxy = {(c["address"], c["port"]) for c in dialled}
        expected = {(world.DNS4, "53"), (world.ALLOWED4, "443"), (world.ALLOWED6, "443")}
        self.assertLessEqual(by_proxy, expected)
        self.assertIn((world.DNS4, "53"), by_proxy)
        self.assertEqual([c.group() for c in called if c["pid"] == supervisor], [])
        reached = set(self.outside.addresses_reached())
        self.assertLessEqual(reached, {world.ALLOWED4, world.ALLOWED6})
