"""Runs pytest in forks of one process that has imported what no planted bug changes.

An interpreter needs seconds to import pytest, Hypothesis and fakeredis; a fork of one that has
them needs none. Of our own source nothing is imported before the fork.

A line on stdin holds the arguments of a run and the file that takes what it says; two lines answer:
the run's process, which leads a group of its own, and its exit code once that group is gone.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys

OUTSIDE = (
    "pytest", "pytest_timeout", "_hypothesis_pytestplugin", "hypothesis", "hypothesis.stateful",
    "hypothesis.strategies", "fakeredis", "lupa.lua51", "redis.cluster", "redis.asyncio.cluster",
    "redis.sentinel", "msgspec", "asyncio", "http.server", "ssl", "xml.etree.ElementTree",
)  # fmt: skip
OURS = ("parallax", "producers", "consumers", "tests", "ops")


def main() -> None:
    """Run what stdin asks for until it ends."""
    for name in OUTSIDE:
        with contextlib.suppress(ImportError):  # then whoever needs it imports it, or fails
            importlib.import_module(name)
    early = [name for name in sys.modules if name.partition(".")[0] in OURS]
    if early:
        sys.exit(f"imported before the bug was planted: {early}")
    for line in sys.stdin:
        arguments, said = json.loads(line)
        child = os.fork()
        if not child:
            sys.exit(_run(arguments, said))
        print(child, flush=True)
        print(_code(child), flush=True)


def _run(arguments: list[str], said: str) -> int:
    import pytest

    os.setsid()
    with open(said, "wb") as file, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    return int(pytest.main(arguments))


def _code(child: int) -> int:
    """Wait for a run, end what it left behind, and return its exit code."""
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # until it is fetched its number stays its
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
