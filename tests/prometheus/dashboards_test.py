#!/usr/bin/env python3
"""What Grafana needs and no query shows: fixed uids, variables that exist, panels that do not overlap."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILT_IN = {"__rate_interval", "__interval", "__range"}
WIDTH = 24  # Grafana's grid
UIDS = {"sluice-fleet.json": "sluice-fleet", "sluice-agent.json": "sluice-agent"}


def cells(panel):
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def faults(name, board):
    if board["uid"] != UIDS[name]:
        yield f"uid is {board['uid']!r}"
    variables = {one["name"]: one for one in board["templating"]["list"]}
    if variables.get("datasource", {}).get("type") != "datasource":
        yield "no variable for the data source"
    if "agent" in name and "agent" not in variables:
        yield "no variable for the agent"
    for used in set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - BUILT_IN - set(variables):
        yield f"${used} is no variable"
    taken, ids = set(), set()
    for panel in board["panels"]:
        title = panel["title"]
        if panel["id"] in ids:
            yield f"{title}: its id is another panel's"
        ids.add(panel["id"])
        if cells(panel) & taken or any(x >= WIDTH for x, _ in cells(panel)):
            yield f"{title}: overlaps another panel or the edge"
        taken |= cells(panel)
        if panel["type"] != "row" and not panel["targets"]:
            yield f"{title}: no query"
        for target in panel.get("targets", []):
            if target["datasource"]["uid"] != "${datasource}":
                yield f"{title}: a data source of its own"
            if "$instance" not in target["expr"] and "ALERTS" not in target["expr"]:
                yield f"{title}: of all instances, whatever is chosen"
            if "agent" in name and "$agent" not in target["expr"] and "_limit" not in target["expr"]:
                yield f"{title}: of all agents"
    for link in board["links"]:
        if link["url"].removeprefix("/d/") not in UIDS.values():
            yield f"a link to {link['url']}"


def main():
    paths = sorted((ROOT / "deploy/grafana").glob("*.json"))
    found = [f"{path.name}: {fault}" for path in paths for fault in faults(path.name, json.loads(path.read_text()))]
    print("\n".join(found) or f"{len(paths)} dashboards")
    return 1 if found or [path.name for path in paths] != sorted(UIDS) else 0


if __name__ == "__main__":
    sys.exit(main())
