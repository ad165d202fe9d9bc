"""Reads a Dockerfile: the few instructions that ours needs, each checked, others refused."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = ("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD")


class NotRehearsed(Exception):
    """The Dockerfile says something that the rehearsal does not understand."""


@dataclass(slots=True)
class Stage:
    """One stage: where it begins, and its steps in order, (instruction, rest of the line)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages(path: Path) -> list[Stage]:
    """Return the stages of a Dockerfile; raises NotRehearsed."""
    found: list[Stage] = []
    for number, line in _lines(path.read_text("utf-8")):
        word, _, rest = line.partition(" ")
        if word not in KNOWN:
            raise NotRehearsed(f"{path}:{number}: {word!r}; known: {', '.join(KNOWN)}")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base.strip(), name.strip()))
        elif not found:
            raise NotRehearsed(f"{path}:{number}: {word} before FROM")
        else:
            found[-1].steps.append((word, rest.strip()))
    return found


def _lines(text: str) -> list[tuple[int, str]]:
    """Return (number, line) of all lines but comments; a backslash at the end joins lines."""
    lines: list[tuple[int, str]] = []
    joined = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not joined and (not line.strip() or line.lstrip().startswith("#")):
            continue
        joined += line.removesuffix("\\")
        if not line.endswith("\\"):
            lines.append((number, joined.strip()))
            joined = ""
    return lines


@dataclass(frozen=True, slots=True)
class Copy:
    """A COPY instruction; `stage` is empty if its source is the context."""

    stage: str
    sources: tuple[str, ...]
    target: str


def copied(rest: str) -> Copy:
    """Read a COPY; raises NotRehearsed for flags but `--from`."""
    words = shlex.split(rest)
    stage = ""
    while words and words[0].startswith("--"):
        flag, _, value = words.pop(0).partition("=")
        if flag != "--from":
            raise NotRehearsed(f"COPY {flag}")
        stage = value
    *sources, target = words
    return Copy(stage, tuple(sources), target)


def exec_form(rest: str) -> list[str]:
    """Read `["word", ...]`: a shell between would keep signals from the process."""
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise NotRehearsed(f"{rest}: write a JSON list, so that no shell is process 1")
    return words


def variables(rest: str) -> dict[str, str]:
    """Read `ENV A=b C=d`."""
    pairs = [word.partition("=") for word in shlex.split(rest)]
    if not all(equals for _, equals, _ in pairs):
        raise NotRehearsed(f"ENV {rest}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}
