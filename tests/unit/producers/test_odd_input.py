"""Jobs, rows and loads that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallax.core.errors import InvalidInput
from parallax.producers.client.submission import jobs_from_lines
from parallax.producers.load.traces import recorded
from parallax.producers.load.workload import Workload

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.mark.parametrize("session", [0, False, None, []])
def test_a_session_is_text(session: object) -> None:
    line = json.dumps({"prompt_tokens": 1, "max_tokens": 1, "session": session})
    with pytest.raises(InvalidInput, match="session"):
        list(jobs_from_lines([line], {"tenant": "a"}, "x"))


@pytest.mark.parametrize(
    "row", ["2023-11-16 18:17:04+00:00,1,1", "2023-11-16 18:17:04," + "9" * 5_000 + ",1"]
)
def test_a_bad_row_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEAD}2023-11-16 18:17:03,1,1\n{row}\n")
    with pytest.raises(InvalidInput, match="line 3, column"):
        list(recorded(path))


def test_sessions_are_not_negative() -> None:
    with pytest.raises(InvalidInput):
        list(Workload(1.0, sessions=-1).jobs(count=1))
