"""Clients that people's tools are made of, through each entrance they know: the proxy variables,
the captured route, and SOCKS."""

import hashlib
import os
import shutil
import subprocess
import textwrap

import agent
import world
from agent import NO_PROXY_VARIABLES

SITE = f"{world.BASE}/site"
SOCKS = "socks5h://127.0.0.1:3128"

REQUESTS = """
import requests
with requests.Session() as session:
    session.verify = "ca.pem"
    for number in range(3):
        print(session.get(f"https://allowed.test/r{number}", timeout=60).json()["path"])
    print(session.post("http://allowed.test/p", data=b"x" * 100_000, timeout=60).json()["got"])
    chunks = (b"y" * 1000 for _ in range(50))
    print(session.put("http://allowed.test/c", data=chunks, timeout=60).json()["got"])
    refused = session.get("http://other.test/", timeout=60)
    print(refused.status_code, "not_listed" in refused.text)
"""
REQUESTS_SAID = "/r0\n/r1\n/r2\n100000\n50000\n403 True\n"

FETCH = """
const seen = [];
for (const path of ["/f1", "/f2"]) {
  const reply = await fetch(`https://allowed.test${path}`);
  seen.push((await reply.json()).path);
}
const posted = await fetch("http://allowed.test/p", {method: "POST", body: "z".repeat(70000)});
seen.push((await posted.json()).got);
const refused = await fetch("http://other.test/").then((r) => r.status, (e) => e.cause.code);
seen.push(refused);
console.log(seen.join(" "));
"""

TUNNEL = """
import http from "node:http";
import https from "node:https";
import tls from "node:tls";
http.request({host: "127.0.0.1", port: 3128, method: "CONNECT", path: "allowed.test:443"})
  .on("connect", (answer, socket) => {
    const agent = new https.Agent({keepAlive: true, maxSockets: 1});
    agent.createConnection = () => tls.connect({socket, servername: "allowed.test"});
    const get = (path, then) => https.get({agent, host: "allowed.test", path}, (reply) => {
      let text = "";
      reply.on("data", (part) => { text += part; }).on("end", () => then(JSON.parse(text).path));
    });
    get("/t1", (one) => get("/t2", (two) => {
      console.log(answer.statusCode, one, two);
      agent.destroy();
    }));
  }).end();
"""

WEBSOCKETS = """
import asyncio, ssl, websockets
async def talk(uri, **more):
    async with websockets.connect(uri, open_timeout=60, **more) as socket:
        for word in ("one", "two"):
            await socket.send(word)
            print(await socket.recv())
asyncio.run(talk("ws://allowed.test/websocket"))
asyncio.run(talk("wss://allowed.test/websocket", ssl=ssl.create_default_context(cafile="ca.pem")))
"""

APT = (
    "apt-get -qq -o Dir::State=$PWD/apt/state -o Dir::Cache=$PWD/apt/cache -o Dir::Etc=$PWD/apt "
    "-o Dir::State::status=$PWD/apt/status -o Acquire::https::CAInfo=$PWD/ca.pem "
    "-o APT::Sandbox::User= -o Acquire::Retries=0 "
)


def run(*command, **keywords):
    subprocess.run(command, check=True, capture_output=True, timeout=60, **keywords)


class Clients(agent.Case):
    def setUp(self):
        super().setUp()
        shutil.rmtree(SITE, ignore_errors=True)
        os.makedirs(SITE)
        self.addCleanup(shutil.rmtree, SITE, True)

    def test_requests_keeps_connections_posts_and_uploads_in_chunks(self):
        self.write(f"{self.workspace}/client.py", REQUESTS)
        ask = f"{world.PYTHON} client.py"
        self.assertEqual(self.shell(ask).out, REQUESTS_SAID)
        # Nobody answers in plain HTTP for a name that DNS does not know: the last line is an error.
        transparent = self.shell(NO_PROXY_VARIABLES + ask, status=1)
        self.assertEqual(transparent.out, REQUESTS_SAID.removesuffix("403 True\n"), transparent)
        self.assertRegex(transparent.err, "NameResolutionError|Name or service not known")

    def test_nodes_fetch_is_captured_whatever_it_thinks_of_proxies(self):
        self.write(f"{self.workspace}/client.mjs", FETCH)
        ran = self.shell("NODE_EXTRA_CA_CERTS=ca.pem node client.mjs")
        self.assertIn(ran.out, ("/f1 /f2 70000 ENOTFOUND\n", "/f1 /f2 70000 403\n"), ran)

    def test_node_speaks_https_inside_a_tunnel_it_asked_for(self):
        self.write(f"{self.workspace}/client.mjs", TUNNEL)
        ran = self.shell("NODE_EXTRA_CA_CERTS=ca.pem node client.mjs")
        self.assertEqual(ran.out, "200 /t1 /t2\n", ran)

    def test_a_websocket_library_talks_with_and_without_tls(self):
        self.write(f"{self.workspace}/client.py", WEBSOCKETS)
        ran = self.shell(f"{world.PYTHON} client.py")
        self.assertEqual(ran.out, "one\ntwo\none\ntwo\n", ran)

    def test_git_clones_by_each_entrance(self):
        work = f"{SITE}/work"
        run("git", "init", "-q", "-b", "main", work)
        author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        self.write(f"{work}/README", "hello\n")
        run("git", "-C", work, "add", "README")
        run("git", "-C", work, *author, "commit", "-q", "-m", "first")
        run("git", "clone", "-q", "--bare", work, f"{SITE}/project.git")
        run("git", "-C", f"{SITE}/project.git", "update-server-info")
        clone = "git -c http.sslCAInfo=$PWD/ca.pem {} clone -q {} {}"
        url = "https://allowed.test/site/project.git"
        for number, (before, option) in enumerate(
            [("", ""), (NO_PROXY_VARIABLES, ""), ("", f"-c http.proxy={SOCKS}")]
        ):
            with self.subTest(before=before, option=option):
                line = before + clone.format(option, url, f"copy{number}")
                ran = self.shell(f"{line} && cat copy{number}/README")
                self.assertEqual(ran.out, "hello\n", ran)

    def test_apt_updates_and_downloads_over_http_and_https(self):
        package = f"{SITE}/package"
        os.makedirs(f"{package}/DEBIAN")
        control = "Package: hello-sluice\nVersion: 1\nArchitecture: all\n"
        control += "Maintainer: nobody <nobody@example.com>\nDescription: a package\n"
        self.write(f"{package}/DEBIAN/control", control)
        os.chmod(f"{package}/DEBIAN", 0o755)
        os.makedirs(f"{SITE}/apt")
        run("dpkg-deb", "--build", "--root-owner-group", package, f"{SITE}/apt/hello.deb")
        with open(f"{SITE}/apt/hello.deb", "rb") as file:
            content = file.read()
        described = f"{control}Filename: ./hello.deb\nSize: {len(content)}\n"
        described += f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n"
        self.write(f"{SITE}/apt/Packages", described)
        for scheme in ("http", "https"):
            for before in ("", NO_PROXY_VARIABLES):
                with self.subTest(scheme=scheme, before=before):
                    script = f"""
                        rm -rf apt *.deb
                        mkdir -p apt/state/lists/partial apt/cache/archives/partial
                        mkdir apt/sources.list.d apt/preferences.d
                        : > apt/status
                        url={scheme}://allowed.test/site/apt
                        echo "deb [trusted=yes] $url ./" > apt/sources.list
                        {APT} update && {APT} download hello-sluice && ls *.deb
                    """
                    ran = self.shell(f"{before}true;{textwrap.dedent(script)}")
                    self.assertEqual(ran.out.split()[-1], "hello-sluice_1_all.deb", ran)

    def test_curl_downloads_and_uploads_by_each_entrance(self):
        curl = "curl -sS -m 60 --cacert ca.pem"
        entrances = {"variables": "", "captured": "--noproxy '*'", "socks": f"-x {SOCKS}"}
        self.shell("head -c 3000000 /dev/zero > zeros")
        for name, option in entrances.items():
            for scheme in ("http", "https"):
                with self.subTest(entrance=name, scheme=scheme):
                    base = f"{scheme}://allowed.test"
                    script = (
                        f"{curl} {option} {base}/bytes/5000000 | wc -c; "
                        f"{curl} {option} -T zeros {base}/put | grep -o '\"got\": [0-9]*'; "
                        f"{curl} {option} -H 'Transfer-Encoding: chunked' -T zeros {base}/put "
                        "| grep -o '\"got\": [0-9]*'; "
                        f"{curl} {option} -I -o /dev/null -w '%{{http_code}}\\n' {base}/head"
                    )
                    ran = self.shell(script)
                    wanted = ["5000000", '"got": 3000000', '"got": 3000000', "200"]
                    self.assertEqual(ran.out.split("\n")[:4], wanted, ran)
