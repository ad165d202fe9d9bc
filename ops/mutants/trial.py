"""One mutant on trial: a copy of the source with the bug in it, and the tests that may see it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.mutants.planted import Mutant

ROOT = Path(__file__).parents[2]
PARTS = (
    "parallax", "consumers", "producers", "ops", "tests", "docs", "pyproject.toml", "README.md",
    "Makefile",
)  # fmt: skip
#: What is run on a mutant that the test which saw it last time does not see.
FAST = (
    "tests/contract", "tests/integration", "tests/unit/broker", "tests/unit/consumers",
    "tests/unit/producers", "tests/unit/scheduling", "tests/unit/services", "tests/stateful",
    "tests/laws",
)  # fmt: skip
#: Tests that usually see the bugs of a file, by the beginning of its path: they go first.
USUAL = {
    "parallax/broker/lua": ("tests/contract",),
    "parallax/broker": ("tests/contract", "tests/unit/broker"),
    "parallax/services": ("tests/integration",),
    "consumers": ("tests/integration", "tests/unit/consumers"),
    "producers": ("tests/unit/producers", "tests/integration"),
    "parallax/scheduling": ("tests/unit/scheduling", "tests/laws"),
}
#: Seconds; tests that take longer hang, and a test that hangs has noticed something.
TIMEOUT_S = 900
#: So many tests that fail now and then are passed over in one search.
MOST_FICKLE = 5
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_PASSED, _FAILURES, _INTERRUPTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run of tests."""

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
        if found is None:
            return ""
        name, bracket, parameters = found.group(1).partition("[")
        return found.group(1) if parameters.endswith("]") or not bracket else name


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the source."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Copy:
        """Copy the source into a folder that does not exist yet."""
        skipped = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.pyc")
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=skipped)
            else:
                shutil.copy(ROOT / part, folder / part)
        return cls(folder)

    @contextlib.contextmanager
    def with_bug(self, mutant: Mutant) -> Iterator[None]:
        """Plant a bug, and take it out again. Raises ValueError if there is no such place."""
        path = self.folder / mutant.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.file} has its text {text.count(mutant.old)} times")
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    def run(self, tests: Sequence[str]) -> Run:
        """Run tests until one fails; whatever they started and left behind is ended."""
        command = [
            sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
            "--timeout", "60", "-m", "not slow and not e2e", *tests,
        ]  # fmt: skip
        environment = {
            **os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
            command, cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return Run(_FAILURES, "the tests hang")
        else:
            return Run(process.returncode, said)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(slots=True)
class Clean:
    """The copy without a bug: a test that fails on it proves nothing."""

    copy: Copy
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def passing(self, tests: Sequence[str]) -> set[str]:
        """Return those of these tests that pass."""
        if not tests or self.passes(tests):
            return set(tests)
        return {test for test in tests if self.passes([test])}

    def passes(self, tests: Sequence[str]) -> bool:
        """Whether these tests pass."""
        with self._lock:
            run = self.copy.run(tests)
        return run.code == _PASSED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: whether a test saw it, and which."""

    mutant: Mutant
    caught: bool
    by: str

    def __str__(self) -> str:
        if self.caught:
            return f"caught  {self.mutant.name}  ({self.by})"
        return f"LIVES   {self.mutant.name}{f'  ({self.by})' if self.by else ''}"


def tried(mutant: Mutant, copy: Copy, clean: Clean, first: str = "") -> Verdict:
    """Plant a bug and run tests: the `first` alone, then all, the usual ones before the others."""
    try:
        with copy.with_bug(mutant):
            if first and copy.run([first]).failed and copy.run([first]).failed:
                return Verdict(mutant, True, first)
            return _searched(mutant, copy, clean)
    except ValueError as error:
        return Verdict(mutant, False, str(error))


def _searched(mutant: Mutant, copy: Copy, clean: Clean) -> Verdict:
    """Look for a test that fails with the bug, twice, and not without it."""
    fickle: list[str] = []
    while len(fickle) <= MOST_FICKLE:
        run = copy.run([*map(_without, fickle), *_rest(mutant)])
        if run.code == _PASSED:
            return Verdict(mutant, False, "")
        if not run.failed:
            return Verdict(mutant, False, f"the tests did not run: {run.said[-500:]}")
        if not run.test or (copy.run([run.test]).failed and clean.passes([run.test])):
            return Verdict(mutant, True, run.test)
        fickle.append(run.test)
    return Verdict(mutant, False, f"tests fail now and then: {', '.join(fickle)}")


def _without(test: str) -> str:
    """Return the option that leaves a test out, or a file that cannot even be loaded."""
    return f"--deselect={test}" if "::" in test else f"--ignore={test}"


def _rest(mutant: Mutant) -> tuple[str, ...]:
    usual = next((tests for start, tests in USUAL.items() if mutant.file.startswith(start)), ())
    return (*usual, *(tests for tests in FAST if tests not in usual))
