"""Records the results of mutants, so that an interrupted run can go on."""

from __future__ import annotations

import json
import threading
from hashlib import sha256
from pathlib import Path

from ops.mutants.planted import Mutant
from ops.mutants.trial import Verdict


class Record:
    """A file with a line for each verdict.

    That a mutant was caught is believed as long as the mutant, the file in which it is planted and
    the file of the test that saw it are what they were. What lived is always tried again.
    """

    def __init__(self, path: Path | None, root: Path) -> None:
        """Read what there is; without a path nothing is kept."""
        self._path, self._root, self._lock = path, root, threading.Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        said = [json.loads(line) for line in lines]
        self._caught = {entry["name"]: entry for entry in said if entry["caught"]}

    def caught(self, mutant: Mutant) -> Verdict | None:
        """Return the verdict on a mutant that was caught before; None if it is to be tried."""
        entry = self._caught.get(mutant.name)
        if entry is None or entry["mark"] != self._mark(mutant, entry["by"]):
            return None
        return Verdict(mutant, True, entry["by"])

    def add(self, verdict: Verdict) -> None:
        """Note a verdict at once."""
        if self._path is None:
            return
        entry = {
            "name": verdict.mutant.name, "caught": verdict.caught, "by": verdict.by,
            "mark": self._mark(verdict.mutant, verdict.by),
        }  # fmt: skip
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _mark(self, mutant: Mutant, by: str) -> str:
        parts = [mutant.name, mutant.old, mutant.new, self._text(mutant.file)]
        parts.append(self._text(by.partition("::")[0]))
        return sha256("\0".join(parts).encode()).hexdigest()

    def _text(self, file: str) -> str:
        path = self._root / file
        return path.read_text(encoding="utf-8") if file and path.is_file() else ""
