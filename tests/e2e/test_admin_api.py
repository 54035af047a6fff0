"""What operators ask on the admin socket: agents, decisions and their stream, what is blocked."""

import json
import os
import select
import socket

import world
from agent import curl
from shared import FOLDER, SharedCase

ADMIN = f"{FOLDER}/admin.sock"
EVERYBODY = ("127.0.0.1", 9915)


def ask(address, path, method="GET", more=""):
    """The head and the body of an answer."""
    with open_to(address) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: admin\r\n{more}\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return head, body


def open_to(address):
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(60)
    client.connect(address)
    return client


class AdminApi(SharedCase):
    admin_address = "127.0.0.1:9915"

    def setUp(self):
        super().setUp()
        runtime = self.environment.get("XDG_RUNTIME_DIR")
        self.runtime = f"{runtime}/sluice/agents" if runtime else "/run/sluice/agents"

    def get(self, path, address=ADMIN):
        head, body = ask(address, path)
        self.assertIn(" 200 OK", head, body)
        self.assertIn("Content-Type: application/json", head)
        return json.loads(body)

    def decided(self, path, count, address=ADMIN):
        """The page's decisions, once there are `count`: each is told soon after it was made."""
        found = []

        def enough():
            found[:] = self.get(path, address)["decisions"]
            return len(found) >= count

        self.wait_until(enough, f"fewer than {count} at {path}")
        return found

    def shared_agent(self, script, name="coder-1"):
        run = self.sluice("run", "--agent", name, "--", "bash", "-c", script)
        self.assertEqual(run.status, 0, run)
        return run


class OfAMachine(AdminApi):
    def test_agents_lists_who_is_there_with_what_came_of_what_they_asked_for(self):
        self.start_sluiced()
        self.assertEqual(self.get("/api/v1/agents")["agents"], [])
        script = " ".join(curl("https://allowed.test/")) + "; curl -s http://other.test/; curl -s http://other.test/"
        self.stay(script + " >/dev/null; curl -s --noproxy '*' http://third.test/")
        page = self.get("/api/v1/agents")
        agent = page["agents"][0]
        self.assertEqual(
            list(agent),
            ["name", "kind", "since", "connections", "tunnels", "allowed", "reported", "denied", "failed",
             "dns_refused", "programs", "bytes_up", "bytes_down", "budgets"],
        )  # fmt: skip
        self.assertEqual((agent["name"], agent["kind"]), ("coder-1", "network"))
        self.assertEqual((agent["allowed"], agent["denied"], agent["failed"], agent["dns_refused"]), (1, 2, 0, 2))
        self.assertGreater(agent["bytes_down"], 100)
        self.assertRegex(agent["since"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertLessEqual(agent["since"], page["time"])
        # As `sluice ps` has them, of a shared sluiced as well.
        run = json.loads(self.sluice("ps", "--json").out)[0]
        self.assertEqual((run["allowed"], run["blocked"]), (1, 4), run)

    def test_decisions_are_the_last_audit_lines_and_may_be_asked_for_by_agent_and_verdict(self):
        self.start_sluiced()
        self.shared_agent(" ".join(curl("https://allowed.test/")) + "; curl -s http://other.test/x")
        every = self.decided("/api/v1/decisions", 2)
        self.wait_until(lambda: self.verdicts() == every, f"{self.verdicts()} are not {every}")
        denied = self.get("/api/v1/decisions?agent=coder-1&verdict=deny&limit=1")["decisions"]
        self.assertEqual([(one["host"], one["reason"], one["path"]) for one in denied], [("other.test", "not_listed", "/x")])
        self.assertEqual(self.get("/api/v1/decisions?agent=coder-2")["decisions"], [])

    def verdicts(self):
        """What the audit file says of decisions."""
        with open(self.audit) as lines:
            return [line for line in (json.loads(text) for text in lines if text.endswith("\n")) if "verdict" in line]

    def test_the_stream_tells_each_decision_when_it_is_made(self):
        self.start_sluiced()
        with open_to(ADMIN) as client:
            client.sendall(
                b"GET /api/v1/decisions?verdict=deny HTTP/1.1\r\nHost: admin\r\nAccept: text/event-stream\r\n\r\n"
            )
            head = self.hear(client, "\r\n\r\n")
            self.assertIn("Content-Type: text/event-stream", head)
            self.shared_agent(" ".join(curl("https://allowed.test/")) + "; curl -s http://other.test/")
            event = self.hear(client, "\n\n")
            lines = event.partition("\r\n\r\n")[2] or event
            fields = dict(line.split(": ", 1) for line in lines.strip().split("\n"))
            self.assertEqual(fields["event"], "decision")
            self.assertEqual(json.loads(fields["data"])["host"], "other.test")

    def hear(self, client, end):
        said = ""
        while end not in said:
            self.assertTrue(select.select([client], [], [], 60)[0], said)
            said += client.recv(65536).decode()
        return said

    def test_top_counts_what_was_blocked_by_host_agent_and_reason(self):
        self.start_sluiced()
        self.shared_agent("for i in 1 2 3; do curl -s http://other.test/; done; curl -s http://allowed.test:81/; true")

        def all_there():
            return sum(one["count"] for one in self.get("/api/v1/top")["blocked"]) >= 4

        self.wait_until(all_there, "four were blocked")
        first = self.get("/api/v1/top?limit=1")["blocked"]
        self.assertEqual(len(first), 1)
        self.assertLessEqual(
            {"agent": "coder-1", "host": "other.test", "port": 80, "verdict": "deny",
             "reason": "not_listed", "count": 3, "over": 0}.items(), first[0].items()
        )  # fmt: skip
        self.assertEqual(self.get("/api/v1/top?agent=coder-2")["blocked"], [])

    def test_a_question_that_makes_no_sense_is_told_what_to_do(self):
        self.start_sluiced()
        for path, status, error, hint in (
            ("/api/v1/decisions?agnet=x", "400 Bad Request", "there is no 'agnet' to ask by", "agent="),
            ("/api/v1/decisions?verdict=maybe", "400 Bad Request", "'maybe' is no verdict", "deny"),
            ("/api/v1/decisions?limit=1001", "400 Bad Request", "'1001' is no limit", "0 to 1000"),
            ("/api/v1/agents?agent=x", "400 Bad Request", "takes nothing", "without it"),
            ("/api/v1/agent", "404 Not Found", "/api/v1/agent", "/api/v1/agents"),
        ):
            with self.subTest(path):
                head, body = ask(ADMIN, path)
                self.assertIn(f"HTTP/1.1 {status}", head)
                said = json.loads(body)
                self.assertIn(error, said["error"])
                self.assertIn(hint, said["hint"])
        head, body = ask(ADMIN, "/api/v1/agents", "DELETE")
        self.assertIn("HTTP/1.1 405 Method Not Allowed", head)
        self.assertIn("\r\nAllow: GET, HEAD\r\n", head)
        self.assertIn("GET", json.loads(body)["error"])
        head, body = ask(ADMIN, "/api/v1/agents", "HEAD")
        self.assertEqual((" 200 OK" in head, body), (True, ""))

    def test_whoever_can_connect_to_the_address_learns_nothing_of_agents(self):
        self.start_sluiced()
        for page in ("agents", "decisions", "top", "policy"):
            with self.subTest(page):
                head, body = ask(EVERYBODY, f"/api/v1/{page}")
                self.assertIn(" 404 Not Found", head)
                self.assertEqual(list(json.loads(body)), ["error", "hint"])
        self.assertIn(" 200 OK", ask(EVERYBODY, "/metrics")[0])

    def test_an_agent_reaches_no_admin_socket(self):
        self.start_sluiced()
        script = f"""
import glob, socket
for path in {[ADMIN, self.runtime + "/coder-1.sock", self.runtime + "/coder-1.ctl"]!r}:
    try:
        socket.socket(socket.AF_UNIX).connect(path); print(path, "reached")
    except OSError as error:
        print(type(error).__name__)
try:
    socket.create_connection({EVERYBODY!r}, 5); print("address reached")
except OSError as error:
    print(type(error).__name__)
"""
        for more in ([], ["--proxy", "embedded", "--policy", self.policy_file]):
            with self.subTest(more):
                run = self.sluice("run", "--agent", "coder-1", *more, "--", world.PYTHON, "-c", script)
                self.assertEqual(run.status, 0, run)
                self.assertNotIn("reached", run.out, run)
                self.assertEqual(len(run.out.splitlines()), 4, run)


class OfARun(AdminApi):
    def test_a_runs_own_sluiced_answers_its_user_alone_and_without_an_audit_file(self):
        self.stay("curl -s http://other.test/ >/dev/null", "--policy", self.policy_file)
        own = f"{self.runtime}/coder-1.sock"
        self.assertEqual(os.stat(self.runtime).st_mode & 0o777, 0o700)
        denied = self.decided("/api/v1/decisions?verdict=deny", 1, own)
        self.assertEqual(denied[0]["host"], "other.test")
        self.assertEqual([one["name"] for one in self.get("/api/v1/agents", own)["agents"]], ["coder-1"])
        self.assertEqual(self.get("/api/v1/top", own)["blocked"][0]["host"], "other.test")
        self.assertEqual(self.get("/api/v1/policy", own)["path"], os.path.basename(self.policy_file))
