"""The layers hold: imports point downwards, pure layers stay pure, files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 400

#: Each level may import those above it in this table, which are lower; its own siblings it may not.
_ORDER: tuple[tuple[str, ...], ...] = (
    ("parallax.core",),
    ("parallax.policies", "parallax.engine"),
    ("parallax.scheduling",),
    ("parallax.broker", "parallax.sim", "parallax.telemetry"),
    ("parallax.services",),
    ("parallax.producers", "parallax.consumers"),
    ("parallax.cli",),
    # The commands of producers and consumers stand beside what they start; they are command line.
    ("parallax.producers.cli", "parallax.consumers.cli"),
    ("parallax.drills", "parallax.lab", "parallax.dashboard"),
    ("ops",),
)
#: A room of a package -> its sister rooms that it may import.
_ROOMS: dict[str, set[str]] = {
    "parallax.producers.client": set(),
    "parallax.producers.load": {"parallax.producers.client"},
    "parallax.producers.gateway": {"parallax.producers.client"},
}


def _below() -> dict[str, set[str]]:
    """Return, for each package and room, what it may import besides itself."""
    below: dict[str, set[str]] = {}
    lower: set[str] = set()
    for level in _ORDER:
        below |= dict.fromkeys(level, lower)
        rooms = {room for room in _ROOMS if room.rpartition(".")[0] in level}
        below |= {room: lower | _ROOMS[room] for room in rooms}
        lower = lower | set(level) | rooms
    return below


#: Package or room -> those it may import besides itself. A module belongs to the longest that fits.
BELOW = _below()
PURE = (
    "parallax.core", "parallax.policies", "parallax.engine", "parallax.scheduling", "parallax.sim",
)  # fmt: skip
#: Modules of other packages that decide without I/O.
PURE_MODULES = {
    f"parallax.consumers.{name}"
    for name in ("actions", "desk", "news", "outgoing", "retries", "running")
}
IMPURE = {
    "redis", "hiredis", "rq", "prometheus_client", "click", "rich", "time", "os", "socket",
    "asyncio", "threading", "subprocess", "logging", "msgspec",
}  # fmt: skip
#: A foreign package -> the only place that may import it.
AT_ONE_DOOR: dict[str, str | tuple[str, ...]] = {
    "redis": ("parallax.broker", "ops.bench.peers"),
    "hiredis": ("parallax.broker", "ops.bench.limit"),
    "rq": ("parallax.services.jobs", "ops.bench.peers"),
    "prometheus_client": ("parallax.telemetry", "parallax.services.exporter"),
    "opentelemetry": "parallax.telemetry.tracing",
}

#: Rooms beside the package that it has links to.
LINKED = ("producers", "consumers")

MODULES = sorted(
    path for top in ("parallax", *LINKED, "ops") for path in (ROOT / top).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] in LINKED:
        parts = ("parallax", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str | None:
    return max((p for p in BELOW if f"{module}.".startswith(f"{p}.")), key=len, default=None)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def reachable(package: str, other: str) -> bool:
    return other == package or other in BELOW[package]


def violations(module: str, imported: set[str]) -> list[str]:
    """Return what a module imports against the rules."""
    package = package_of(module)
    wrong = []
    for name in sorted(imported):
        other = package_of(name)
        if other and package and not reachable(package, other):
            wrong.append(f"{module} must not import {name}: it is above or beside")
        top = name.partition(".")[0]
        if (package in PURE or module in PURE_MODULES) and top in IMPURE:
            wrong.append(f"{module} is pure and must not import {name}")
        door = AT_ONE_DOOR.get(top)
        if door and not f"{module}.".startswith(door):
            wrong.append(f"only {door} may import {top}, not {module}")
    return wrong


def test_imports_point_downwards_and_pure_layers_stay_pure() -> None:
    assert [wrong for path in MODULES for wrong in violations(name_of(path), imports(path))] == []


def too_long(paths: Iterable[Path]) -> list[str]:
    """Return the files with more lines than one duty needs."""
    return [str(path) for path in paths if path.read_text().count("\n") > MAX_LINES]


def test_files_have_one_duty() -> None:
    assert too_long([*MODULES, *TESTS]) == []


def test_a_planted_long_file_is_found(tmp_path: Path) -> None:
    for name, lines in ("long.py", MAX_LINES + 1), ("short.py", MAX_LINES):
        (tmp_path / name).write_text("\n" * lines)
    assert too_long(tmp_path.iterdir()) == [str(tmp_path / "long.py")]


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("parallax.core.model", "parallax.broker.store.keys"),
        ("parallax.policies.routing.x", "time"),
        ("parallax.scheduling.scheduler", "parallax.services.clock"),
        ("parallax.services.scheduler", "redis"),
        ("parallax.telemetry.scheduling", "parallax.broker.store.codec"),
        ("parallax.consumers.worker", "parallax.producers.client.client"),
        ("parallax.consumers.desk", "asyncio"),
        ("parallax.consumers.worker", "parallax.consumers.cli"),
        ("parallax.producers.client.client", "parallax.producers.load.live"),
        ("parallax.producers.gateway.app", "parallax.producers.load.live"),
        ("parallax.producers.load.live", "parallax.producers.cli.load"),
        ("parallax.producers.load.live", "parallax.cli.output"),
        ("parallax.producers.cli.load", "parallax.consumers.cli"),
        ("parallax.cli.main", "parallax.producers.cli.load"),
        ("parallax.cli.top", "parallax.dashboard.app"),
        ("parallax.dashboard.app", "parallax.lab.cli"),
    ],
)
def test_planted_violations_are_found(module: str, imported: str) -> None:
    assert violations(module, {imported})


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("parallax.broker.store.intake", "parallax.broker.link.call"),
        ("parallax.producers.load.live", "parallax.producers.client.client"),
        ("parallax.producers.cli.load", "parallax.producers.load.live"),
        ("parallax.producers.cli.load", "parallax.cli.output"),
        ("parallax.cli.where", "parallax.producers.client.client"),
        ("parallax.drills.drill", "parallax.consumers.worker"),
    ],
)
def test_what_points_downwards_is_allowed(module: str, imported: str) -> None:
    assert violations(module, {imported}) == []
