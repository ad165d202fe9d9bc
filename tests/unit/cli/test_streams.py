"""Standard output as commands find it: full, closed, left by its reader, of few letters."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARALLAX = shlex.join([sys.executable, "-m", "parallax"])
LINES = ["--help", "policy list", pytest.param("policy --help", marks=pytest.mark.slow)]

by_line = pytest.mark.parametrize("line", LINES)


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - as people type it
        capture_output=True, encoding="utf-8", errors="replace", env=environment, check=False,
        timeout=60,
    )  # fmt: skip


@pytest.mark.sampled(1)
@by_line
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_one_line(line: str) -> None:
    done = shell(f"{PARALLAX} {line} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("parallax: standard output cannot be used: No space left")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.dear
@by_line
def test_a_closed_descriptor_is_one_line(line: str) -> None:
    done = shell(f"{PARALLAX} {line} >&-")
    assert done.returncode == 1
    assert done.stderr.startswith("parallax: standard output cannot be used: Bad file descriptor")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.dear
@by_line
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_has_seen_enough_is_no_failure(line: str, reader: str) -> None:
    done = shell(f"{PARALLAX} {line} | {reader}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.dear
def test_a_failure_stays_one_whoever_reads_it() -> None:
    assert shell(f"{PARALLAX} status --redis redis://127.0.0.1:1 2>&1 | cat").returncode == 4


@pytest.mark.dear
@pytest.mark.parametrize("ends", ["2>&-", "0<&-", "0<&- 2>&-"])
def test_other_descriptors_may_be_closed(ends: str) -> None:
    done = shell(f"{PARALLAX} version {ends}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "parallax" in done.stdout


@pytest.mark.dear
def test_with_no_stream_at_all_the_exit_code_still_speaks() -> None:
    assert shell(f"{PARALLAX} nope 0<&- >&- 2>&-").returncode == 2


@pytest.mark.dear
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a command prints would land in the middle of it."""
    target = tmp_path / "trace.jsonl"
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    done = shell(f"{PARALLAX} trace convert {tmp_path / 't.csv'} -o {target} >&- 2>&-")
    assert done.returncode == 0
    assert len(target.read_text().splitlines()) == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_a_terminal_has_not_are_escaped(encoding: str) -> None:
    script = (
        "import click\n"
        "from parallax.cli import main\n"
        "main._load = lambda name: click.Command(name, callback=lambda: "
        "[click.echo('\\u4f60 \\xb1 \\udcff', err=err) for err in (0, 1)])\n"
        "main.main()\n"
    )
    code = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)} version"
    done = shell(code, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if encoding != "ascii":  # which click takes for a mistake, and writes UTF-8
        assert "\\udcff" in done.stdout
        assert ("\\u4f60" in done.stdout) == (encoding != "utf-8")


@pytest.mark.dear
def test_an_unwritable_file_is_named_and_no_traceback(tmp_path: Path) -> None:
    done = shell(f"{PARALLAX} record save {tmp_path / 'no' / 'file'} --redis redis://127.0.0.1:1")
    assert done.returncode in {1, 2, 4}
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
