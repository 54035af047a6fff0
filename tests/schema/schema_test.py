#!/usr/bin/env python3
"""The JSON Schema of policies and the loader accept the same files, and refuse the same.

usage: schema_test.py LOAD_EACH   (the program made from load_each.cc)

Where a schema cannot know what the loader knows, the loader's message must be one of BEYOND.

An editor reads numbers and truths as its YAML version says, so that 0443 may be 291 there and `off` a
text. Here a plain word is what the loader takes it for: a decimal number without leading zeros, true,
one of the words that YAML 1.1 reads as false, or nothing; all else is a text. What that hides the
loader refuses by itself.
"""
import collections
import json
import pathlib
import re
import subprocess
import sys
import unittest

import jsonschema
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCHEMA = json.loads((ROOT / "allowlists/schema.json").read_text(encoding="utf-8"))
LOAD_EACH = None

BEYOND = [re.compile(pattern) for pattern in (
    r"'.*' (allows|denies) (a whole top-level domain|every name under a public suffix)$",
    r"'.*' is no host: the name is not valid in IDNA2008",
    r"'host.sluice.internal' is this machine's loopback",
    r"'.*' has bits set behind its first ",
    r"'.*' touches .*, from which sluice answers DNS$",
    r"'.*::.*' is no range of addresses$",
    r"'.*' is no regex: ",
    r"'.*' is too large a regex ",
    r"'(connects|upload|download|bandwidth)' is '[0-9]+(B|[KMGT](iB)?)?/(s|m|h|minute|hour|day)'$",
    r"'(memory|swap|/[^']*)' is '[0-9]+(B|[KMGT](iB)?)'$",
    r"'/.*:[0-9]+(B|[KMGT](iB)?)' is no path with a size or without$",
    r"'cpus' is '[0-9]+(\.[0-9]{1,3})?'$",
    r"'timeout' is '[0-9]+(ms|s|m|h|d)'$",
    r"'.*' stands here twice$",
    r"there is no group '",
    r"no agent uses 'group:",
    r"key '.*' stands here twice, ",
    r"(agent|group) '.*' (has an entry|is there) already, ",
    r"'.*' and '.*' \(.*\) fit the same agents equally well$",
    r"'(public_suffix|require_landlock)' is '(off|Off|OFF|False|FALSE|no|No|NO|n|N)'$",
    r"tag '.*' has no meaning here$",
)]

# Texts that YAML reads as true, false or a number: the loader takes them, an editor asks for quotes.
WANTS_QUOTES = {"host": ["true", "no"], "host_regex": ["true", "7"]}

# Where a value of values.yaml is put; each is a good policy with a good value.
PLACES = {
    "host": "{version: 1, agents: {a: {allow: [{host: %s}]}}}",
    "host_regex": "{version: 1, agents: {a: {deny: [{host_regex: %s}]}}}",
    "cidr": "{version: 1, agents: {a: {allow: [{cidr: %s, ports: [22]}]}}}",
    "any": "{version: 1, never: [{any: %s}]}",
    "public_suffix": '{version: 1, agents: {a: {allow: [{host: ".example.com", public_suffix: %s}]}}}',
    "ports": "{version: 1, agents: {a: {allow: [{host: a.example.com, ports: %s}]}}}",
    "tls": "{version: 1, agents: {a: {allow: [{host: a.example.com, tls: %s}]}}}",
    "ech": "{version: 1, agents: {a: {allow: [{host: a.example.com, ech: %s}]}}}",
    "why": "{version: 1, never: [{host: a.example.com, why: %s}]}",
    "mode": "{version: 1, agents: {a: {mode: %s}}}",
    "use": "{version: 1, agents: {a: {use: %s}}}",
    "connections": "{version: 1, agents: {a: {limits: {connections: %s}}}}",
    "connects": "{version: 1, agents: {a: {limits: {connects: %s}}}}",
    "upload": "{version: 1, agents: {a: {limits: {upload: %s}}}}",
    "bandwidth": "{version: 1, agents: {a: {limits: {bandwidth: %s}}}}",
    "memory": "{version: 1, agents: {a: {sandbox: {memory: %s}}}}",
    "swap": "{version: 1, agents: {a: {sandbox: {memory: 1GiB, swap: %s}}}}",
    "cpus": "{version: 1, agents: {a: {sandbox: {cpus: %s}}}}",
    "io_weight": "{version: 1, agents: {a: {sandbox: {io_weight: %s}}}}",
    "pids": "{version: 1, agents: {a: {sandbox: {pids: %s}}}}",
    "timeout": "{version: 1, agents: {a: {sandbox: {timeout: %s}}}}",
    "tmpfs": "{version: 1, agents: {a: {sandbox: {tmpfs: %s}}}}",
    "seed": "{version: 1, agents: {a: {sandbox: {seed: %s}}}}",
    "mask": "{version: 1, agents: {a: {sandbox: {mask: %s}}}}",
    "protect": "{version: 1, agents: {a: {sandbox: {protect: %s}}}}",
    "require_landlock": "{version: 1, agents: {a: {sandbox: {require_landlock: %s}}}}",
    "agent": "{version: 1, agents: {%s: {}}}",
    "group": "{version: 1, groups: {%s: [{host: a.example.com}]}, agents: {a: {use: [group:%s]}}}",
}


class Reader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}


Reader.add_implicit_resolver("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Reader.add_implicit_resolver("true", re.compile(r"^true$"), ["t"])
Reader.add_implicit_resolver(
    "false", re.compile(r"^(?:off|Off|OFF|false|False|FALSE|no|No|NO|n|N)$"), list("oOfFnN"))
Reader.add_implicit_resolver("int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))


class NotJson(Exception):
    """A value that no JSON text stands for, as a key that is a list."""


def value_of(node):
    if isinstance(node, yaml.SequenceNode):
        return [value_of(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key_of(key): value_of(value) for key, value in node.value}
    special = {"null": None, "true": True, "false": False}
    return int(node.value) if node.tag == "int" else special.get(node.tag, node.value)


def key_of(node):
    if not isinstance(node, yaml.ScalarNode) or node.tag == "null":
        raise NotJson
    return node.value


def in_python(schema):
    """Python's $ also stands before a last line break; that of JSON Schema (ECMA-262) does not."""
    if isinstance(schema, list):
        return [in_python(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ended = lambda pattern: pattern.replace("$", r"\Z")
    found = {key: in_python(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        found["pattern"] = ended(schema["pattern"])
    if "patternProperties" in schema:
        found["patternProperties"] = {
            ended(key): value for key, value in found["patternProperties"].items()}
    return found


VALIDATOR = jsonschema.Draft7Validator(in_python(SCHEMA))


def node_of(text):
    return yaml.compose(text, Loader=Reader)


def schema_accepts(text):
    try:
        return VALIDATOR.is_valid(value_of(node_of(text)))
    except (yaml.YAMLError, NotJson, AttributeError):
        return False


def loader_errors(texts):
    """For each text the sentences of the loader, in one run of it."""
    run = subprocess.run([LOAD_EACH], input="".join(json.dumps(text) + "\n" for text in texts),
                         capture_output=True, text=True, timeout=60, check=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(texts), run.stderr
    return answers


def is_beyond(errors):
    return bool(errors) and all(any(kind.match(error) for kind in BEYOND) for error in errors)


def flow(node):
    """A node on one line; words that need care are quoted, which changes none of those used here."""
    if isinstance(node, yaml.SequenceNode):
        return "[" + ", ".join(flow(item) for item in node.value) + "]"
    if isinstance(node, yaml.MappingNode):
        return "{" + ", ".join(f"{flow(key)}: {flow(value)}" for key, value in node.value) + "}"
    if node.style is None and (node.tag == "null" or re.fullmatch(r"[\w./-]+", node.value)):
        return node.value or "~"
    return json.dumps(node.value, ensure_ascii=False)


def scalar(text):
    return yaml.ScalarNode(Reader("").resolve(yaml.ScalarNode, text, (True, False)), text)


def replacements(node):
    quoted = yaml.ScalarNode("tag:yaml.org,2002:str", "text", style='"')
    sequence = lambda *items: yaml.SequenceNode("tag:yaml.org,2002:seq", list(items))
    mapping = lambda *pairs: yaml.MappingNode("tag:yaml.org,2002:map", list(pairs))
    return [scalar("~"), scalar("true"), scalar("off"), scalar("7"), quoted, sequence(), mapping(),
            sequence(node), sequence(scalar("~")), mapping((scalar("host"), node))]


def words():
    found = list(SCHEMA["properties"])
    for definition in SCHEMA["definitions"].values():
        found += [key for key in definition["properties"] if key not in found]
    return found


def edits_of_pair(pairs, index, names):
    key, value = pairs[index]
    yield pairs[:index] + pairs[index + 1:]
    yield pairs + [pairs[index]]
    here = [other.value for other, _ in pairs]
    for name in [name for name in names + [key.value + "x", key.value.upper()] if name not in here]:
        yield pairs[:index] + [(scalar(name), value)] + pairs[index + 1:]
    for other in replacements(value):
        yield pairs[:index] + [(key, other)] + pairs[index + 1:]


def edits_of_item(items, index):
    yield items[:index] + items[index + 1:]
    yield items + [items[index]]
    for other in replacements(items[index]):
        yield items[:index] + [other] + items[index + 1:]


def containers(node):
    if isinstance(node, yaml.ScalarNode):
        return
    yield node
    for child in node.value:
        yield from containers(child[1] if isinstance(child, tuple) else child)


def mutants(root):
    """The text of the policy after each one structural change."""
    for node in containers(root):
        before = node.value
        for index in range(len(before)):
            edits = (edits_of_pair(before, index, words()) if isinstance(node, yaml.MappingNode)
                     else edits_of_item(before, index))
            for after in edits:
                node.value = list(after)
                yield flow(root)
        node.value = before


def files(folder):
    found = sorted((HERE / folder).glob("*.yaml"))
    assert found, folder
    return {path.name: path.read_text(encoding="utf-8") for path in found}


# Others may have none.
WITH_POLICIES = {"README.md", "docs/agent-networks.md", "docs/from-report-to-enforce.md", "docs/policy.md", "docs/tutorial.md"}


def shipped_policies():
    """Each policy of the README and of the documentation, and each preset as a list of allow rules."""
    found = {}
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    assert WITH_POLICIES <= {str(document.relative_to(ROOT)) for document in documents}
    for document in documents:
        name = str(document.relative_to(ROOT))
        policies = re.findall(r"^```yaml(?: \S+)?\n(version: 1\n.*?)^```$",
                              document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        assert policies or name not in WITH_POLICIES, document
        found |= {f"{name}, policy {number}": text for number, text in enumerate(policies, 1)}
    for path in sorted((ROOT / "allowlists/presets").glob("*.yaml")):
        rules = path.read_text(encoding="utf-8")
        found[path.name] = "version: 1\nagents:\n  a:\n    allow:\n" + re.sub("^", "      ", rules, flags=re.M)
    return found


def value_policies(kind):
    values = yaml.load((HERE / "values.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert set(values) == set(PLACES)
    return {f"{key}: {text}": PLACES[key].replace("%s", text)
            for key, kinds in values.items() for text in kinds.get(kind, [])}


class Schema(unittest.TestCase):
    maxDiff = None

    def verdicts(self, policies):
        errors = loader_errors(list(policies.values()))
        return {name: (schema_accepts(text), error)
                for (name, text), error in zip(policies.items(), errors)}

    def test_is_itself_valid(self):
        jsonschema.Draft7Validator.check_schema(SCHEMA)

    def test_and_the_loader_accept_every_policy_that_is_shipped_and_every_good_one(self):
        policies = {**shipped_policies(), **files("good"), **value_policies("good")}
        wrong = {name: verdict for name, verdict in self.verdicts(policies).items() if verdict != (True, [])}
        self.assertEqual(wrong, {})

    def test_and_the_loader_refuse_every_bad_policy(self):
        policies = {**files("bad"), **value_policies("bad")}
        wrong = {name: verdict for name, verdict in self.verdicts(policies).items()
                 if verdict[0] or not verdict[1]}
        self.assertEqual(wrong, {})

    def test_leaves_to_the_loader_what_only_the_loader_knows(self):
        policies = {**files("beyond"), **value_policies("beyond")}
        seen = collections.Counter()
        for name, (accepted, errors) in self.verdicts(policies).items():
            self.assertTrue(accepted, name)
            self.assertTrue(is_beyond(errors), f"{name}: {errors}")
            seen.update(kind.pattern for kind in BEYOND for error in errors if kind.match(error))
        self.assertEqual([kind.pattern for kind in BEYOND if not seen[kind.pattern]], [])

    def test_asks_for_quotes_where_yaml_reads_something_else_than_a_text(self):
        for key, texts in WANTS_QUOTES.items():
            for text in texts:
                bare, quoted = (PLACES[key].replace("%s", word) for word in (text, f'"{text}"'))
                self.assertEqual(loader_errors([bare]), [[]], bare)
                self.assertFalse(schema_accepts(bare), bare)
                self.assertTrue(key == "host_regex" or schema_accepts(quoted), quoted)

    def test_and_the_loader_agree_on_every_structural_change_of_a_good_policy(self):
        texts = sorted({text for policy in files("good").values() for text in mutants(node_of(policy))})
        texts = texts[::len(texts) // 4000 + 1]
        self.assertGreater(len(texts), 1000)
        refused = 0
        for text, errors in zip(texts, loader_errors(texts)):
            accepted = schema_accepts(text)
            refused += bool(errors)
            if wants_quotes(text):
                continue
            self.assertTrue(accepted or errors, f"refused by the schema alone: {text}")
            self.assertTrue(not accepted or not errors or is_beyond(errors),
                            f"refused by the loader alone: {text}: {errors}")
        self.assertTrue(len(texts) / 10 < refused < len(texts), f"{refused} of {len(texts)}")


def wants_quotes(text):
    return re.search(r"\b(host|host_regex): (true|off|7)\b", text) is not None


if __name__ == "__main__":
    LOAD_EACH = sys.argv.pop(1)
    unittest.main()
