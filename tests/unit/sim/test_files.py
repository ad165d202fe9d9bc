"""Writing where the user said: whole or not at all, and never in place of what is no file."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from parallax.cli.files import write
from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.sim.files import written
from parallax.sim.traces.formats import generic

JOBS = [(0.0, Job("j", "t", 1, 1, output_tokens=1))]


def trace(path: Path) -> None:
    generic.write(path, JOBS)


def page(path: Path) -> None:
    write(path, "prompt_tokens\n")


Writer = Callable[[Path], None]
each_writer = pytest.mark.parametrize("writer", [trace, page])


@each_writer
def test_a_device_stays_a_device(tmp_path: Path, writer: Writer) -> None:
    """Never with the real one: as root it would be gone for all."""
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_text("")
    except PermissionError:
        pytest.skip("making a device needs root, and a file system that has devices")
    writer(device)
    assert stat.S_ISCHR(device.stat().st_mode)
    assert device.stat().st_rdev == os.makedev(1, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


@each_writer
@pytest.mark.timeout(20)
def test_a_pipe_is_written_to(tmp_path: Path, writer: Writer) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    writer(pipe)
    reader.join(10)
    assert "prompt_tokens" in read[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@each_writer
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_link_stays_a_link(tmp_path: Path, writer: Writer, there: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "file"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to(target)
    writer(link)
    assert link.is_symlink()
    assert "prompt_tokens" in target.read_text()
    assert [path.name for path in target.parent.iterdir()] == ["file"]


@each_writer
def test_links_in_a_circle_are_refused(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InvalidInput, match="output"):
        writer(tmp_path / "a")
    assert (tmp_path / "a").is_symlink()


@each_writer
def test_another_name_of_the_file_has_the_same_content(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "one").write_text("old")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    writer(tmp_path / "one")
    assert "prompt_tokens" in (tmp_path / "two").read_text()


@each_writer
def test_standard_output_by_its_name_is_written_to(
    writer: Writer, capfd: pytest.CaptureFixture[str]
) -> None:
    writer(Path("/dev/stdout"))
    assert "prompt_tokens" in capfd.readouterr().out


@each_writer
def test_a_regular_file_keeps_its_mode(tmp_path: Path, writer: Writer) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    file.chmod(0o640)
    writer(file)
    assert "prompt_tokens" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_what_was_there_stays_if_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def torn() -> None:
        with written(file) as output:
            output.write("half of ")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        torn()
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@each_writer
def test_a_full_device_is_an_error_that_names_it(tmp_path: Path, writer: Writer) -> None:
    full = tmp_path / "full"
    try:
        os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        full.open("wb").close()
    except PermissionError:
        pytest.skip("making a device needs root, and a file system that has devices")
    with pytest.raises(InvalidInput, match=r"output: .*full.*No space left"):
        writer(full)
    assert stat.S_ISCHR(full.stat().st_mode)
