"""How fast a batch is placed by prefix sums, beside a heap; and what scans cost.

Both place the same batch and are timed in turn. The blocked scan runs in two processes over shared
memory: each scans its half, and the second adds the first one's sum. The last line is one JSON
object.
"""

from __future__ import annotations

import heapq
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from statistics import median

import click
import numpy as np
import numpy.typing as npt

from parallax.core.scans import blelloch, hillis_steele
from parallax.lab.report import publish
from parallax.policies.routing.parallel_prefix import placed

Numbers = npt.NDArray[np.float64]
BATCHES = ((100, 8), (1_000, 8), (10_000, 8), (10_000, 64), (100_000, 64))
FLOOR = 5.0  # times a heap's speed, with 10,000 jobs
JUDGED = (10_000, 8)
WAIT_S = 60.0


def by_heap(costs: Numbers, speed: Numbers, backlog: Numbers) -> npt.NDArray[np.int64]:
    """Give each job in its turn to the worker that would finish it first."""
    heap = [(load / pace, n) for n, (load, pace) in enumerate(zip(backlog, speed, strict=True))]
    heapq.heapify(heap)
    places = np.empty(len(costs), dtype=np.int64)
    paces = speed.tolist()
    for n, cost in enumerate(costs.tolist()):
        done, worker = heap[0]
        places[n] = worker
        heapq.heapreplace(heap, (done + cost / paces[worker], worker))
    return places


def timed(deed: Callable[[], object], rounds: int) -> float:
    """Return the median of so many times in ms."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        deed()
        times.append(1000 * (time.perf_counter() - start))
    return median(times)


def placements(rounds: int) -> list[tuple[object, ...]]:
    """Return jobs, workers, ms of both, their ratio, and the largest load over the ideal one."""
    rows: list[tuple[object, ...]] = []
    for jobs, workers in BATCHES:
        draw = np.random.default_rng(jobs)
        costs, speed, backlog = draw.lognormal(0.0, 1.0, jobs), np.ones(workers), np.zeros(workers)
        prefix = timed(lambda: placed(costs, speed, backlog), rounds)  # noqa: B023 - called here
        heap = timed(lambda: by_heap(costs, speed, backlog), rounds)  # noqa: B023 - called here
        ideal = costs.sum() / workers
        most = [
            float(np.bincount(place(costs, speed, backlog), costs).max() / ideal)
            for place in (placed, by_heap)
        ]
        rows.append((jobs, workers, prefix, heap, heap / prefix, *most))
    return rows


class Half:
    """A process that scans the second half of shared memory when it is told to."""

    def __init__(self, size: int) -> None:
        self.memory = SharedMemory(create=True, size=8 * size)
        self.values: Numbers = np.ndarray(size, dtype=np.float64, buffer=self.memory.buf)
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=_second_half, args=(self.memory.name, size, theirs), daemon=True
        )
        self._process.start()
        self._hear()  # it is there

    def scan(self) -> None:
        """Scan in place, both halves at once. O(n / 2) steps each."""
        middle = len(self.values) // 2
        self._line.send("scan")
        np.cumsum(self.values[:middle], out=self.values[:middle])
        self._line.send(float(self.values[middle - 1]) if middle else 0.0)
        self._hear()

    def close(self) -> None:
        """End the process and free the memory."""
        self._line.send(None)
        self._process.join(WAIT_S)
        del self.values
        self.memory.close()
        self.memory.unlink()

    def _hear(self) -> None:
        if not self._line.poll(WAIT_S):
            raise click.ClickException(f"the second process is silent for {WAIT_S:g} s")
        self._line.recv()


def _second_half(name: str, size: int, line: Connection) -> None:
    memory = SharedMemory(name)
    values: Numbers = np.ndarray(size, dtype=np.float64, buffer=memory.buf)
    mine = values[size // 2 :]
    line.send("ready")
    while line.recv() is not None:
        np.cumsum(mine, out=mine)
        mine += line.recv()
        line.send("done")
    del values, mine
    memory.close()


def scans(size: int, rounds: int) -> dict[str, float]:
    """Return ms of a scan of so many numbers: by numpy, in two processes, and as on paper."""
    half, values = Half(size), np.random.default_rng(1).random(size)
    alone: Numbers = np.empty(size)
    try:
        times: dict[str, list[float]] = {"cumsum": [], "two": []}
        for _ in range(rounds):  # in turn: noise hits both
            times["cumsum"].append(timed(lambda: np.cumsum(values, out=alone), 1))
            half.values[:] = values
            times["two"].append(timed(half.scan, 1))
        if not np.allclose(half.values, alone):
            raise click.ClickException("the two processes found other sums")
    finally:
        half.close()
    paper = values[: 1 << 20]
    return {
        **{name: median(found) for name, found in times.items()},
        "hillis_steele": timed(lambda: hillis_steele(paper), 1),
        "blelloch": timed(lambda: blelloch(paper), 1),
    }


@click.command()
@click.option("--rounds", default=15, show_default=True, help="The median of so many.")
@click.option("--size", default=1 << 24, show_default=True, help="Numbers of the largest scan.")
def main(rounds: int, size: int) -> None:
    """Time the placement of batches, and scans."""
    rows = placements(rounds)
    ratio = next(row[4] for row in rows if (row[0], row[1]) == JUDGED)
    found = scans(size, rounds)
    speed_up = found["cumsum"] / found["two"]
    head = ("jobs", "workers", "prefix sums, ms", "heap, ms", "ratio", "load, prefix", "load, heap")
    click.echo(
        f"{size:,} numbers: {found['cumsum']:.1f} ms in one process, {found['two']:.1f} ms in two; "
        f"2**20 as on paper: Hillis & Steele {found['hillis_steele']:.0f} ms, "
        f"Blelloch {found['blelloch']:.0f} ms"
    )
    figures = {"prefix_over_heap_10k": ratio, "blocked_scan_speedup": round(speed_up, 2)}
    floors = {f"prefix sums are {FLOOR:g} times as fast": float(str(ratio)) >= FLOOR}
    publish("Placing a batch", head, rows, figures, floors)


if __name__ == "__main__":
    main()
