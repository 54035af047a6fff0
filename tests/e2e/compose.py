"""What podman is told to run what a compose file describes; a key that is not known here is an error.

podman-compose of Debian 12 (1.0.3) knows neither `network_mode` nor fixed addresses.
"""

import os
import re
import resource

import yaml

VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def read(path, variables, beside=()):
    """The file's content with its ${NAME:-DEFAULT} and ${NAME:?WHY} filled in, and what the files `beside` add to its services."""

    def value(found):
        name, kind, more = found.groups()
        if variables.get(name):
            return variables[name]
        if kind != "-":
            raise ValueError(f"{name} is not set: {more}")
        return more

    def content(of):
        with open(of) as file:
            return yaml.safe_load(VARIABLE.sub(value, file.read()))

    whole = content(path)
    for more in beside:
        for name, service in content(more)["services"].items():
            whole["services"][name].update(service)
    return whole


def _networks(service, project):
    if "network_mode" in service:
        return ["--network", service["network_mode"]]
    asked = service["networks"]
    words = []
    for name in asked:
        options = asked[name] if isinstance(asked, dict) else {}
        address = f":ip={options['ipv4_address']}" if "ipv4_address" in options else ""
        words += ["--network", f"{project}_{name}{address}"]
    return words


def _volume(text, folder, project):
    source, rest = text.split(":", 1)
    if source.startswith((".", "/")):
        return ["-v", f"{os.path.normpath(os.path.join(folder, source))}:{rest}"]
    return ["-v", f"{project}_{source}:{rest}"]


def _limits(deploy):
    limits = deploy["resources"]["limits"]
    names = {"cpus": "--cpus", "memory": "--memory"}
    return [word for key, value in limits.items() for word in (names[key], str(value))]


def _ulimits(limits):
    """Where root has no CAP_SYS_RESOURCE no engine can raise a limit, and podman does with those it is told nothing of."""
    words = []
    for key in {"nofile", "nproc", *limits}:
        most = resource.getrlimit(getattr(resource, f"RLIMIT_{key.upper()}"))[1]
        asked = limits.get(key, most)
        if resource.RLIM_INFINITY not in (asked, most):
            asked = min(asked, most)
        words += ["--ulimit", f"{key}={asked}:{asked}"]
    return words


def _security(text, folder):
    key, _, value = text.partition("=")
    if key == "seccomp":
        value = os.path.normpath(os.path.join(folder, value))
    return ["--security-opt", f"{key}={value}" if value else text]


def run_line(service, folder, project):
    """`podman run`'s arguments for one service, without those that name the container."""
    known = {
        "image": lambda value: [],
        "command": lambda value: [],
        "depends_on": lambda value: [],
        "network_mode": lambda value: [],
        "networks": lambda value: [],
        "volumes": lambda value: [w for one in value for w in _volume(one, folder, project)],
        "annotations": lambda value: [w for k, v in value.items() for w in ("--annotation", f"{k}={v}")],
        "environment": lambda value: [w for k, v in value.items() for w in ("--env", f"{k}={v}")],
        "read_only": lambda value: ["--read-only"] if value else [],
        "tmpfs": lambda value: [w for one in value for w in ("--tmpfs", one)],
        "cap_drop": lambda value: [w for one in value for w in ("--cap-drop", one)],
        "security_opt": lambda value: [w for one in value for w in _security(one, folder)],
        "ulimits": _ulimits,
        "user": lambda value: ["--user", value],
        "working_dir": lambda value: ["--workdir", value],
        "dns": lambda value: [w for one in value for w in ("--dns", one)],
        "deploy": _limits,
        "pids_limit": lambda value: ["--pids-limit", str(value)],
        "restart": lambda value: ["--restart", value],
        "stop_grace_period": lambda value: ["--stop-timeout", value.removesuffix("s")],
    }
    words = [word for key, value in service.items() for word in known[key](value)]
    return [*_networks(service, project), *words]


def network_lines(content, project):
    """`podman network create`'s arguments for each network."""
    for name, network in content["networks"].items():
        words = ["network", "create"]
        for key, value in network.items():
            if key == "internal":
                words += ["--internal"] if value else []
            elif key == "ipam":
                for one in value["config"]:
                    words += ["--subnet", one["subnet"]]
            else:
                raise KeyError(key)
        yield [*words, f"{project}_{name}"]


def volume_lines(content, project):
    """`podman volume create`'s arguments for each volume that has options."""
    for name, volume in content["volumes"].items():
        if set(volume) - {"driver_opts"}:
            raise KeyError(name)
        if volume:
            options = [word for key, value in volume["driver_opts"].items() for word in ("--opt", f"{key}={value}")]
            yield ["volume", "create", *options, f"{project}_{name}"]
