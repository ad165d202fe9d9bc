"""The live engines: the pure one on a clock, one that burns, and one that does nothing."""

from __future__ import annotations

import pytest

from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.engines.cpu import CpuEngine, calibrated
from parallax.consumers.engines.interface import Done, Engine, Event, Started
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.engines.registry import ENGINES, build_engine
from parallax.consumers.hosts import HandHost
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchEngine
from parallax.engine.profiles import PROFILES
from parallax.engine.request import Request

PROFILE = PROFILES["llama3-8b-a100"]


class Burner:
    """Burns units of work on a manual clock: `rate` of them in a millisecond."""

    def __init__(self, clock: ManualClock, rate: float) -> None:
        self.clock, self.rate, self.units = clock, rate, 0

    def __call__(self, units: int) -> None:
        self.units += units
        self.clock.wait(units / self.rate / 1000)


def hosted(engine: Engine, clock: ManualClock) -> HandHost:
    """Let an engine live in a host that is turned by hand."""
    host = HandHost(clock)
    engine.start(host)
    return host


def told(host: HandHost, clock: ManualClock) -> list[Event]:
    """Let time pass until there is nothing left to do; return what was told."""
    events: list[Event] = []
    while (due := host.next_due()) is not None:
        clock.wait(max(0.0, due - clock.monotonic()) + 1e-9)  # a real clock never stands still
        events += host.turn()
    return events


def ended(host: HandHost, clock: ManualClock) -> dict[str, Done]:
    """The same, but of ends only."""
    return {event.id: event for event in told(host, clock) if isinstance(event, Done)}


def modelled_ms(*requests: Request) -> dict[str, float]:
    pure = BatchEngine(PROFILE)
    for request in requests:
        pure.add(request)
    return {change.id: change.at_ms for change in pure.run_until(1e9) if change.finished}


@pytest.mark.parametrize("speed", [1.0, 5.0])
def test_the_clock_engine_takes_the_modelled_time_over_its_speed(speed: float) -> None:
    clock = ManualClock(1_000.0)
    engine = ClockEngine(PROFILE, speed, clock)
    host = hosted(engine, clock)
    requests = [Request(f"r{n}", "", 100 * n, 50, 10 + n) for n in range(5)]
    for request in requests:
        engine.add(request, clock.monotonic())
    done = ended(host, clock)
    for name, at_ms in modelled_ms(*requests).items():
        assert done[name].at - 1_000.0 == pytest.approx(at_ms / 1000 / speed)


def test_a_late_timer_does_not_lengthen_the_service() -> None:
    clock = ManualClock()
    engine = ClockEngine(PROFILE, 1.0, clock)
    host = hosted(engine, clock)
    engine.add(Request("r", "", 100, 50, 10), clock.monotonic())
    clock.wait(60.0)
    (first, *_, last) = host.turn()
    assert isinstance(first, Started)
    assert (
        first.at <= last.at == pytest.approx(modelled_ms(Request("r", "", 100, 50, 10))["r"] / 1e3)
    )


def test_an_idle_clock_engine_starts_when_work_comes() -> None:
    clock = ManualClock()
    engine = ClockEngine(PROFILE, 1.0, clock)
    host = hosted(engine, clock)
    clock.wait(30.0)
    engine.add(Request("r", "", 100, 50, 10), clock.monotonic())
    assert ended(host, clock)["r"].at > 30.0


def test_the_cpu_engine_burns_in_proportion_to_the_modelled_time() -> None:
    clock = ManualClock()
    burner = Burner(clock, rate=50.0)
    engine = CpuEngine(PROFILE, 1.0, clock, burner)
    assert engine.units_per_ms == pytest.approx(50.0)
    burner.units = 0
    host = hosted(engine, clock)
    request = Request("r", "", 100, 50, 10)
    engine.add(request, clock.monotonic())
    ended(host, clock)
    assert burner.units == pytest.approx(50.0 * modelled_ms(request)["r"], rel=0.01)


def test_calibration_is_the_median_of_a_noisy_machine() -> None:
    clock = ManualClock()
    rates = iter([10.0, 50.0, 50.0, 51.0, 500.0])

    def burner(units: int) -> None:
        clock.wait(units / next(rates) / 1000)

    assert calibrated(clock, burner) == pytest.approx(50.0)


def test_the_noop_engine_ends_everything_at_once() -> None:
    clock = ManualClock(7.0)
    engine = NoopEngine(2)
    host = hosted(engine, clock)
    for n in range(2):
        engine.add(Request(f"r{n}", "", 10, 5, 3), 7.0)
    assert host.turn() == [Done("r0", 7.0, 3, first_at=7.0), Done("r1", 7.0, 3, first_at=7.0)]
    assert host.next_due() is None


@pytest.mark.parametrize("kind", list(ENGINES))
def test_every_kind_is_built_and_says_what_it_is(kind: str) -> None:
    clock = ManualClock()
    if kind == "cpu":
        engine: Engine = CpuEngine(PROFILE, 1.0, clock, Burner(clock, 10.0))
    else:
        engine = build_engine(
            kind, profile="laptop", slots=3, speed=1.0, clock=clock, backend="http://127.0.0.1:9"
        )
        assert engine.slots == 3
    assert engine.name == kind
    assert ENGINES.summary(kind)
    assert all(isinstance(value, str | int | float) for value in engine.describe().values())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": "gpu"}, "--engine"), ({"profile": "x"}, "profile"), ({"speed": 0.0}, "--speed"),
        ({"speed": float("nan")}, "--speed"), ({"slots": 0}, "--slots"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_by_name(options: dict[str, object], field: str) -> None:
    given = {"kind": "noop", "profile": "laptop", "slots": None, "speed": 1.0} | options
    kind = str(given.pop("kind"))
    with pytest.raises(InvalidInput, match=field):
        build_engine(kind, clock=ManualClock(), **given)  # type: ignore[arg-type]
