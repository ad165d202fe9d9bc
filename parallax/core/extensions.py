"""Modules that register something under a name: our own, and those of other distributions.

Policies, engines and trace formats are found alike: every module of one package is imported, then
each module that an installed distribution names as an entry point of a group. What another
distribution gets wrong stops nobody: `broken` tells of it.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

#: The distribution that the modules of this package come from.
OWN = "parallax-lb"


@dataclass(slots=True)
class Extensions:
    """The modules that fill some tables."""

    package: str  # whose modules are imported first
    group: str  # of entry points
    tables: Callable[[], Sequence[dict[str, Any]]]  # what the modules fill when they are imported
    _broken: list[str] = field(default_factory=list)
    _sources: dict[str, str] = field(default_factory=dict)  # foreign module -> its distribution
    _discovered: bool = False

    def discover(self) -> None:
        """Import every module once."""
        if self._discovered:
            return
        # Threads may get here together: imports wait for each other, so none sees half a table.
        package = importlib.import_module(self.package)
        for module in list(pkgutil.walk_packages(package.__path__, f"{self.package}.")):
            importlib.import_module(module.name)
        if self._discovered:
            return  # type: ignore[unreachable]  # another thread was faster
        self._discovered = True
        for point in sorted(entry_points(group=self.group), key=lambda one: (one.name, one.value)):
            self._adopt(point)

    def broken(self) -> list[str]:
        """Return a sentence for each foreign module that could not be imported."""
        self.discover()
        return list(self._broken)

    def source(self, module: str) -> str:
        """Return the distribution that a module comes from."""
        return self._sources.get(module, OWN)

    def _adopt(self, point: EntryPoint) -> None:
        """Import a module of another distribution, which registers its extensions."""
        before, origin = set(sys.modules), point.dist.name if point.dist else "unknown"
        known = [(table, dict(table)) for table in self.tables()]
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - foreign code may raise anything
            for table, entries in known:  # half a module is none
                table.clear()
                table.update(entries)
            self._broken.append(f"{point.value} of {origin} cannot be used ({error!r:.200})")
            return
        for module in {point.module, *(set(sys.modules) - before)}:
            self._sources[module] = origin
