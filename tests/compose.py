"""Reads a Compose file, and says what of it is against the rules of the house."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from tests.commands import parsed, unknown

Service = dict[str, Any]

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")
#: Variables that containers hand to themselves, or to `--from-env`.
_CARRIED = {"PARALLAX_API_KEY"}
#: The image of these has no other user.
AS_ROOT = {"llama"}


class Unset(Exception):
    """A variable that must be set is not."""


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """Put variables into a text as Compose does; raises Unset."""

    def value(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        if name is None:
            return "$"
        if environment.get(name):
            return environment[name]
        if operator != "-":
            raise Unset(name)
        return str(default)

    return _VARIABLE.sub(value, text)


def settings(path: Path) -> dict[str, str]:
    """Read a file of NAME=VALUE lines."""
    lines = [line for line in path.read_text("utf-8").splitlines() if re.match(r"\w+=", line)]
    return dict(line.split("=", 1) for line in lines)


def services(path: Path, environment: Mapping[str, str]) -> dict[str, Service]:
    """Return the services of a file."""
    return dict(yaml.safe_load(interpolated(path.read_text("utf-8"), environment))["services"])


def mentioned(path: Path) -> set[str]:
    """Return the variables that a file asks for."""
    return {found[1] for found in _VARIABLE.finditer(path.read_text("utf-8")) if found[1]}


def faults(root: Path, found: Mapping[str, Service]) -> list[str]:
    """Return what is wrong, one sentence each."""
    return [
        f"{name}: {fault}"
        for name, service in found.items()
        for rule in RULES
        for fault in rule(root, name, service)
    ]


def _image(_: Path, name: str, service: Service) -> Iterator[str]:
    tag = service.get("image", "").rpartition("/")[2].partition(":")[2]
    if not re.search(r"\d", tag) or tag == "latest":
        yield f"the image {service.get('image')!r} is not pinned to a version"


def _confined(_: Path, name: str, service: Service) -> Iterator[str]:
    if service.get("read_only") is not True:
        yield "its root can be written to"
    if service.get("cap_drop") != ["ALL"]:
        yield "it keeps capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "it may gain privileges"
    user = str(service.get("user", "" if _ours(service) else "0")).partition(":")[0]
    if user in ("0", "root") and name not in AS_ROOT:
        yield "it runs as root"
    if service.get("privileged") or service.get("network_mode") == "host":
        yield "it shares the machine"
    if any("docker.sock" in str(volume) for volume in service.get("volumes", [])):
        yield "it rules the engine"


def _limited(_: Path, name: str, service: Service) -> Iterator[str]:
    if "memory" not in service.get("deploy", {}).get("resources", {}).get("limits", {}):
        yield "its memory has no limit"
    if "restart" not in service:
        yield "nothing is said of restarts"
    if "container_name" in service:
        yield "a name for the container: there can be only one"


def _ports(_: Path, name: str, service: Service) -> Iterator[str]:
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"the port {port} is open to others"


def _mounts(root: Path, name: str, service: Service) -> Iterator[str]:
    for volume in service.get("volumes", []):
        source = str(volume).partition(":")[0]
        if source.startswith((".", "/")) and not (root / source).exists():
            yield f"there is no {source}"
        if source.startswith((".", "/")) and not str(volume).endswith(":ro"):
            yield f"{source} can be written to"


def _health(_: Path, name: str, service: Service) -> Iterator[str]:
    if service["restart"] == "unless-stopped" and "test" not in service.get("healthcheck", {}):
        yield "nobody asks how it is"


def _command(_: Path, name: str, service: Service) -> Iterator[str]:
    if not _ours(service):
        return
    given = {key: str(value) for key, value in service.get("environment", {}).items()}
    yield from (f"nobody reads {key}" for key in unknown(sorted(set(given) - _CARRIED)))
    try:
        context = parsed(service["command"], {k: v for k, v in given.items() if v})
    except click.UsageError as error:
        yield f"{' '.join(service['command'])}: {error.format_message()}"
        return
    drain = context.params.get("drain_s")
    patience = float(str(service.get("stop_grace_period", "10s")).removesuffix("s"))
    if drain is not None and patience <= drain:
        yield f"killed after {patience:g} s, while it may drain for {drain:g} s"
    port = context.params.get("metrics_port")
    if port is not None and context.params.get("metrics_host") != "0.0.0.0":  # noqa: S104
        yield "its metrics cannot be reached from other containers"


def _ours(service: Service) -> bool:
    return str(service.get("image", "")).startswith("parallax:")


RULES: tuple[Callable[[Path, str, Service], Iterator[str]], ...] = (
    _image, _confined, _limited, _ports, _mounts, _health, _command,
)  # fmt: skip
