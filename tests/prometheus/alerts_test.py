#!/usr/bin/env python3
"""Each alert has a severity, words for a person, a section of the runbook, and tests that it fires and does not.

Sections are compared both ways: one without an alert is stale. No reason to refuse is forgotten.
"""

import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "deploy/prometheus"
RUNBOOK = ROOT / "docs/runbook.md"
REASONS = ROOT / "base/reason.h"
# Refusals that are no alert's business, and why.
OF_NO_ALERT = {
    "unknown_agent": "a caller that the policy does not know is no agent",
    "policy_changed": "somebody changed the policy",
    "auth_required": "clients ask without a password first",
    "proxy_loop": "somebody's configuration, told to them at once",
    "header_too_large": "one request's fault",
    "deadline": "one connection's fault",
}
PARTS = ("**Means**", "**Look**", "**Decide**", "**Mend**", "**Silence**")


def alerts():
    groups = yaml.safe_load((RULES / "sluice.alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def sections():
    """Heading -> text, of the second level."""
    parts = re.split(r"^## (.*)\n", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def faults_of_words(name, rule):
    words = rule.get("annotations", {})
    severity = rule.get("labels", {}).get("severity")
    if severity not in ("page", "ticket"):
        yield f"severity is {severity!r}"
    for key in ("summary", "description", "runbook_url"):
        if not words.get(key):
            yield f"no {key}"
    if words.get("runbook_url") != f"docs/runbook.md#{name.lower()}":
        yield f"runbook_url is {words.get('runbook_url')!r}"
    if "agent" in rule["expr"] and "$labels.agent" not in words.get("summary", ""):
        yield "the summary does not name the agent"


def faults_of_section(rule, text):
    if text is None:
        yield "no section in docs/runbook.md"
        return
    for part in PARTS:
        if part not in text:
            yield f"its section has no {part}"
    if not text.lstrip().startswith(f"`{rule['labels']['severity']}`."):
        yield f"its section does not begin with its severity, `{rule['labels']['severity']}`"


def expectations():
    """(alert, fires) of every expectation in the tests."""
    for path in sorted(pathlib.Path(__file__).parent.glob("*_test.yaml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for one in test["promql_expr_test"]:
                if not one["expr"].startswith("ALERTS"):
                    continue
                for sample in one.get("exp_samples") or []:
                    yield re.search(r'alertname="(\w+)"', sample["labels"])[1], True
                named = re.search(r'alertname="(\w+)"', one["expr"])
                if not one.get("exp_samples"):
                    yield named[1] if named else test["name"], False


def faults_of_reasons():
    """Each reason to refuse or fail is in one group of the rules or of the alerts, or known to be in none."""
    enum = re.search(r"enum class Reason.*?\{(.*?)\};", REASONS.read_text(), re.DOTALL)[1]
    refused = re.findall(r"^  (\w+),", enum.split("// denied by policy")[1], re.MULTILINE)
    recorded = (RULES / "sluice.rules.yaml").read_text().split("labels: {kind: targets}")[1]
    told = recorded + "".join(rule["expr"] for rule in alerts().values())
    grouped = {name for value in re.findall(r'reason=~?"([a-z_|]+)"', told) for name in value.split("|")}
    for name in refused:
        if name not in grouped and name not in OF_NO_ALERT:
            yield f"no rule knows the reason {name}; put it into one, or into OF_NO_ALERT"
        if name in grouped and name in OF_NO_ALERT:
            yield f"{name} is in a rule and in OF_NO_ALERT"
    if len(refused) < 30:
        yield f"only {len(refused)} reasons were found in {REASONS}"


def main():
    rules, runbook, tested = alerts(), sections(), list(expectations())
    found = [f"docs/runbook.md has a section {name}, which is no alert"
             for name in runbook if name.startswith("Sluice") and name not in rules]  # fmt: skip
    found += faults_of_reasons()
    for name, rule in rules.items():
        faults = [*faults_of_words(name, rule), *faults_of_section(rule, runbook.get(name))]
        if tested.count((name, True)) < 1:
            faults.append("no test in which it fires")
        if tested.count((name, False)) < 2:
            faults.append("no tests before it fires and after it")
        found += [f"{name}: {fault}" for fault in faults]
    print("\n".join(found) or f"{len(rules)} alerts")
    return 1 if found or not rules else 0


if __name__ == "__main__":
    sys.exit(main())
