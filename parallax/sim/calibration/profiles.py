"""The file form of a profile: TOML or JSON with the fields of `Profile` and of its cost.

    name = "my-engine"
    kv_capacity = 65536
    max_seqs = 8

    [cost]
    base_ms = 11.3
    ...

A table `fit` may say what it rests on; nothing reads that.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from parallax.core.errors import InvalidInput, InvalidSettings
from parallax.core.model import check_name
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import PROFILES, Profile

#: Endings of files that hold a profile.
ENDINGS = (".toml", ".json")
#: The table that says how a profile was found.
FIT = "fit"
#: Types are read off an example: of compiled classes the annotations do not tell them.
_EXAMPLE = PROFILES["laptop"]
_WORDS: Mapping[type[Any], str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text",
}  # fmt: skip


def known_profile(option: str, text: str) -> Profile:
    """Return the profile of that name, or that a file holds; raises InvalidInput."""
    if text in PROFILES:
        return PROFILES[text]
    if not text.endswith(ENDINGS):
        told = f"known: {', '.join(PROFILES)}; or a file (.toml, .json) of `parallax calibrate`"
        raise InvalidInput(option, text, told)
    return profile_of(_document(option, Path(text)), text)


def _document(option: str, path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(option, str(path), f"must be readable ({error})") from None


def profile_of(document: object, where: str) -> Profile:
    """Return the profile that a document describes; raises InvalidSettings naming the key."""
    values = _values(_EXAMPLE, document, where, (FIT,))
    if not isinstance(values.pop(FIT, {}), Mapping):
        raise InvalidSettings(f"{where}: {FIT}", "...", "a table of what the profile rests on")
    cost = _values(_EXAMPLE.cost, values.pop("cost"), f"{where}: cost", ())
    try:
        check_name("name", values["name"])
        return Profile(cost=StepCost(**cost), **values)
    except InvalidInput as error:
        raise InvalidSettings(f"{where}: {error.field}", error.value, error.allowed) from None


def _values(
    example: Profile | StepCost, document: object, where: str, besides: tuple[str, ...]
) -> dict[str, Any]:
    """Return a table's values by the fields that an example has, each of the example's type."""
    if not isinstance(document, Mapping):
        raise InvalidSettings(where, document, "a table of settings")
    known = {field.name: field for field in fields(example)}
    for key in document:
        if key not in known and key not in besides:
            raise InvalidSettings(where, key, f"known: {', '.join((*known, *besides))}")
    for name, field in known.items():
        if name not in document and field.default is MISSING:
            raise InvalidSettings(f"{where}: {name}", None, "it must be given")
    return {
        key: value if key in besides else _typed(getattr(example, key), value, f"{where}: {key}")
        for key, value in document.items()
    }


def _typed(example: object, value: object, where: str) -> object:
    """Check a value against the type of an example; a whole number is a number, too."""
    wanted = type(example)
    if wanted is float and type(value) is int:
        return float(value)
    if wanted in _WORDS and type(value) is not wanted:
        raise InvalidSettings(where, value, f"must be {_WORDS[wanted]}")
    return value


def document_of(profile: Profile, fit: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return a profile as values of JSON or TOML; `fit` says what it rests on."""
    return {**asdict(profile), **({FIT: dict(fit)} if fit else {})}


def toml_text(document: Mapping[str, object]) -> str:
    """Write tables of numbers, texts and truths as TOML."""
    return "\n".join(_lines(document, "")) + "\n"


def _lines(table: Mapping[str, object], where: str) -> list[str]:
    plain = {key: value for key, value in table.items() if isinstance(value, str | int | float)}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            name = f"{where}.{key}" if where else key
            lines += ["", f"[{name}]", *_lines(value, name)]
    return lines
