"""Trace formats by name: registering, finding and listing them.

A format is a file below `parallax/sim/traces/formats/` with a reader that is registered under its
name. The columns by which a file of that format is known are given with it. Registering it is all
that is needed: the command line, the docs and the tests iterate over the registry.

    @FORMATS.register("azure", ("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    def read(path: Path, prefix: str, most: int) -> Iterator[Timed]: ...

Other distributions bring formats, too: each module that they name as an entry point of the group
`parallax.traces` is imported as if it stood here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from parallax.core.errors import InvalidInput
from parallax.core.extensions import Extensions
from parallax.core.suggest import among
from parallax.sim.timed import Timed

#: Yields the jobs of a file in order of time. It is given the file, the start of the jobs' ids, and
#: the length that all jobs promise alike; it raises InvalidInput naming file, line and column.
Reader = Callable[[Path, str, int], Iterator[Timed]]
R = TypeVar("R", bound=Reader)


@dataclass(frozen=True, slots=True)
class Format:
    """A registered format."""

    name: str
    columns: tuple[str, ...]  # a file that has them is of this format
    read: Reader

    @property
    def summary(self) -> str:
        """Return the first line of the docstring of the module that has the reader."""
        lines = (sys.modules[self.read.__module__].__doc__ or "").strip().splitlines()
        return lines[0].rstrip(":.") if lines else ""


@dataclass(slots=True)
class Formats:
    """The formats by name."""

    _known: dict[str, Format] = field(default_factory=dict)

    def register(self, name: str, columns: tuple[str, ...]) -> Callable[[R], R]:
        """Return a decorator that makes a reader known under `name`."""

        def add(reader: R) -> R:
            known = self._known.setdefault(name, Format(name, columns, reader))
            if known.read.__module__ != reader.__module__:
                raise ValueError(f"two trace formats are called {name!r}")
            return reader

        return add

    def __iter__(self) -> Iterator[str]:
        EXTENSIONS.discover()
        return iter(sorted(self._known))

    def __len__(self) -> int:
        EXTENSIONS.discover()
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        EXTENSIONS.discover()
        return name in self._known

    def __getitem__(self, name: str) -> Format:
        if name not in self:
            allowed = "; ".join([among(name, list(self)), *EXTENSIONS.broken()])
            raise InvalidInput("format", name, allowed)
        return self._known[name]

    def source(self, name: str) -> str:
        """Return the distribution that a format comes from."""
        return EXTENSIONS.source(self[name].read.__module__)

    def by_columns(self) -> list[Format]:
        """Return all formats, those with the most columns first: they are the most telling."""
        return sorted((self[name] for name in self), key=lambda one: (-len(one.columns), one.name))


FORMATS = Formats()
EXTENSIONS = Extensions("parallax.sim.traces.formats", "parallax.traces", lambda: [FORMATS._known])
