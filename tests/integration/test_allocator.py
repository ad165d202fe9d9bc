"""Which allocator the embedded server runs with: one that works, unless somebody has decided."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parallax.broker.server import allocator as module
from parallax.broker.server.allocator import KEPT, PRELOAD, TUNABLES, allocator_of
from parallax.broker.server.binary import find_binary
from parallax.broker.server.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libraries are loaded so on Linux")

Program = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRELOAD, raising=False)
    monkeypatch.delenv(TUNABLES, raising=False)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return a function that makes a server which runs these lines when asked for its version."""

    def made(lines: str) -> Path:
        path = tmp_path / "server"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return path

    return made


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one library that is installed. It need not be one: only the server must not mind."""
    path = tmp_path / "libjemalloc.so.2"
    monkeypatch.setattr(module, "_installed", lambda: [path])
    return path


def test_what_a_server_was_built_with_is_left_alone(program: Program, library: Path) -> None:
    found = allocator_of(program("echo v=7.2.4 malloc=jemalloc-5.3.0 bits=64"))
    assert (found.name, dict(found.variables)) == ("its own jemalloc-5.3.0", {})


def test_a_library_that_the_server_cannot_load_is_passed_over(
    program: Program, library: Path
) -> None:
    found = allocator_of(program("echo v=9.1.2 malloc=libc"))  # the loader complains: no such file
    assert dict(found.variables) == {TUNABLES: KEPT}


def test_a_library_that_ends_the_server_is_passed_over(program: Program, library: Path) -> None:
    found = allocator_of(program(f'[ -z "${PRELOAD}" ] && echo v=9.1.2 malloc=libc'))
    assert dict(found.variables) == {TUNABLES: KEPT}


def test_where_none_is_installed_the_c_library_keeps_more(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_installed", list)
    found = allocator_of(program("echo v=9.1.2 malloc=libc"))
    assert "libjemalloc.so.2" in found.name
    assert dict(found.variables) == {TUNABLES: KEPT}


def test_a_server_that_does_not_tell_is_not_meddled_with_beyond_that(
    program: Program, library: Path
) -> None:
    assert PRELOAD not in allocator_of(program("exit 1")).variables


@pytest.mark.parametrize("value", ["", "/somewhere/libmine.so"])
def test_whoever_sets_the_variable_has_chosen(
    program: Program, library: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(PRELOAD, value)
    assert not allocator_of(program("echo v=9.1.2 malloc=libc")).variables


def test_tunables_of_the_user_are_kept(
    program: Program, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TUNABLES, "glibc.malloc.arena_max=1")
    assert not allocator_of(program("echo v=9.1.2 malloc=libc")).variables


def test_the_server_runs_with_the_library_that_was_found(
    make: Callable[..., EmbeddedServer],
) -> None:
    server = make()
    loaded = Path(f"/proc/{server.start().pid}/maps").read_text()
    assert allocator_of(find_binary()[0]).variables.get(PRELOAD, "") in loaded
