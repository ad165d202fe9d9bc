"""Running the command line in this process, and what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from parallax.cli.main import main

CLOSED = "redis://127.0.0.1:1"  # nobody listens there


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


Run = Callable[..., Answer]


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Run `parallax ARGUMENTS` as the installed command does."""
    capsys.readouterr()
    code: str | int | None = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["parallax", *arguments])
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
    captured = capsys.readouterr()
    return Answer(int(code or 0), captured.out, captured.err)
