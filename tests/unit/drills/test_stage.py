"""The folder of a stage is its own, and is removed even if nobody is left who could."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.broker.server.temporary import remove_abandoned
from parallax.drills.stage import Cast, Stage
from parallax.services.clock import SystemClock


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files, with a short path: sockets must fit."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_a_folder_is_private_and_removed(place: Path) -> None:
    stage = Stage(Cast(), SystemClock())
    assert stage.folder.parent == place
    assert not stat.S_IMODE(stage.folder.stat().st_mode) & 0o077
    remove_abandoned(place)
    assert stage.histories.is_dir()
    stage.close()
    assert not list(place.iterdir())


def test_an_abandoned_one_is_removed_at_a_later_start(place: Path) -> None:
    stage = Stage(Cast(), SystemClock())
    lock = stage._home._lock
    assert lock is not None
    lock.close()  # as a process does that is killed
    remove_abandoned(place)
    assert not list(place.iterdir())
    stage._home._lock = None
    stage.close()


def test_where_paths_are_long_it_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    stage = Stage(Cast(), SystemClock())
    assert stage.folder.parent == Path("/tmp")  # noqa: S108 - where it is
    stage.close()
    assert not stage.folder.exists()
