"""Runs pytest in forks of one process that has already imported what no planted bug changes.

Without an argument it imports foreign packages first: an interpreter needs seconds for pytest,
Hypothesis and fakeredis, a fork none, and of our own source nothing is imported before the fork.
With a folder of tests as its argument these are collected, too: for bugs of scripts alone, whose
text is read when they are first called.

A line on stdin holds the arguments of a run and the file that takes what it says; two lines answer:
the run's process, which leads a group of its own, and its exit code once that group is gone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import IO, Any

OUTSIDE = (
    "pytest", "pytest_timeout", "_hypothesis_pytestplugin", "hypothesis", "hypothesis.stateful",
    "hypothesis.strategies", "fakeredis", "lupa.lua51", "redis.cluster", "redis.asyncio.cluster",
    "redis.sentinel", "msgspec", "asyncio", "http.server", "ssl", "xml.etree.ElementTree",
)  # fmt: skip
OURS = ("parallax", "producers", "consumers", "tests", "ops")
#: Asserts stay as they are: to rewrite them so that they explain themselves takes longer than most
#: tests. A test that takes longer than its `--timeout` hangs, and has noticed something.
OPTIONS = (
    "-x", "-q", "--assert=plain", "--capture=no", "-p", "no:cacheprovider", "-p", "pytest_timeout",
    "-p", "_hypothesis_pytestplugin", "--timeout", "60", "-m", "not slow and not e2e",
)  # fmt: skip


def main(folder: str = "") -> None:
    """Run what stdin asks for until it ends."""
    for name in OUTSIDE:
        with contextlib.suppress(ImportError):  # then the test that needs it imports it, or fails
            importlib.import_module(name)
    import pytest

    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "wb") as nobody:  # what pytest says of itself is no answer
        os.dup2(nobody.fileno(), 1)
    if folder:
        sys.exit(pytest.main([*OPTIONS, folder], [Collected(answers)]))
    early = [name for name in sys.modules if name.partition(".")[0] in OURS]
    if early:
        sys.exit(f"imported before the bug was planted: {early}")
    asked = served(answers)
    if asked is not None:
        sys.exit(pytest.main([*OPTIONS, *asked]))


class Collected:
    """A plugin that runs, for each line of stdin, some of the collected tests in a fork."""

    def __init__(self, answers: IO[str]) -> None:
        """Answer there."""
        self._answers = answers

    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Serve; in a fork, let pytest run the tests that were asked for."""
        asked = served(self._answers)
        if asked is None:
            return True
        from parallax.broker.link.scripts import script

        script.cache_clear()
        session.items = [item for item in session.items if chosen(item.nodeid, asked)]
        return None if session.items else True


def chosen(test: str, asked: Sequence[str]) -> bool:
    """Whether pytest would run a test if it were asked for this."""
    rest = iter(asked)
    wanted, words = [], ""
    for part in rest:
        if part == "-k":
            words = next(rest)
        elif part.startswith("--"):
            if _within(test, part.partition("=")[2]):
                return False
        else:
            wanted.append(part)
    named = all(word in test.rpartition("::")[2] for word in words.split(" and "))
    return named and any(_within(test, part) for part in wanted)


def _within(test: str, place: str) -> bool:
    return test == place or (test.startswith(place) and test[len(place)] in "/:[")


def served(answers: IO[str]) -> list[str] | None:
    """Fork for each line of stdin; return in each fork what it is to run, None at the end."""
    gc.freeze()  # objects of now stay: no fork looks through them
    for line in sys.stdin:
        arguments, said = json.loads(line)
        child = os.fork()
        if not child:
            _apart(said)
            asked: list[str] = arguments
            return asked
        print(child, file=answers, flush=True)
        print(_code(child), file=answers, flush=True)
    return None


def _apart(said: str) -> None:
    """Lead a process group, read nothing, and speak to a file."""
    os.setsid()
    with open(said, "wb") as file, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _code(child: int) -> int:
    """Wait for a run, end its leftover processes, and return its exit code."""
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # until it is fetched its number stays its
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
