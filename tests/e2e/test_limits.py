"""limits: of the policy: what is used up is refused with its reason, counted to the byte, and survives a restart."""

import os
import signal
import textwrap
import time

import scrape
from agent import Case, curl, decisions
from shared import SharedCase

KIB = 1024


def policy(limits):
    return textwrap.dedent(f"""
        version: 1
        agents:
          coder-1:
            allow:
              - host: allowed.test
              - host: ssh.test
                ports: [22]
                tls: "off"
            limits: {limits}
        """)


def statuses(count, *arguments):
    """A script that prints the HTTP status of `count` requests, each on a connection of its own."""
    line = " ".join(curl("-w", "'%{http_code}\\n'", "-o", "/dev/null", *arguments))
    return f"for i in $(seq {count}); do {line} || true; done"


class Limits(Case):
    def run_limited(self, limits, script, **keywords):
        """The run, and the audit lines of what it asked for."""
        self.write(self.policy_file, policy(limits))
        audit = f"{self.home}/limits-{os.path.basename(self.workspace)}.jsonl"
        run = self.shell(script, options=("--audit", audit), **keywords)
        return run, decisions(audit)

    def reasons(self, audit):
        return [line["reason"] for line in audit if line["via"] != "event"]

    def test_connects_beyond_the_rate_are_429_and_the_next_step_is_said(self):
        # Tunnels: plain HTTP would go over a connection that was kept, which is no new one.
        line = " ".join(curl("-w", "'%{http_connect}\\n'", "-o", "/dev/null", "https://allowed.test/"))
        run, audit = self.run_limited(
            "{connects: 3/h}", f"for i in $(seq 5); do {line} || true; done; curl -sS http://allowed.test/"
        )
        self.assertEqual(run.out.split("\n")[:5], ["200"] * 3 + ["429"] * 2, run)
        self.assertIn("opens connections faster than it may", run.out)
        self.assertIn("(rate_limit)", run.out)
        self.assertEqual(sorted(self.reasons(audit)), ["listed"] * 3 + ["rate_limit"] * 3)

    def test_an_upload_budget_is_spent_to_the_byte_over_all_entrances(self):
        script = f"""
            head -c {40 * KIB} /dev/zero > some; head -c {200 * KIB} /dev/zero > much
            {statuses(1, "--data-binary", "@some", "http://allowed.test/")}
            {statuses(1, "--data-binary", "@much", "http://allowed.test/")}
            {statuses(1, "-p", "-x", "http://127.0.0.1:3128", "https://allowed.test/")}
            unset ALL_PROXY all_proxy HTTPS_PROXY https_proxy HTTP_PROXY http_proxy
            {statuses(1, "https://allowed.test/")}
            """
        run, audit = self.run_limited("{upload: 100KiB/day}", script)
        self.assertEqual(run.out.split()[0], "200", run)
        self.assertNotIn("200", run.out.split()[1:], run)
        self.assertEqual(self.reasons(audit).count("listed"), 1, audit)
        self.assertEqual(set(self.reasons(audit)), {"listed", "upload_budget"})
        self.assertEqual(sum(line["bytes_up"] for line in audit), 100 * KIB, audit)

    def test_a_tunnel_whose_download_budget_is_spent_is_cut_and_said_so(self):
        run, audit = self.run_limited(
            "{download: 64KiB/day}",
            f"{' '.join(curl('-o', 'got', 'https://allowed.test/bytes/1000000'))}; stat -c %s got; "
            "until grep -s 'as many bytes' /run/sluice/denials; do sleep 0.1; done",
        )
        got = int(next(line for line in run.out.split("\n") if line.isdigit()))
        self.assertLess(got, 64 * KIB, run)
        self.assertIn("has received as many bytes as it may", run.out)
        self.assertEqual(self.reasons(audit), ["download_budget"])
        self.assertEqual(audit[0]["verdict"], "deny")
        self.assertEqual(audit[0]["bytes_down"], 64 * KIB)

    def test_a_plain_response_that_spends_the_budget_is_cut(self):
        run, audit = self.run_limited(
            "{download: 64KiB/day}",
            statuses(2, "http://allowed.test/bytes/100000"),
        )
        self.assertEqual(run.out.split()[1], "429", run)
        self.assertEqual(self.reasons(audit), ["download_budget"] * 2)

    def test_bandwidth_holds_the_agent_back_and_loses_nothing(self):
        began = time.monotonic()
        run, audit = self.run_limited(
            "{bandwidth: 100KiB/s}",
            f"{' '.join(curl('-o', 'got', 'https://allowed.test/bytes/200000'))}; stat -c %s got",
        )
        self.assertEqual(run.out.strip(), "200000", run)
        # A quarter of a second's worth may leave at once, and the last 64 KiB wait for those before.
        self.assertGreater(time.monotonic() - began, (200000 - 64 * KIB) / (100 * KIB) - 0.25)
        self.assertEqual(self.reasons(audit), ["listed"])

    def test_connections_beyond_those_that_may_be_open_are_refused(self):
        script = f"""
            exec 3<>/dev/tcp/ssh.test/22; head -1 <&3
            exec 4<>/dev/tcp/ssh.test/22; head -1 <&4
            {statuses(1, "http://allowed.test/")}
            exec 3>&- 4>&-
            for i in $(seq 500); do sleep 0.1; s=$({statuses(1, "http://allowed.test/")}); [ $s = 200 ] && break; done
            echo then $s
            """
        run, audit = self.run_limited("{connections: 2}", script)
        self.assertEqual(run.out.count("SSH-2.0-origin"), 2, run)
        self.assertEqual(run.out.split()[2], "429", run)
        self.assertIn("then 200", run.out)
        self.assertIn("connection_limit", self.reasons(audit))

    def test_what_is_no_limit_is_an_error_with_its_place(self):
        for limits, part in [
            ("{connections: many}", "'connections' is 'many'"),
            ("{connects: 50}", "'connects' is '50'"),
            ("{upload: 1GB/day}", "'upload' is '1GB/day'"),
            ("{download: 1GiB/fortnight}", "'download' is '1GiB/fortnight'"),
            ("{bandwidth: 20MiB}", "'bandwidth' is '20MiB'"),
            ("{uploads: 1GiB/day}", "did you mean 'upload'?"),
            ("[]", "'limits' is a list"),
        ]:
            self.write(self.policy_file, policy(limits))
            run = self.sluice("policy", "check", self.policy_file)
            self.assertEqual(run.status, 1, limits)
            self.assertIn(part, run.err)
            self.assertIn("my.yaml:10:", run.err)


class OfSluiced(SharedCase):
    def test_an_agent_with_all_its_connections_waits_and_goes_on_when_one_ends(self):
        self.start_sluiced("limits: {connections_per_agent: 2, header_bytes: 2KiB, headers: 8}\ntimeouts: {first_byte: 600s}\n")
        script = f"""
            exec 3<>/dev/tcp/127.0.0.1/3128 4<>/dev/tcp/127.0.0.1/3128
            sleep 0.3
            (exec 3>&- 4>&-; {statuses(1, "http://allowed.test/")}; echo after) > third &
            sleep 0.7; cat third; echo before
            exec 3>&- 4>&-
            wait; cat third
            """
        run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", script)
        self.assertEqual(run.out.split(), ["before", "200", "after"], run)

    def test_a_head_larger_or_longer_than_the_operator_says_is_431(self):
        self.start_sluiced("limits: {header_bytes: 2KiB, headers: 8}\n")
        long = "-H 'X-Long: " + "x" * 2000 + "' http://allowed.test/"
        many = " ".join(f"-H 'X-{n}: 1'" for n in range(9)) + " http://allowed.test/"
        script = statuses(1, "http://allowed.test/") + f"; {statuses(1, long)}; {statuses(1, many)}"
        run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", script)
        self.assertEqual(run.out.split(), ["200", "431", "431"], run)

    def test_a_budget_is_not_new_after_sluiced_was_restarted(self):
        self.write(self.policy_file, policy("{upload: 50KiB/day}"))
        upload = f"head -c {40 * KIB} /dev/zero > some; " + statuses(
            1, "--data-binary", "@some", "http://allowed.test/"
        )
        said, spent = [], []
        for _ in range(2):
            daemon = self.start_sluiced()
            run = self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", upload)
            said.append(run.out.strip())
            budget = 'sluice_budget_{}_bytes{{agent="coder-1",direction="up"}}'
            self.assertEqual(scrape.series()[budget.format("limit")], 50 * KIB)
            spent.append(scrape.series()[budget.format("spent")])
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
        self.assertEqual(said, ["200", "429"])
        self.assertEqual(spent[1], 50 * KIB, "the second goes on where the first was")
        self.assertGreater(spent[0], 40 * KIB)
        self.assertLess(spent[0], 50 * KIB)

    def test_a_budget_that_a_reload_changes_is_told_as_it_is_now_and_one_that_goes_is_not_told(self):
        self.write(self.policy_file, policy("{upload: 50KiB/day, download: 1MiB/hour}"))
        self.start_sluiced()
        line = ("run", "--agent", "coder-1", "--", "bash", "-c", "echo up; exec sleep 300")
        agent = self.start(self.command(*line))
        self.addCleanup(agent.communicate)
        self.addCleanup(agent.kill)
        self.assertEqual(agent.stdout.readline(), b"up\n")

        def told():
            return {name.removeprefix("sluice_budget_"): value
                    for name, value in scrape.series().items() if name.startswith("sluice_budget_")}  # fmt: skip

        self.assertEqual(
            told(),
            {'spent_bytes{agent="coder-1",direction="up"}': 0, 'limit_bytes{agent="coder-1",direction="up"}': 50 * KIB,
             'spent_bytes{agent="coder-1",direction="down"}': 0, 'limit_bytes{agent="coder-1",direction="down"}': KIB * KIB},
        )  # fmt: skip
        self.write(self.policy_file, policy("{upload: 70KiB/day}"))
        wanted = {'spent_bytes{agent="coder-1",direction="up"}': 0, 'limit_bytes{agent="coder-1",direction="up"}': 70 * KIB}
        self.wait_until(lambda: told() == wanted, f"not {wanted}")
        agent.kill()
        gone = 'sluice_agent_ends_total{agent="coder-1",end="lost"}'
        self.wait_until(lambda: scrape.series()[gone] == 1, "it is still there")
        self.assertEqual(told(), wanted, "for the grace")
