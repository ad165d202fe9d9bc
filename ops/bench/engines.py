"""What Parallax does for three real llama.cpp servers: caches, a death, weights, a flood.

    python -m ops.bench.engines [--only PART]...

Each part starts three servers (two slots each, random weights, one thread) and compares runs in
turn on this machine. Engines, Parallax and the load share its cores: only ratios say something.

* affinity: conversations over three servers by round robin and by the default composition, and
  over one server: what of the prompts engines found in their caches, and the first token.
* crash: one server is killed with -9 under load.
* weights: tokens of two tenants with weights 4:1, both with a backlog.
* flood: a tenant's 99th percentile beside a neighbour that comes at a steady pace, beside one
  that sends twice as much at once, and that under `fifo`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean

import click

from ops.bench.engine_loads import (
    backlog,
    beside,
    cached_share,
    conversations,
    kept,
    mixed,
    p99_of,
    tokens_while_both_wait,
)
from parallax.broker.store.results import Record
from parallax.lab.report import machine, publish
from parallax.producers.client.client import Client
from parallax.producers.client.completion import Completion
from parallax.producers.load.drive import Run
from parallax.producers.load.live import Live
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
from parallax.sim.calibration.loads import body_of
from parallax.sim.timed import Timed
from tests import llama

CLOCK = SystemClock()
SERVERS, LAYERS = 3, 2
#: An attempt that waits at a busy worker hides a round trip and costs who comes next its time.
NONE_AHEAD = ("--set", "gate.prefetch=0")
Figures = dict[str, object]
Floors = dict[str, bool]


@dataclass(slots=True)
class Servers:
    """Running servers, and one after another their processes."""

    ports: list[int]
    processes: list[subprocess.Popen[str]]


class Hearing(Client):
    """A client that notes whose pieces it heard."""

    heard: dict[str, set[int]]

    def news(self, block_ms: int) -> list[Completion]:
        """See `Client.news`."""
        notices = self.notices(block_ms)
        for notice in notices:
            if notice.word == "chunk":
                self.heard[notice.job_id].add(notice.piece.attempt)
        return Completion.told(notices)


@dataclass(slots=True)
class Listening(Live):
    """A run whose client notes whose pieces it heard."""

    heard: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def connect(self) -> Hearing:
        """See `Live.connect`."""
        client = Hearing(self.url, self.cell, shared_prefixes=True)
        client.heard = self.heard
        return client


@dataclass(frozen=True, slots=True)
class Lived:
    """What came of a load."""

    run: Run
    records: list[Record]
    heard: dict[str, set[int]]


@contextmanager
def servers(model: Path, count: int = SERVERS) -> Iterator[Servers]:
    """Run so many servers of a model."""
    with ExitStack() as running:
        started = [running.enter_context(llama.running(model)) for _ in range(count)]
        yield Servers([port for _, port in started], [process for process, _ in started])


def live(
    ports: Sequence[int], jobs: Sequence[Timed], *scheduler: str,
    weights: dict[str, float] | None = None, beside: Callable[[Listening, int], None] | None = None,
) -> Lived:  # fmt: skip
    """Run a load on Parallax in front of these servers."""
    own = [("--backend", f"http://127.0.0.1:{port}/v1,kind=llamacpp") for port in ports]
    plan = Plan(len(ports), 1, (), scheduler, backends=own)
    with System(plan, CLOCK, ephemeral=True, logs=Path(os.devnull)) as system:
        bodies = {job.id: body_of(job, full_length=True) for _, job in jobs}
        listening = Listening(
            system.url, "main", CLOCK, system, weights=weights or {}, bodies=bodies
        )
        if beside is not None:
            told = beside
            listening.progress = lambda text: told(listening, _offered(text))
        run = listening.run(jobs)
        client = Client(system.url)
        records = [r for r in client.records([job.id for _, job in jobs]) if r is not None]
        client.close()
    return Lived(run, records, listening.heard)


def _offered(text: str) -> int:
    """Return how many jobs a run's progress says were offered."""
    return int(text.split()[1].replace(",", ""))


def affinity(model: Path) -> tuple[Figures, Floors]:
    """Compare what engines find in their caches."""
    found: dict[str, tuple[float, float]] = {}
    for name, count, policy in (
        ("single", 1, ()), ("round_robin", SERVERS, ("--routing", "round_robin")),
        ("default", SERVERS, ()),
    ):  # fmt: skip
        with servers(model, count) as fleet:
            done = live(fleet.ports, conversations(name, 6, 5, 2.0), *policy)
        first = [r.ttft_s for r in done.records if r.ttft_s is not None]
        found[name] = cached_share(done.records), mean(first)
    single, default = found["single"][0], found["default"][0]
    figures: Figures = {
        f"{name}_{what}": round(value, 4)
        for name, pair in found.items()
        for what, value in zip(("cached", "ttft_mean_s"), pair, strict=True)
    }
    return figures, {
        "default: cached >= 90 % of a single server's": default >= 0.9 * single,
        "the control: round robin finds less": found["round_robin"][0] < 0.9 * single,
        "default: first tokens sooner than round robin's": found["default"][1]
        < found["round_robin"][1],
    }


def crash(model: Path) -> tuple[Figures, Floors]:
    """Kill a server in the middle of a load."""
    jobs = mixed("crash", 120, 0.1)
    with servers(model) as fleet:
        victim = fleet.processes[1]

        def kill(_: Listening, offered: int) -> None:
            if offered >= len(jobs) // 2 and victim.poll() is None:
                victim.kill()

        done = live(fleet.ports, jobs, beside=kill)
        killed = victim.poll() is not None
    told = {name: sample.told for name, sample in done.run.samples.items()}
    judged = kept([job for _, job in jobs], done.records, told, done.heard)
    return asdict(judged), {
        "nothing lost, answered twice or ended with an error before its first token": judged.kept,
        "a server was killed, and that was felt": killed and judged.felt,
    }


def weights(model: Path) -> tuple[Figures, Floors]:
    """Let two tenants with a backlog share the engines 4:1."""
    jobs = backlog("weights", {"heavy": 240, "light": 120})
    with servers(model) as fleet:
        done = live(fleet.ports, jobs, weights={"heavy": 4.0, "light": 1.0})
    ratio = tokens_while_both_wait(done.records, "heavy", "light")
    return (
        {"heavy_over_light_tokens": round(ratio, 3)},
        {"4:1 holds in engine tokens within 5 %": abs(ratio / 4.0 - 1.0) <= 0.05},
    )


def flood(model: Path) -> tuple[Figures, Floors]:
    """Let a neighbour send everything at once."""
    gap_s, victim, busy_s = 0.4, 24, 0.08
    steady = [n * busy_s for n in range(int(victim * gap_s / busy_s))]
    at_once = [0.0] * 2 * len(steady)
    found = {}
    for name, times, policy in (
        ("steady", steady, ()), ("flooded", at_once, ()),
        ("flooded_fifo", at_once, ("--fairness", "fifo")),
    ):  # fmt: skip
        with servers(model) as fleet:
            done = live(fleet.ports, beside(name, victim, gap_s, times), *NONE_AHEAD, *policy)
        found[name] = p99_of(done.records, "victim")
    moved, control = found["flooded"] / found["steady"], found["flooded_fifo"] / found["steady"]
    figures: Figures = {f"{name}_p99_s": round(p99, 3) for name, p99 in found.items()}
    figures |= {"moved": round(moved, 2), "moved_fifo": round(control, 2)}
    return figures, {"a flood moves another's p99 by < 2x": moved < 2.0,
                     "the control: under fifo by > 10x": control > 10.0}  # fmt: skip


PARTS: dict[str, Callable[[Path], tuple[Figures, Floors]]] = {
    "affinity": affinity, "crash": crash, "weights": weights, "flood": flood,
}  # fmt: skip


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run these parts.")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False),
              help="Write all figures here, too.")  # fmt: skip
def main(only: tuple[str, ...], file: Path | None) -> None:
    """Measure against three real llama.cpp servers. Exits with 3 if a promise was missed."""
    figures: Figures = {}
    floors: Floors = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "random.gguf"
        llama.write_model(model, LAYERS)
        for name in only or PARTS:
            began = CLOCK.monotonic()
            found, met = PARTS[name](model)
            found["seconds"] = round(CLOCK.monotonic() - began, 1)
            figures[name] = found
            floors |= {f"{name}: {what}": held for what, held in met.items()}
            click.echo(f"{name}: {found}", err=True)
    figures["load_average"] = round(os.getloadavg()[0], 1)
    if file is not None:
        told = {**figures, "met": floors, "machine": machine()}
        file.write_text(json.dumps(told, indent=2) + "\n")
    rows = [(what, "yes" if held else "no") for what, held in floors.items()]
    publish("Three llama.cpp servers", ("promise", "kept"), rows, figures, floors)


if __name__ == "__main__":
    main()
