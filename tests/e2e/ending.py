"""Commands in a room of their own: what they start and what they leave there can be counted."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
MARK = "PARALLAX_TEST_MARK"


class Command(subprocess.Popen[str]):
    """A command of a test: one that fails in the middle does not wait for it."""

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *rest)


@dataclass(slots=True)
class Room:
    """A temporary directory, and a mark that is in the environment of all that starts here."""

    folder: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: v for name, v in os.environ.items() if not name.startswith("PARALLAX_")}
        own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder), MARK: self.mark}
        return {**kept, **own, "PARALLAX_HOME": str(self.folder / "home"), **more}

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start `parallax ARGUMENTS...`."""
        return Command(
            [sys.executable, "-m", "parallax", *arguments], env=self.environment(**more),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """Return every process that was started here and runs, with its command."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if self._is_ours(entry):
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        found[int(entry.name)] = command.decode(errors="replace").strip()
                except OSError:
                    continue  # it has just ended
        return found

    def _is_ours(self, entry: Path) -> bool:
        """By its environment; a server may overwrite that, but it works in our directory."""
        if (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z":
            return False
        here = str((entry / "cwd").readlink()).startswith(str(self.folder))
        return here or f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes()

    def files(self) -> list[str]:
        """Return what lies in the temporary directory, the home of `up` left out."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != "home")

    def await_empty(self) -> None:
        """Return when no process and no file is left; fail with their names if some stay."""
        try:
            wait_until(lambda: not self.processes() and not self.files(), "an empty room", 30.0)
        except AssertionError:
            raise AssertionError(f"left: {self.processes()} {self.files()}") from None


@contextmanager
def room() -> Iterator[Room]:
    """Give a room; end and remove what a failed test left in it."""
    there = Room(Path(tempfile.mkdtemp(prefix="e-")))
    try:
        yield there
    finally:
        for pid in there.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(there.folder, ignore_errors=True)
