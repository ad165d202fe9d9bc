"""Trace files as people have them: the right jobs, or one line that says what is wrong where."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim.spec import WorkloadSpec
from parallax.sim.traces import files
from parallax.sim.traces.catalog import read
from parallax.sim.workloads.catalog import load

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROWS = (
    "2023-11-16 18:17:03.9799600,4808,10\n"
    "2023-11-16 18:17:04.0319600,3180,8\n"
    "2023-11-16 18:17:05.1,110,27\n"
)
AZURE = HEAD + ROWS
OWN = "arrival_s,prompt_tokens,output_tokens"
Job = tuple[float, int, int, str, str]
THREE: list[Job] = [
    (0.0, 4808, 10, "azure", ""), (0.052, 3180, 8, "azure", ""), (1.12004, 110, 27, "azure", ""),
]  # fmt: skip
TWO: list[Job] = [(0.0, 4808, 10, "azure", ""), (1.0, 48, 10, "azure", "")]


def own(*jobs: tuple[float, int, int]) -> list[Job]:
    return [(*job, "default", "") for job in jobs]


def mooncake(*jobs: tuple[float, int, int, str]) -> list[Job]:
    return [(at, prompt, output, "mooncake", session) for at, prompt, output, session in jobs]


READ: dict[str, tuple[str | bytes, list[Job]]] = {
    "as published": (AZURE, THREE),
    "gzip": (gzip.compress(AZURE.encode()), THREE),
    "blank first line": ("\n" + AZURE, THREE),
    "byte order mark and CRLF": ("\ufeff" + AZURE.replace("\n", "\r\n"), THREE),
    "CR": (AZURE.replace("\n", "\r"), THREE),
    "UTF-16": (AZURE.encode("utf-16"), THREE),
    "UTF-16, big end first": (b"\xfe\xff" + AZURE.encode("utf-16-be"), THREE),
    "comment": ("# from azure\n" + AZURE, THREE),
    "semicolons": (AZURE.replace(",", ";"), THREE),
    "tabs": (AZURE.replace(",", "\t"), THREE),
    "row of commas at the end": (AZURE + ",,\n", THREE),
    "row of blanks at the end": (AZURE + "   \n\n", THREE),
    "index column": (
        f",{HEAD}0,2023-11-16 18:17:03.97,4808,10\n1,2023-11-16 18:17:04.97,48,10\n", TWO,
    ),
    "floats": (
        f"{HEAD}2023-11-16 18:17:03.97,4808.0,10.0\n2023-11-16 18:17:04.97,48.0,1e1\n", TWO,
    ),
    "ISO with a zone": (
        f"{HEAD}2023-11-16T18:17:03.9799600Z,4808,10\n2023-11-16T18:17:04.0319600Z,3180,8\n",
        THREE[:2],
    ),
    "one row": (f"{HEAD}2023-11-16 18:17:03.97,4808,10\n", TWO[:1]),
    "quotes": ('"TIMESTAMP","ContextTokens","GeneratedTokens"\n'
               '"2023-11-16 18:17:03.9799600","4808","10"\n', THREE[:1]),
    "quotes after blanks": ('"TIMESTAMP", "ContextTokens", "GeneratedTokens"\n'
                            '"2023-11-16 18:17:03.9799600", "4808", "10"\n', THREE[:1]),
    "BurstGPT 3": (
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
        "Log Type\n"
        "19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log\n"
        "19440161.0,d5983bf9,2,ChatGPT,36,29,65,Conversation log\n"
        "19440162.0,,2,ChatGPT,36,0,36,API log\n"
        "19440163.0,,2,ChatGPT,36,5,36,API log\n",
        [(0.0, 906, 446, "GPT-4", "1722ac82"), (51.0, 36, 29, "ChatGPT", "d5983bf9"),
         (53.0, 36, 5, "ChatGPT", "")],
    ),
    "times of the epoch": (
        f"{OWN}\n1700000000.1,100,10\n1700000000.6,100,10\n1700000001.2,100,10\n",
        own((0.0, 100, 10), (0.5, 100, 10), (1.1, 100, 10)),
    ),
    "huge": (f"{OWN}\n0,9000000,10\n1,100,10\n", own((0.0, 9_000_000, 10), (1.0, 100, 10))),
    "all at once": (f"{OWN}\n" + "5,100,10\n" * 5, own(*[(0.0, 100, 10)] * 5)),
    "zeros": (f"{OWN}\n0,0,0\n0,0,5\n0,5,0\n", own((0.0, 0, 0), (0.0, 0, 5), (0.0, 5, 0))),
    "nulls": (
        '{"arrival_s":0,"prompt_tokens":100,"output_tokens":10,"tenant":null,"session":null,'
        '"deadline_s":null,"priority":null,"prefix":null}\n', own((0.0, 100, 10)),
    ),
    "Mooncake": (
        '{"timestamp": 27000, "input_length": 6758, "output_length": 500, "hash_ids": [0,1]}\n'
        '{"timestamp": 30000, "input_length": 655, "output_length": 52, "hash_ids": [46]}\n',
        mooncake((0.0, 6758, 500, ""), (3.0, 655, 52, "")),
    ),
    "Mooncake, fractions": (
        '{"timestamp": 0.5, "input_length": 300.0, "output_length": 40}\n'
        '{"timestamp": 27482.25, "input_length": 300, "output_length": 40}\n',
        mooncake((0.0, 300, 40, ""), (27.48175, 300, 40, "")),
    ),
    "Mooncake, sessions": (
        '{"session_id":"a","timestamp": 0, "input_length": 9, "output_length": 4}\n'
        '{"session_id":"b","timestamp": 10, "input_length": 9, "output_length": 4}\n'
        '{"session_id":"a","timestamp": 20, "input_length": 9, "output_length": 4}\n',
        mooncake((0.0, 9, 4, "a"), (0.01, 9, 4, "b"), (0.02, 9, 4, "a")),
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", "line 1", "the columns of a format"),
    "only a head": (HEAD, "", "at least one job"),
    "out of order": (
        f"{HEAD}2023-11-16 18:27:03.97,4808,10\n2023-11-16 18:17:04.97,48,10\n",
        "line 3, column TIMESTAMP", "sort the file",
    ),
    "a little out of order": (
        f"{OWN}\n0.010,100,10\n0.009,100,10\n", "line 3, column arrival_s", "order of time",
    ),
    "other names": (
        AZURE.replace("TIMESTAMP,ContextTokens", "timestamp,context_tokens"), "line 1",
        "azure: TIMESTAMP, ContextTokens, GeneratedTokens",
    ),
    "another simulator's": (
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,3772,54\n", "line 1",
        "generic: arrival_s, prompt_tokens, output_tokens",
    ),
    "an address as tenant": (
        f"{OWN},tenant\n0,100,10,alice@example.com\n", "line 2, column tenant", "letters, digits",
    ),
    "a tenant beyond ASCII": (
        f"{OWN},tenant\n0,100,10,日本\n", "line 2, column tenant", "letters, digits",
    ),
    "a column that nobody reads": (
        f'{OWN},tenant,note\n0,100,10,a,"multi\nline"\n', "line 1, column note", "known: arrival_s",
    ),
    "a misspelt column": (f"{OWN},tenent\n0,1,1,a\n", "line 1, column tenent", "mean tenant?"),
    "a misspelt field": (
        '{"arrival_s":0,"prompt_tokens":1,"output_tokens":1,"sesion":"a"}\n',
        "line 1, column sesion", "mean session?",
    ),
    "a column twice": (f"{OWN},tenant,tenant\n0,1,1,a,b\n", "line 1, column tenant", "once"),
    "NaN": (
        '{"arrival_s":NaN,"prompt_tokens":1,"output_tokens":10}\n', "line 1, column arrival_s",
        "a number >= 0",
    ),
    "before the start": (f"{OWN}\n-1.5,100,10\n", "line 2, column arrival_s", "a number >= 0"),
    "a list": ('[{"timestamp": 0, "input_length": 3, "output_length": 4}]\n', "line 1", "a line"),
    "no times": (
        '{"input_length": 300, "output_length": 40}\n', "line 1, column timestamp",
        "mooncake: timestamp, input_length, output_length",
    ),
    "delays": (
        '{"session_id":"a","timestamp": 0, "input_length": 300, "output_length": 40}\n'
        '{"session_id":"a","delay": 500, "input_length": 400, "output_length": 40}\n',
        "line 2, column delay", "a `timestamp` on every line",
    ),
    "decimal commas": (
        f"{OWN}\n0,5;100;10\n".replace("arrival_s,prompt_tokens,", "arrival_s;prompt_tokens;"),
        "line 2, column arrival_s", "a number >= 0",
    ),
    "half a gzip file": (gzip.compress(AZURE.encode() * 99)[:60], "trace", "readable"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "trace", "readable"),
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def kept(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def jobs_of(path: Path) -> list[Job]:
    return [
        (round(at, 5), job.prompt_tokens, job.output_tokens or 0, job.tenant, job.session)
        for at, job in load(WorkloadSpec(str(path)), 0)
    ]


@pytest.mark.parametrize("name", READ)
def test_the_jobs_are_those_of_the_file(file: Path, name: str) -> None:
    content, expected = READ[name]
    assert jobs_of(kept(file, content)) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_the_error_names_the_place_and_what_is_allowed(file: Path, name: str) -> None:
    content, place, allowed = REFUSED[name]
    with pytest.raises(InvalidInput) as caught:
        jobs_of(kept(file, content))
    error = caught.value
    assert str(file) in str(error)[:200]
    assert place in error.field or not place
    assert allowed in error.allowed
    assert len(str(error).splitlines()) == 1


def test_a_name_that_is_no_file_is_perhaps_a_misspelt_load() -> None:
    with pytest.raises(InvalidInput, match="did you mean chat"):
        jobs_of(Path("chatt"))


def test_a_made_up_load_without_jobs_is_refused(file: Path) -> None:
    load_file = file.with_suffix(".toml")
    load_file.write_text('kind = "singles"\nstages = [{ rate = 0.001, seconds = 0.001 }]\n')
    with pytest.raises(InvalidInput, match="at least one job"):
        jobs_of(load_file)


# -- pipes


def piped(path: Path, content: bytes, use: Callable[[Path], None]) -> None:
    """Let `use` read a pipe that `content` goes through once."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    writer.start()
    try:
        use(path)
    finally:
        with suppress(OSError):  # whoever still waits for a reader gets one
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        writer.join(timeout=10)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_pipe_is_read_once_and_gives_all_its_jobs(file: Path, packed: bool) -> None:
    content = gzip.compress(AZURE.encode()) if packed else AZURE.encode()

    def use(path: Path) -> None:
        assert jobs_of(path) == THREE
        assert jobs_of(path) == THREE  # as often as one likes

    piped(file, content, use)


def test_more_than_is_kept_of_a_pipe_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_BYTES", 100)

    def use(path: Path) -> None:
        with pytest.raises(InvalidInput, match="at most 100 bytes"):
            read(path)

    piped(file, AZURE.encode(), use)
