"""Beside another tree, in turn: what a change is worth on a machine that others load, too.

Such a machine is another one from second to second. So both trees are up all the time, each with a
server and processes of its own, and short rounds of the two alternate: neighbours see nearly the
same, and what counts is the median of their ratios. Whoever comes first changes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import IO, Self, cast

import click

from parallax.core.errors import TimedOut

HERE = Path(__file__).parents[2]
#: How long an arm may take to be ready, to make a round, and to end (seconds).
PATIENCE_S = 120.0

Figures = Mapping[str, float]
Pairs = Sequence[tuple[Figures, Figures]]  # of the other tree, and of this one


class Arm:
    """A benchmark of this tree (`script --paced`) on what another tree holds."""

    def __init__(self, tree: Path, script: Path, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-P", str(script.resolve()), "--paced", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
        self._process = subprocess.Popen(  # noqa: S603
            command, cwd=tree, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let it stop what it has started."""
        cast(IO[str], self._process.stdin).close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def round(self) -> Figures:
        """Make a round; return its figures. Raises TimedOut."""
        asking, told = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        asking.write("\n")
        asking.flush()
        ready, _, _ = select.select([told], [], [], PATIENCE_S)
        line = told.readline() if ready else ""
        if not line:
            raise TimedOut(f"no figures within {PATIENCE_S:g} s, or the benchmark ended")
        figures: Figures = json.loads(line)
        return figures


def _started(
    stack: ExitStack, tree: Path, script: Path, arguments: Sequence[str]
) -> Callable[[], Figures]:
    """Start an arm and let it make a round that does not count; return what makes another."""
    arm = stack.enter_context(Arm(tree, script, arguments))
    arm.round()
    return arm.round


def in_turn(tree: Path, script: Path, arguments: Sequence[str], rounds: int) -> Pairs:
    """Return the figures of the other tree and of this one, a pair a round."""
    pairs: list[tuple[Figures, Figures]] = []
    with ExitStack() as stack:
        theirs, mine = (_started(stack, one, script, arguments) for one in (tree, HERE))
        for n in range(rounds):
            if n % 10 == 0:
                click.echo(f"round {n + 1} of {rounds}", err=True)
            if n % 2 == 0:
                before = theirs()
                pairs.append((before, mine()))
            else:
                after = mine()
                pairs.append((theirs(), after))
    return pairs


def over_before(pairs: Pairs, name: str) -> float:
    """Return the median of what a figure is here over what it is in the other tree."""
    return round(median(mine[name] / theirs[name] for theirs, mine in pairs if theirs[name]), 3)


def rows_of(pairs: Pairs) -> list[tuple[str, float, float, float]]:
    """Return a row for each figure: before, here, and the median of the ratios."""
    return [
        (
            name,
            median(theirs[name] for theirs, _ in pairs),
            median(mine[name] for _, mine in pairs),
            over_before(pairs, name),
        )
        for name in pairs[0][1]
    ]
