"""Resolve once, judge, dial that address: what a name may resolve to."""

import textwrap

import world
from agent import Case

FORBIDDEN = ["metadata", "metadata6", "alibaba", "azure", "oracle", "alias", "mapped", "nat64",
             "sixtofour", "compatible", "linklocal", "zero", "multicast", "broadcast",
             "synthetic"]  # fmt: skip
PRIVATE = ["private", "cgnat", "loopback", "loopback6", "self", "self6", "ula"]


def request(host, port=80):
    target = host if port == 80 else f"{host}:{port}"
    return {
        "to": ["127.0.0.1", 3128],
        "steps": [f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"],
    }


def transparent(host, port=80):
    return {
        "to": [host, port],
        "steps": [f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"],
    }


class Rebinding(Case):
    policy = """
        version: 1
        agents:
          coder-1:
            allow:
              - host: "*.rebind.test"
              - host: "*.flip.test"
              - host: mixed.test
              - host: allowed.test
              - host: silent.test
              - host: slow.test
              - host: nowhere.test
              - host: forged.test
        """

    def setUp(self):
        super().setUp()
        self.traps = [world.Trap(address, 80) for address in (world.MACHINE4, "127.0.0.1")]
        for trap in self.traps:
            self.addCleanup(trap.close)

    def assert_nobody_was_visited(self):
        self.assertEqual(self.outside.addresses_reached(), [])
        self.assertEqual([trap.visitors() for trap in self.traps], [0, 0])

    def test_an_allowed_name_that_resolves_to_a_forbidden_address_is_refused(self):
        """Metadata services, link-local, multicast, in IPv4, IPv6 and every embedding."""
        jobs = {name: request(f"{name}.rebind.test") for name in FORBIDDEN}
        jobs |= {f"{name}, transparent": transparent(f"{name}.rebind.test") for name in FORBIDDEN}
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assert_refused_by_http(answer, 403, "address_forbidden")
        self.assert_nobody_was_visited()

    def test_an_allowed_name_that_resolves_to_a_private_address_is_refused(self):
        """Also to the machine's own public address: the kernel is asked at each dial."""
        jobs = {name: request(f"{name}.rebind.test") for name in PRIVATE}
        jobs |= {f"{name}, transparent": transparent(f"{name}.rebind.test") for name in PRIVATE}
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assert_refused_by_http(answer, 403, "address_private")
        self.assert_nobody_was_visited()

    def test_a_name_that_changes_its_mind_is_judged_by_the_address_that_is_dialled(self):
        """TTL 0: public for the first question, the metadata service ever after."""
        ask = "GET http://a.flip.test/ HTTP/1.1\r\nHost: a.flip.test\r\n\r\n"
        close = ask.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        steps = [close, {"until": "\r\n\r\n"}, {"sleep": 0.2}]
        self.wire({str(n): {"to": ["127.0.0.1", 3128], "steps": steps} for n in range(6)})
        self.wire({"again": request("a.flip.test")})
        self.assertLessEqual(set(self.outside.addresses_reached()), {world.ALLOWED4})

    def test_a_mixed_answer_keeps_its_survivors(self):
        answers = self.wire({"a": request("mixed.test"), "b": transparent("mixed.test")})
        for answer in answers.values():
            self.assertTrue(answer["reply"].startswith("HTTP/1.1 200"), answer)
        self.assertEqual(self.outside.addresses_reached(), [world.ALLOWED4])

    def test_an_answer_with_the_wrong_id_is_not_believed(self):
        answer = self.wire({"a": request("forged.test")})["a"]
        self.assertTrue(answer["reply"].startswith("HTTP/1.1 200"), answer)
        self.assertEqual(self.outside.addresses_reached(), [world.ALLOWED4])

    def test_names_that_do_not_resolve_say_so(self):
        jobs = {
            "slow": request("slow.test"),
            "nowhere": request("nowhere.test"),
            "silent": request("silent.test"),
            "meanwhile": request("allowed.test"),
        }
        answers = self.wire(jobs)
        self.assertTrue(answers["meanwhile"]["reply"].startswith("HTTP/1.1 200"), answers)
        self.assertLess(answers["meanwhile"]["ms"], answers["silent"]["ms"], "it waits for nobody")
        self.assertTrue(answers["slow"]["reply"].startswith("HTTP/1.1 200"), answers["slow"])
        self.assert_refused_by_http(answers["nowhere"], 502, "dns_failed")
        # wire.py is more patient than the resolver, whose limit is 5 s.
        self.assertTrue(answers["silent"]["reply"].startswith("HTTP/1.1 504"), answers["silent"])
        self.assertIn('details="dns_timeout"', answers["silent"]["reply"])


class Ranges(Case):
    policy = """
        version: 1
        agents:
          coder-1:
            allow:
              - host: db.test
                ports: [5432]
              - cidr: 10.20.0.0/16
                ports: [5432]
              - cidr: 127.0.0.1/32
                ports: [LOOPBACK]
              - cidr: 169.254.0.0/16
                ports: [80]
              - host: allowed.test
                ports: [81, 443]
        """

    def setUp(self):
        super().setUp()
        self.open_trap = world.Trap("127.0.0.1")
        self.closed_trap = world.Trap("127.0.0.1")
        for trap in (self.open_trap, self.closed_trap):
            self.addCleanup(trap.close)
        text = textwrap.dedent(self.policy).replace("LOOPBACK", str(self.open_trap.port))
        self.write(self.policy_file, text)

    def test_a_cidr_rule_opens_a_private_address_by_literal_and_by_name_for_its_ports_only(self):
        jobs = {
            "literal": {"to": ["10.20.0.5", 5432], "steps": ["hi"], "quiet": 0.5},
            "name": {"to": ["db.test", 5432], "steps": ["hi"], "quiet": 0.5},
            "another port": {"to": ["10.20.0.5", 9000], "steps": ["hi"], "quiet": 0.5},
            "another range": {"to": ["10.21.0.5", 5432], "steps": ["hi"], "quiet": 0.5},
        }
        answers = self.wire(jobs)
        for name in ("literal", "name"):
            self.assertEqual(answers[name]["reply"], "echo:hi", (name, answers[name]))
        for name in ("another port", "another range"):
            self.assertEqual(answers[name]["reply"], "", (name, answers[name]))
        self.assertEqual(self.outside.addresses_reached(), ["10.20.0.5"])

    def test_no_rule_opens_a_forbidden_address(self):
        jobs = {
            "transparent": transparent("169.254.169.254"),
            "proxy": request("169.254.169.254"),
            "mapped": request("[::ffff:169.254.169.254]"),
        }
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assertRegex(answer["reply"], r"^HTTP/1\.1 (400|403) ", answer)
        self.assert_nothing_left()

    def test_the_machines_loopback_is_opened_by_one_explicit_line_and_has_a_name(self):
        """host.sluice.internal and CONNECT 127.0.0.1 are the machine's, not the agent's own."""

        def connect(host, port):
            target = f"{host}:{port}"
            return {
                "to": ["127.0.0.1", 3128],
                "steps": [f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"],
                "quiet": 0.5,
            }

        name = "host.sluice.internal"
        jobs = {
            "open": connect(name, self.open_trap.port),
            "open by address": connect("127.0.0.1", self.open_trap.port),
            "closed": connect(name, self.closed_trap.port),
            "closed by address": connect("127.0.0.1", self.closed_trap.port),
            "another address": connect("127.0.0.2", self.open_trap.port),
            "the agent's own": {"to": ["127.0.0.1", self.open_trap.port]},
        }
        answers = self.wire(jobs)
        for job in ("open", "open by address"):
            self.assertTrue(answers[job]["reply"].startswith("HTTP/1.1 200"), (job, answers[job]))
        for job in ("closed", "closed by address"):
            self.assertTrue(answers[job]["reply"].startswith("HTTP/1.1 403"), (job, answers[job]))
            self.assertRegex(answers[job]["reply"], 'details="(address_private|port_not_allowed)"')
        self.assert_refused_by_http(answers["another address"], 403, "address_private")
        self.assertEqual(answers["the agent's own"]["error"], "ECONNREFUSED")
        self.assertEqual(self.open_trap.visitors(), 2)
        self.assertEqual(self.closed_trap.visitors(), 0)

    def test_an_origin_that_refuses_is_told_apart_from_a_policy_that_refuses(self):
        answer = self.wire({"a": request("allowed.test", 81)})["a"]
        self.assert_refused_by_http(answer, 502, "connect_refused")
