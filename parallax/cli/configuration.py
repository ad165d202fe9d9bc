"""Settings from the environment and from `parallax.toml`, under the names that options have.

`--prompt-tokens` of `parallax submit` is `PARALLAX_SUBMIT_PROMPT_TOKENS` in the environment, and
`prompt-tokens` (or `prompt_tokens`) in the table `[submit]` of the file. Order of precedence: flag,
environment, file, built-in default. Keys that no option reads are refused.

Kubernetes puts variables of its own into the environment: beside a service called
`parallax-worker-metrics` every container finds `PARALLAX_WORKER_METRICS_PORT=tcp://10.96.3.7:9101`.
Such an address is never what a number is set to, and is not taken for it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from parallax.core.errors import InvalidSettings

#: Settings that may stand above the tables of the file: they hold for every command.
SHARED = ("redis", "cell", "cells", "home")

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+")


def read(path: Path) -> dict[str, Any]:
    """Return what the file says; raises InvalidSettings."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(str(path), str(error), "must be a readable TOML file") from None


def check(
    path: Path,
    settings: Mapping[str, Any],
    commands: Iterable[str],
    load: Callable[[str], click.Command],
) -> None:
    """Refuse what nobody would read. Only the commands that the file names are loaded."""
    known = list(commands)
    for key, value in settings.items():
        if isinstance(value, dict):
            if key not in known:
                raise InvalidSettings(str(path), key, f"known tables: {', '.join(known)}")
            defaults(load(key), value, {}, f"{path} [{key}]")
        elif key not in SHARED:
            raise InvalidSettings(str(path), key, f"known: {', '.join(SHARED)} and tables")


def shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that hold for every command."""
    return {k: v for k, v in settings.items() if k in SHARED and not isinstance(v, dict)}


def table(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the table of a command (`cells` may be a setting, and is a command too)."""
    found = settings.get(name, {})
    return found if isinstance(found, dict) else {}


def defaults(
    command: click.Command, table: Mapping[str, Any], common: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return click's `default_map` for a command; raises InvalidSettings for an unknown key."""
    children = command.commands if isinstance(command, click.Group) else {}
    options = _options(command)
    for key in table:
        if _plain(key) not in options and key not in children:
            raise InvalidSettings(where, key, f"known: {', '.join([*options, *children])}")
    values: dict[str, Any] = {
        options[_plain(key)]: value
        for key, value in {**common, **table}.items()
        if _plain(key) in options
    }
    for name, child in children.items():
        values[name] = defaults(child, table.get(name, {}), common, f"{where} [{name}]")
    return values


def name_variables(command: click.Command, prefix: str) -> None:
    """Let the environment set every option of a command, under the option's own name."""
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or not _names(parameter):
            continue
        own = f"{prefix}_{_names(parameter)[0].upper()}"
        if parameter.envvar in (None, own):  # both: the environment may have changed since
            linked = _is_number(parameter) and _SERVICE_LINK.fullmatch(os.environ.get(own, ""))
            parameter.envvar = None if linked else own
    for name, child in getattr(command, "commands", {}).items():
        name_variables(child, f"{prefix}_{name.upper()}")


def _is_number(option: click.Option) -> bool:
    return isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)


def _options(command: click.Command) -> dict[str, str]:
    """Return the name of each option as people write it -> the name click knows it by."""
    return {
        name: parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name
        for name in _names(parameter)[:1]
    }


def _names(option: click.Option) -> list[str]:
    return [_plain(name) for name in option.opts if name.startswith("--")]


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_")
