"""The Lua scripts as values: text, digest, and how to invoke them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """One script; its file says what KEYS, ARGV and REPLY are."""

    name: str
    text: str
    digest: str

    def invocation(self, keys: Sequence[str], args: Sequence[Argument]) -> list[Argument]:
        """Return the command that runs it."""
        return ["EVALSHA", self.digest, len(keys), *keys, *args]


@cache
def script(name: str) -> Script:
    """Return the script of that name, with the common part put before it."""
    folder = files("parallax.broker") / "lua"
    text = (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    """Return the names of all scripts."""
    folder = files("parallax.broker") / "lua"
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua") and entry.name != "common.lua"
    )
