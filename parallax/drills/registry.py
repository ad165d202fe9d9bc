"""The list of promises: each has a number, words, and a check that says how it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from parallax.drills.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]
INVARIANTS: dict[str, tuple[str, Check]] = {}


def invariant(name: str, says: str) -> Callable[[Check], Check]:
    """Register a check under its name, with the promise in words."""

    def add(check: Check) -> Check:
        INVARIANTS[name] = (says, check)
        return check

    return add


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """Return the broken promises, each with what breaks it; nothing if all were kept."""
    found = {name: list(check(evidence)) for name, (_, check) in INVARIANTS.items()}
    return {name: sentences for name, sentences in found.items() if sentences}


def lines_of(evidence: Evidence, what: str) -> Iterator[dict[str, Any]]:
    """Yield what workers noted under this word."""
    return (line for line in evidence.lines if line.get("what") == what)
