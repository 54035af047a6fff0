#!/usr/bin/env python3
"""Each alert has a severity, words for a person, a section of the runbook, and tests that it fires and does not.

Sections are compared both ways: one without an alert is stale.
"""

import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "deploy/prometheus"
RUNBOOK = ROOT / "docs/runbook.md"
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


def main():
    rules, runbook, tested = alerts(), sections(), list(expectations())
    found = [f"docs/runbook.md has a section {name}, which is no alert"
             for name in runbook if name.startswith("Sluice") and name not in rules]  # fmt: skip
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
