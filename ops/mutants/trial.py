"""One mutant on trial: a copy of the source with the bug in it, and the tests that may see it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from compileall import compile_dir
from dataclasses import dataclass, field
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import IO

from ops.mutants.planted import Mutant

ROOT = Path(__file__).parents[2]
PARTS = (
    "parallax", "consumers", "producers", "ops", "tests", "docs", "pyproject.toml", "README.md",
    "Makefile",
)  # fmt: skip
#: The tests to run on a mutant that survives the test which caught it last time.
FAST = (
    "tests/contract", "tests/integration", "tests/unit/broker", "tests/unit/consumers",
    "tests/unit/producers", "tests/unit/scheduling", "tests/unit/services", "tests/stateful",
    "tests/laws",
)  # fmt: skip
#: They see most bugs of scripts, in less time than any other tests of theirs.
SCENES = ["tests/contract/test_effects.py", "-k", "fakeredis"]
#: Tests that usually see the bugs of a file, by the beginning of its path: they go first.
USUAL = {
    "parallax/broker/lua": ("tests/contract",),
    "parallax/broker": ("tests/contract", "tests/unit/broker"),
    "parallax/services": ("tests/integration",),
    "consumers": ("tests/integration", "tests/unit/consumers"),
    "producers": ("tests/unit/producers", "tests/integration"),
    "parallax/scheduling": ("tests/unit/scheduling", "tests/laws"),
}
#: These are collected once for all bugs of scripts.
COLLECTED = "tests/contract"
#: Seconds for a whole run; one that is not done by then proves nothing.
TIMEOUT_S = 3600
#: So many tests that fail now and then are passed over in one search.
MOST_FICKLE = 5
_FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+(?:\[.*?\](?= - |$))?)", re.MULTILINE)
_PASSED, _FAILURES, _INTERRUPTED, _LATE = 0, 1, 2, -1


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run of tests."""

    code: int
    said: str

    @property
    def failed(self) -> bool:
        """Whether a test failed or could not be loaded."""
        return self.code in {_FAILURES, _INTERRUPTED}

    @property
    def test(self) -> str:
        """The first test that failed; '' if none could be named (they hang, say)."""
        found = _FAILED.search(self.said)
        return found.group(1) if found else ""


class Copy:
    """A copy of the source, and processes whose forks run its tests."""

    def __init__(self, folder: Path, like: Copy | None = None) -> None:
        """Copy the source, or another copy, into a folder that does not exist yet; compile it.

        A module is compiled anew whenever its text is not the one that was compiled.
        """
        self.folder = folder
        skipped = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.pyc")
        if like is not None:
            shutil.copytree(like.folder, folder, symlinks=True)
        else:
            for part in PARTS:
                if (ROOT / part).is_dir():
                    shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=skipped)
                else:
                    shutil.copy(ROOT / part, folder / part)
            compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        self._forks: dict[str, subprocess.Popen[str]] = {}
        self._sources_are_good = True

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        for forks in self._forks.values():
            forks.terminate()
            forks.communicate()

    @contextlib.contextmanager
    def with_bug(self, mutant: Mutant) -> Iterator[None]:
        """Plant a bug, and take it out again. Raises ValueError if there is no such place."""
        path = self.folder / mutant.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.file} has its text {text.count(mutant.old)} times")
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        self._sources_are_good = path.suffix == ".lua"
        try:
            yield
        finally:
            self._sources_are_good = True
            path.write_text(text, encoding="utf-8")

    def run(self, tests: Sequence[str]) -> Run:
        """Run tests until one fails; whatever they started and left behind is ended."""
        said, late = self.folder / "said.txt", threading.Event()
        asked, answers = self._fitting(tests)
        print(json.dumps((tests, str(said))), file=asked, flush=True)
        process = int(answers.readline())

        def end() -> None:
            late.set()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)

        timer = threading.Timer(TIMEOUT_S, end)
        timer.start()
        code = int(answers.readline())
        timer.cancel()
        if late.is_set():
            return Run(_LATE, f"not done in {TIMEOUT_S} s")
        return Run(code, said.read_text(encoding="utf-8", errors="replace"))

    def _fitting(self, tests: Sequence[str]) -> tuple[IO[str], IO[str]]:
        """Return how to ask, and to hear from, a process whose forks may run these tests."""
        places = [test for test in tests if test.startswith("tests")]
        collected = self._sources_are_good and all(
            place == COLLECTED or place.startswith(f"{COLLECTED}/") for place in places
        )
        folder = COLLECTED if collected else ""
        if folder not in self._forks:
            environment = {
                **os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            }  # fmt: skip
            command = [sys.executable, "-P", str(self.folder / "ops/mutants/forked.py"), folder]
            self._forks[folder] = subprocess.Popen(  # noqa: S603 - our own interpreter
                command, cwd=self.folder, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        forks = self._forks[folder]
        assert forks.stdin is not None  # noqa: S101 - both are pipes
        assert forks.stdout is not None  # noqa: S101
        return forks.stdin, forks.stdout


@dataclass(slots=True)
class Clean:
    """The copy without a bug: a test that fails on it proves nothing."""

    copy: Copy
    _known: dict[str, bool] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def passes(self, test: str) -> bool:
        """Whether a test passes."""
        with self._lock:
            if test not in self._known:
                self._known[test] = self.copy.run([test]).code == _PASSED
            return self._known[test]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of a mutant: whether a test caught it, and which."""

    mutant: Mutant
    caught: bool
    by: str

    def __str__(self) -> str:
        if self.caught:
            return f"caught  {self.mutant.name}  ({self.by})"
        return f"LIVES   {self.mutant.name}{f'  ({self.by})' if self.by else ''}"


def tried(
    mutant: Mutant, copy: Copy, clean: Clean, first: str, near: Sequence[str], last: bool
) -> Verdict:
    """Plant a bug and run tests: `first`, a script's scenes, those `near` it; at `last` all."""
    searches = [_scenes(mutant), [*near]]
    if last:
        searches = [SCENES if searches[0] else [], _all(mutant)]
    verdict = Verdict(mutant, False, "")
    try:
        with copy.with_bug(mutant):
            if first and not last and _seen(copy, first, clean):
                return Verdict(mutant, True, first)
            for tests in filter(None, searches):
                verdict = _searched(mutant, copy, clean, tests)
                if verdict.caught:
                    break
    except ValueError as error:
        return Verdict(mutant, False, str(error))
    return verdict


def _seen(copy: Copy, test: str, clean: Clean) -> bool:
    """Whether a test fails with the bug, twice, and passes without it."""
    return all(copy.run([test]).failed for _ in range(2)) and clean.passes(test)


def _searched(mutant: Mutant, copy: Copy, clean: Clean, tests: Sequence[str]) -> Verdict:
    """Look for a test that fails with the bug, twice, and not without it."""
    fickle: list[str] = []
    while len(fickle) <= MOST_FICKLE:
        run = copy.run([*map(_without, fickle), *tests])
        if run.code == _PASSED:
            return Verdict(mutant, False, "")
        if not run.failed:
            return Verdict(mutant, False, f"the tests did not run: {run.said[-500:]}")
        if not run.test or (copy.run([run.test]).failed and clean.passes(run.test)):
            return Verdict(mutant, bool(run.test), run.test or run.said[-500:])
        fickle.append(run.test)
    return Verdict(mutant, False, f"tests fail now and then: {', '.join(fickle)}")


def _without(test: str) -> str:
    """Return the option that leaves a test out, or a file that cannot even be loaded."""
    return f"--deselect={test}" if "::" in test else f"--ignore={test}"


def _scenes(mutant: Mutant) -> list[str]:
    """Return what selects the scenes of a mutated script; of `common.lua` all scripts are made."""
    path = Path(mutant.file)
    if path.suffix != ".lua":
        return []
    return SCENES if path.stem == "common" else [*SCENES[:-1], f"{SCENES[-1]} and {path.stem}"]


def _all(mutant: Mutant) -> list[str]:
    usual = next((tests for start, tests in USUAL.items() if mutant.file.startswith(start)), ())
    return [*usual, *(tests for tests in FAST if tests not in usual)]
