"""The main job, narrated: `./dev demo`.

    demo.py BIN

Makes a world of its own (two network namespaces: one where sluice runs, one with servers that play the
Internet), runs an agent in a sandbox there, and prints what the agent typed and what came of it. As root, or
as an ordinary user who may make user namespaces. Ends with 0 only if everything went as it says.
"""

import os
import sys
import textwrap

import world

STEPS = [
    ("An allowed host, through the proxy variables that every sandbox has:",
     "curl -sS --cacert ca.pem https://allowed.test/", 0, '"origin": "allowed.test"'),
    ("The same with every proxy variable unset: the route itself leads to the proxy.",
     "env -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy curl -sS --cacert ca.pem https://allowed.test/", 0, '"origin": "allowed.test"'),
    ("And by SOCKS5:",
     "curl -sS --cacert ca.pem -x socks5h://127.0.0.1:3128 https://allowed.test/", 0, '"origin": "allowed.test"'),
    ("A program that knows nothing of proxies, to an allowed name and port; the server speaks first:",
     "timeout 60 bash -c 'exec 3<>/dev/tcp/ssh.test/22; head -1 <&3'", 0, "SSH-2.0"),
    ("A host that is not on the list is refused at once, with a sentence:",
     "curl -sS http://other.test/", 0, "not_listed"),
    ("Without proxy variables its name does not even exist:",
     "env -u http_proxy -u ALL_PROXY -u all_proxy curl -sS http://other.test/", 6, ""),
    ("...and the sentence is where the agent can read it:",
     "until grep -s not_listed /run/sluice/denials; do sleep 0.1; done", 0, "not_listed"),
    ("The right name to reach the wrong host does not help:",
     "curl -sSk --connect-to other.test:443:allowed.test:443 -x '' --noproxy '*' https://other.test/", 35, ""),
    ("No literal address, no other port, no ping, no UDP:",
     "curl -sS --noproxy '*' http://25.10.0.11/ | tail -1", 0, "not_listed"),
    ("", "curl -sS --noproxy '*' http://allowed.test:8080/", 0, "port_not_allowed"),
    ("", "ping -c 1 -W 2 25.10.0.11", None, ""),
    ("", "python3 -c \"import socket; s = socket.socket(2, 2); s.connect(('25.10.0.11', 443)); s.send(b'q'); s.send(b'q')\" 2>&1 | tail -1", 0, "refused"),
    ("The root is read-only, /tmp is capped, the workspace is writable:",
     "touch /etc/x", 1, ""),
    ("", "dd if=/dev/zero of=/tmp/big bs=1M count=400 2>&1 | head -1", 0, "No space left"),
    ("", "echo 'made by the agent' > result.txt && ls -l result.txt", 0, "result.txt"),
    ("What is not the agent's it does not see:", "ls -A ~/.ssh /etc/sluice 2>&1 | head -3; cat /etc/shadow", 1, ""),
    ("And no way to undo any of it:", "unshare -Urn true", 1, ""),
]  # fmt: skip


def say(text):
    print(text, flush=True)


def narrate():
    import agent  # needs the identity of the world

    case = agent.Case()
    case.setUp()
    say("The policy (my.yaml):\n")
    say(textwrap.indent(agent.POLICY.strip(), "    "))
    say("\n$ sluice run --policy my.yaml --agent coder-1 -- bash\n")
    failures = []
    script = ["set +e"]
    for number, (text, command, _, _) in enumerate(STEPS):
        if text:
            script.append(f"echo; echo {agent_quote('# ' + text)}")
        script.append(f"echo {agent_quote('coder-1$ ' + command)}")
        script.append(f"{{ {command}\n}} > .out-{number} 2>&1; s=$?; cat .out-{number}; echo $s > .status-{number}")
    script.append("exit 0")
    run = case.run_agent("bash", "-c", "\n".join(script), options=("--tmpfs", "/tmp:100MiB"))
    say(run.out.strip())
    for number, (_, command, status, part) in enumerate(STEPS):
        with open(f"{case.workspace}/.status-{number}") as file:
            got = int(file.read())
        with open(f"{case.workspace}/.out-{number}", errors="replace") as file:
            out = file.read()
        if (status is not None and got != status) or part not in out:
            failures.append(f"'{command}': exit status {got}, wanted {status} and {part!r}")
    say("\ncoder-1$ exit")
    say(run.err.strip().splitlines()[-1])
    say("\nWhat reached the outside meanwhile, by address: " + (", ".join(case.outside.addresses_reached()) or "nothing"))
    for failure in failures:
        say(f"NOT AS IT SHOULD BE: {failure}")
    return 1 if failures else 0


def agent_quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def main():
    os.environ["SLUICE_BIN"] = os.path.abspath(sys.argv[1])
    status = world.enter(["demo"])
    if status == 77:
        say("hint: run as root, or allow user namespaces (sysctl user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns=0)")  # fmt: skip
    return status


if __name__ == "__main__":
    sys.exit(main())
