"""Which memory allocator the embedded server runs with: a fast one where the machine has one.

A batch of jobs is thousands of small strings that come and go at once. The packaged server brings
no allocator of its own, and that of the C library spends a quarter of the server's time on them:
jemalloc and mimalloc do not. Where one of them is installed it is loaded before the server
(`LD_PRELOAD`); elsewhere glibc is told to keep more freed pieces at hand. None of it is needed, and
nothing is ever installed. A user that sets `LD_PRELOAD`, be it to nothing, has chosen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PRELOAD, TUNABLES = "LD_PRELOAD", "GLIBC_TUNABLES"

#: Where the machine's package manager, or its owner, puts libraries. Nobody else may write there.
FOLDERS = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib")
LIBRARIES = ("libjemalloc.so.2", "libmimalloc.so.3", "libmimalloc.so.2")

#: Freed pieces of each small size (up to 1 kB) that a thread keeps at hand; 7 is usual. It is their
#: number that counts: a batch of 200 jobs frees as many. They are used again, by nobody else.
KEPT = "glibc.malloc.tcache_count=8000"


@dataclass(frozen=True, slots=True)
class Allocator:
    """An allocator's name for people, and the environment that the server needs for it."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)


def allocator_of(binary: Path) -> Allocator:
    """Return what this server is to be started with."""
    if PRELOAD in os.environ:
        return Allocator(f"what {PRELOAD} says")
    return _found(binary) if sys.platform == "linux" else Allocator("the system's")


@cache
def _found(binary: Path) -> Allocator:
    own = _built_with(binary, {})
    if own not in {None, "libc"}:
        return Allocator(f"its own {own}")
    for library in _installed():
        variables = {PRELOAD: str(library)}
        if _built_with(binary, variables) is not None:
            return Allocator(str(library), variables)
    if TUNABLES in os.environ:
        return Allocator(f"the C library's, with what {TUNABLES} says")
    return Allocator("the C library's; libjemalloc.so.2 would be faster", {TUNABLES: KEPT})


def _installed() -> list[Path]:
    root = Path("/")
    return [
        library
        for name in LIBRARIES
        for folder in FOLDERS
        for library in sorted(root.glob(f"{folder.removeprefix('/')}/{name}"))
    ]


def _built_with(binary: Path, variables: Mapping[str, str]) -> str | None:
    """Return the allocator that a server says it was built with; None if it does not run so.

    A library for another machine or another C library is passed over with a complaint, or ends it.
    """
    try:
        answer = subprocess.run(  # noqa: S603 - a server binary asked for its version
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True,
            env={**os.environ, **variables},
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if PRELOAD in variables and answer.stderr:
        return None
    match = re.search(r"\bmalloc=(\S+)", answer.stdout)
    return match.group(1) if match else None
