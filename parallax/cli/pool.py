"""Simulations on all cores: tasks in processes of their own, with a bar that says how far it is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from parallax.core.errors import ParallaxError

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W")


def spread(
    deed: Callable[[T], R], tasks: Sequence[T], processes: int, unit: str = "runs"
) -> Iterator[tuple[T, R | BaseException]]:
    """Yield every task with its result, or its exception, in the order in which they end."""
    if not tasks:
        return
    alone = min(processes, len(tasks)) == 1
    results = _alone(deed, tasks) if alone else _pooled(deed, tasks, processes)
    yield from watched(results, len(tasks), unit)


def _alone(deed: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[T, R | BaseException]]:
    for task in tasks:
        try:
            yield task, deed(task)
        except ParallaxError as error:
            yield task, error


def _pooled(
    deed: Callable[[T], R], tasks: Sequence[T], processes: int
) -> Iterator[tuple[T, R | BaseException]]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(tasks)), spawn, _dies_quietly) as pool:
        complete = False
        try:
            waiting = {pool.submit(deed, task): task for task in tasks}
            for done in as_completed(waiting):
                yield waiting[done], done.exception() or done.result()
            complete = True
        finally:
            if not complete:  # their results are not wanted any more, and the pool ends with them
                for process in multiprocessing.active_children():
                    process.terminate()


def _dies_quietly() -> None:
    """Let Ctrl-C end a process of the pool without a traceback; let it end with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def watched(results: Iterator[W], count: int, unit: str) -> Iterator[W]:
    """Show how far it is on a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), f"{unit}, left:", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(results, total=count)
