#!/usr/bin/env python3
"""docs/limits.md is true: each default is the code's, each test exists, and no bound of the code is missing."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = "proxy/daemon/config.h"
COLUMNS = 6
FOLDERS = ("proxy", "metrics", "netns")
SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "ms": 0.001, "s": 1, "min": 60}

# Names of constants that sound like a bound.
BOUND = re.compile(
    r"constexpr\s+(?!Answer|bool|char|std::string_view|std::array|std::initializer)[\w:<>, ]+?\s"
    r"((?:most|max|longest|largest)_\w+|\w+_(?:limit|cap|at_once|per_second)|drained_\w+)\s*[={]"
)

# Those are no limits that anybody meets, with the reason.
NOT_LIMITS = {
    "metrics/histogram.h most_bounds": "how many buckets a histogram of the code has",
    "proxy/daemon/config.cc longest_socket": "unix(7)",
    "proxy/daemon/peer.cc messages_at_once": "then a supervisor's messages are read 100 a second",
    "proxy/daemon/handover_requests.cc longest_farewell": "an end waits so long for the last lines of its account",
    "proxy/daemon/handover_requests.cc most_refused": "of datagrams that one report can add; no kernel refuses more meanwhile",
    "proxy/daemon/accept_within.h longest_accept": "then who handed the listener over is served no longer on it",
    "proxy/daemon/agents.cc most_left_out": "programs that one report can say are left out",
    "netns/seen_exec.h max_exec_words": "then a program's arguments are cut in its line",
    "proxy/daemon/agents.cc longest_sight": "bytes of a way out that are told; the rest is cut off",
    "proxy/daemon/config_peers.cc largest_id": "-1 is no user (chown(2))",
    "proxy/daemon/peer_access.cc most_entry_bytes": "the machine's user and group database",
    "proxy/daemon/hand_over.cc longest_take_over": "a replacement that takes longer is given up, and nothing changes",
    "proxy/daemon/hand_over.cc longest_rest": "the same",
    "proxy/daemon/take_over.cc longest_silence": "the same",
    "proxy/daemon/policy_edition.cc most_shown": "errors that an operator is shown; the others are counted",
    "proxy/daemon/policy_reload.cc most_told": "errors in the log; the others are counted",
    "proxy/daemon/policy_reload.cc most_disturbed": "readings of files that change while they are read",
    "proxy/daemon/policy_watch.cc most_links": "path_resolution(7)",
    "proxy/daemon/budget_keeper.cc largest_file": "sluiced's own file",
    "proxy/daemon/main.cc largest_system_file": "the machine's hosts file and resolv.conf",
    "proxy/session/tls_files.cc largest_file": "the operator's certificates and keys",
    "proxy/egress/way_out.cc longest_credentials": "the operator's file",
    "proxy/egress/resolver.cc longest_life": "five minutes are too long for a test",
    "proxy/session/tls_front.cc drained_time": "as drained_time of session.cc, for an alert",
    "proxy/session/tls_front.cc drained_bytes": "as drained_bytes of session.cc, for an alert",
    "proxy/session/tls_front.cc largest_client_chain": "handed to OpenSSL",
    "proxy/worker.cc sessions_at_once": "of a review, then others have their turn",
    "proxy/daemon/intake.cc most_at_once": "then others of the thread have their turn",
    "proxy/session/lane.cc bytes_at_once": "the same",
    "proxy/daemon/decision_stream.cc lines_at_once": "the same",
    "proxy/egress/route_query.cc most_news": "read at once; more of them empty the cache all the same",
    "metrics/audit_record.h spare_cap": "blocks kept for use again",
    "metrics/thread_counters.h own_thread_cap": "further threads share a row: slower, and as exact",
    "proxy/wire/basic_auth.cc longest_decoded": "made of longest_user and longest_password",
    "proxy/wire/basic_auth.cc longest_encoded": "the same",
    "proxy/wire/dns_message.cc name_limit": "RFC 1035 3.1: FORMERR, as every server answers",
    "proxy/wire/dns_message.cc largest_udp_size": "RFC 6891: what a client may ask for at most",
    "metrics/audit.cc gap_cap": "names in lines about left-out denials; the others count as other",
    "netns/handover.cc max_descriptors": "another word for max_sockets_per_message",
    "netns/message_json.cc max_depth": "of a message of at most max_message bytes",
    "netns/message_json.cc max_name_bytes": "RFC 1035 2.3.4",
    "netns/message_json.cc max_index": "addresses in 198.18.0.0/15",
    "netns/message_json.cc max_denied_reasons": "more than there are reasons",
    "netns/attach/detached.cc longest_answer": "what a supervisor says of its own start",
    "netns/attach/processes.cc most_bytes": "the kernel's file about a process",
    "netns/proxy_link.cc most_names": "more than sluiced gives to one agent",
    "netns/attach/seccomp_reader.cc most_instructions": "BPF_MAXINSNS: the kernel takes no longer filter",
    "netns/attach/seccomp_reader.cc most_filters": "more than fit the kernel's limit of instructions for a thread",
    "netns/named/state.cc most_bytes": "root's own file",
    "netns/containers/cni_agent.cc max_name": "of an agent; longer ones are hashed",
    "netns/containers/cni_request.cc max_word": "the specification's names are shorter",
    "netns/containers/cni_request.h max_cni_config": "written by a container runtime, which runs as root",
    "netns/containers/oci_hook.cc max_config_json": "the same",
    "netns/containers/oci_hook.cc max_state_json": "the same",
    "netns/take_over.h max_lines_per_message": "between two sluiced of one operator",
}


def amount(text):
    """The last number of a text with its unit: bytes, seconds or a count. None without one."""
    found = re.findall(r"(\d+)(?: (KiB|MiB|ms|min|s)\b)?", text)
    return int(found[-1][0]) * SIZES.get(found[-1][1], 1) if found else None


def evaluated(expression):
    """A constant of the code: bytes, seconds or a count."""
    text = expression.replace("'", "")
    text = re.sub(r"std::(?:size_t|uint64_t)\{(\d+)\}", r"\1", text)
    text = re.sub(r"std::chrono::seconds\((\d+)\)", r"\1", text)
    text = re.sub(r"\.(?:bytes|all) = ", "", text).split(",")[0].strip("{} ")
    duration = re.fullmatch(r"(\d+)(ms|s)", text)
    if duration:
        return int(duration.group(1)) * SIZES[duration.group(2)]
    if not re.fullmatch(r"[\d*+() ]+", text):
        raise ValueError(f"'{expression}' is not a number")
    return eval(text)  # digits and operators only


def constant(path, name):
    """The value of `name` in a source: a constant, or a member with an initialiser."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.search(rf"\b{name}(?:\s*=\s*([^;]+);|\{{(.*?)\}};|\s*=\s*(\d+),)", text, re.S)
    if name == "bytes":  # of an aggregate, as a default argument
        found = re.search(r"\.bytes = (\d+),", text)
    if not found:
        raise ValueError(f"{path} has no '{name}'")
    value = evaluated(next(group for group in found.groups() if group))
    before = text[: found.start()].rsplit("\n", 1)[-1]
    after = text[found.start() : found.end() + 60].split("\n")[0]
    in_ms = "milliseconds" in before or name.endswith("_ms")
    if in_ms and not re.search(r"\d(ms|s)\b", after.split("//")[0]):
        value *= 0.001
    return value


def configured(key):
    """The default of a key of sluiced's configuration."""
    section, _, name = key.rpartition(".")
    if not section:
        return constant(CONFIG, name)
    text = (ROOT / CONFIG).read_text(encoding="utf-8")
    body = re.search(rf"struct {section.capitalize()} \{{(.*?)\n  \}}", text, re.S).group(1)
    found = re.search(rf"(milliseconds|unsigned|uint64_t) {name}(?: = ([^;]+);|\{{(.*?)\}};)", body)
    value = evaluated(found.group(2) or found.group(3))
    return value * 0.001 if found.group(1) == "milliseconds" else value


def default_in_code(where):
    """The default that the code has for a row; None where the row names none."""
    built_in = re.search(r"`([\w/.]+)` `(\w+)`", where)
    if built_in:
        return constant(*built_in.groups())
    key = re.match(r"sluiced `([\w.]+)`", where)
    return configured(key.group(1)) if key else None


def exists(test):
    """Whether a test that the table names is one of this tree."""
    parts = test.split(".")
    if parts[0] == "e2e" and len(parts) == 4:
        path = ROOT / "tests/e2e" / f"test_{parts[1]}.py"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        body = re.search(rf"^class {parts[2]}\(.*?(?=^class |\Z)", text, re.M | re.S)
        return bool(body and f"def {parts[3]}(self)" in body.group(0))
    folder = {"unit": ROOT / "tests/unit" / parts[1], "loopback": ROOT / "tests/loopback"}.get(parts[0])
    wanted = re.compile(rf"^TEST(?:_F|_P)?\({parts[-2]},\s+{parts[-1]}\)", re.M)
    return folder is not None and any(wanted.search(p.read_text(encoding="utf-8")) for p in folder.glob("*.cc"))


def rows(text):
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| limit |"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def problems_of(row):
    if len(row) != COLUMNS or not all(row):
        yield f"not {COLUMNS} cells"
        return
    _, default, where, _, _, tests = row
    named = re.findall(r"`([\w.]+)`", tests)
    if not named:
        yield "no test is named"
    for test in named:
        if not exists(test):
            yield f"there is no test {test}"
    try:
        code = default_in_code(where)
    except (ValueError, AttributeError, OSError) as error:
        yield str(error)
        return
    told = amount(default)
    if code is None and told is not None:
        yield f"'{default}' stands nowhere in the code"
    elif code is not None and (told or 0) != code:
        yield f"the default is {code}, not '{default}'"


def bounds_of_the_code():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                for name in BOUND.findall(path.read_text(encoding="utf-8")):
                    yield f"{path.relative_to(ROOT)} {name}"


def main():
    text = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    found, count = [], 0
    for row in rows(text):
        count += 1
        found += [f"'{row[0]}': {problem}" for problem in problems_of(row)]
    for test in re.findall(r"\(?`((?:unit|loopback|e2e)\.[\w.]+)`", text):
        if not exists(test):
            found.append(f"there is no test {test}")
    told = {f"{path} {name}" for path, name in re.findall(r"`([\w/.]+)` `(\w+)`", text)}
    bounds = set(bounds_of_the_code())
    found += [f"not in the table: {bound}" for bound in sorted(bounds - told - set(NOT_LIMITS))]
    found += [f"no bound of the code: {bound}" for bound in sorted(set(NOT_LIMITS) - bounds)]
    for problem in dict.fromkeys(found):
        print(problem)
    print(f"{count} limits, {len(bounds)} bounds in the code, {len(set(found))} problems")
    return 1 if found or count < 60 else 0


if __name__ == "__main__":
    sys.exit(main())
