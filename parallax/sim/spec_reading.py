"""Reading a run's spec back from JSON or TOML values: the counterpart of `RunSpec.document`.

Keys that nobody would read are refused, and so is a value of the wrong type. A limit that is left
out, or null, is no limit.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from math import inf
from typing import Any, Union, get_args, get_origin, get_type_hints

from parallax.core.errors import InvalidSettings
from parallax.core.settings import PolicyChoice
from parallax.engine.profiles import Profile
from parallax.sim.calibration.profiles import profile_of
from parallax.sim.spec import RunSpec

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def parse(document: object) -> RunSpec:
    """Return the spec that a document describes; raises InvalidInput naming the key."""
    if isinstance(document, Mapping) and isinstance(document.get("workload"), str):
        document = {**document, "workload": {"path": document["workload"]}}
    spec: RunSpec = _record(RunSpec, document, "")
    for name in ("slo_ttft_s", "slo_tpot_s"):
        _positive(name, getattr(spec, name))
    for index, fault in enumerate(spec.faults):
        _positive(f"faults[{index}].seconds", fault.seconds)
    return spec


def _record(kind: type[Any], document: object, where: str) -> Any:
    """Build a dataclass from a table."""
    if not isinstance(document, Mapping):
        raise InvalidSettings(where or "spec", document, "a table of settings")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in document:
        if key not in fields:
            raise InvalidSettings(where or "spec", key, f"known: {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        path = f"{where}.{name}" if where else name
        if name in document:
            unlimited = document[name] is None and field.default == inf
            values[name] = inf if unlimited else _value(hints[name], document[name], path)
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise InvalidSettings(path, None, "it must be given")
    return kind(**values)


def _value(hint: Any, value: object, where: str) -> Any:
    """Check a value against the type of its field."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        return None if value is None else _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InvalidSettings(where, value, "a list")
        inner = get_args(hint)[0]
        return tuple(_value(inner, part, f"{where}[{n}]") for n, part in enumerate(value))
    if hint is PolicyChoice:
        return _choice(value, where)
    if hint is Profile:
        return profile_of(value, where)
    if dataclasses.is_dataclass(hint):
        return _record(hint, value, where)  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise InvalidSettings(where, value, f"must be {_WORDS[hint]}")
    return value


def _choice(value: object, where: str) -> PolicyChoice:
    """Read a policy: its name, or a table of name and parameters."""
    if isinstance(value, str):
        return PolicyChoice(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise InvalidSettings(where, value, "the name of a policy, or a table with its `name`")
    for key in value:
        if key not in ("name", "parameters"):
            raise InvalidSettings(where, key, "known: name, parameters")
    parameters = value.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise InvalidSettings(f"{where}.parameters", parameters, "a table of settings")
    for key, part in parameters.items():
        if not isinstance(part, int | float | str):
            raise InvalidSettings(f"{where}.parameters.{key}", part, "a number, text or boolean")
    return PolicyChoice(value["name"], dict(parameters))


def _positive(where: str, value: float) -> None:
    if not value > 0:
        raise InvalidSettings(where, value, "a number above 0")
