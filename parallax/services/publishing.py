"""The leader tells everybody who looks what it sees: once a second, less often where all is quiet.

What is told is a hint: nothing is decided by it, so that it is late, or missing at a full server,
harms nobody. Only who leads can write it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.figures import (
    VERSION,
    Event,
    Figures,
    InForce,
    Sample,
    TenantFigures,
    WorkerFigures,
    decode_counts,
    decode_figures,
    publish,
)
from parallax.broker.store.keys import Keys
from parallax.core.errors import ParallaxError, StoreFault, StoreFull
from parallax.core.sketch import Sketch
from parallax.scheduling.snapshot import Snapshot
from parallax.services.decisions import Decisions
from parallax.services.policy_watch import PolicyWatch
from parallax.telemetry.pulse import (
    LATENCIES,
    OTHERS,
    SLOT_S,
    SLOTS,
    Happening,
    Pulse,
    Served,
    Slot,
)

log = logging.getLogger(__name__)

#: How often it is told; and where nothing has happened since (seconds).
EVERY_S, QUIET_S = 1.0, 3.0

#: How old a sample of the totals is that short rates are made of, and long ones (seconds).
MOMENT_S, MINUTE_S = 5.0, SLOT_S * SLOTS

#: The samples beside the store's totals.
TOKENS = ("prompt_tokens", "output_tokens", "cached_tokens")

#: Most tenants, the busiest first, and most workers of which something is told.
TENANTS, WORKERS = 256, 500


class Publisher:
    """One for each term; its counters live longer, with the process."""

    def __init__(
        self, link: Link, keys: Keys, pulse: Pulse, decisions: Decisions | None = None
    ) -> None:
        self._link, self._keys, self._pulse = link, keys, pulse
        self._decisions = decisions or Decisions()
        self._since = 0.0  # of the term
        self._last = Sample()

    def begin(self, now: float, leader: str) -> None:
        """Go on from what another leader told last, if that was not long ago."""
        self._since = now
        self._pulse.now = now
        told = decode_figures(self._link.call("GET", self._keys.figures))
        if told is None or told.at == self._pulse.told_at:
            return  # there was none, or it was us
        if now - told.at < MINUTE_S:
            self._pulse.take_over(_minute(told), told.sums, _happenings(told))
            self._pulse.samples.clear()
            for sample in (told.minute, told.moment, told.latest):
                self._pulse.samples.append((sample.at, dict(sample.counts)))
        else:
            self._pulse.take_over(Slot(now), told.sums, _happenings(told))
        self._pulse.happened("leader_new", target=leader)

    def tell(
        self, lease: Lease, snapshot: Snapshot, policies: PolicyWatch,
        arms: Mapping[str, tuple[int, int]],
    ) -> None:  # fmt: skip
        """Tell everybody. Raises Fenced and Unreachable; what else fails stops no jobs."""
        try:
            self._tell(lease, snapshot, policies, arms)
        except (StoreFull, StoreFault) as error:
            log.warning("nothing is told to those who look just now: %s", error)
        except ParallaxError:
            raise
        except Exception:
            log.exception("what is seen here cannot be told")

    def _tell(
        self, lease: Lease, snapshot: Snapshot, policies: PolicyWatch,
        arms: Mapping[str, tuple[int, int]],
    ) -> None:  # fmt: skip
        pulse = self._pulse
        now = pulse.now
        counts = decode_counts(self._link.call("HGETALL", self._keys.counts))
        latest = Sample(now, counts | {name: pulse.sums[name] for name in TOKENS})
        samples = [Sample(at, counts) for at, counts in pulse.samples]
        moment = _sample_of(samples, now - MOMENT_S) or latest
        quiet = latest.counts == self._last.counts == moment.counts
        if quiet and not snapshot.running and now - self._last.at < QUIET_S:
            return
        pulse.samples.append((now, latest.counts))
        minute = pulse.minute()
        figures = Figures(
            VERSION, now, self._since, minute.since, latest, moment,
            _sample_of(samples, now - MINUTE_S) or latest, _whole(minute.counts),
            _whole(pulse.sums), {name: minute.latencies[name].pairs() for name in LATENCIES},
            _tenants(minute, snapshot), _workers(minute, snapshot),
            [InForce(kind, *chosen) for kind, chosen in sorted(policies.in_force().items())],
            policies.serial, dict(arms), _events(pulse.happenings()), snapshot.backlog_s,
            self._decisions.recent(),
        )  # fmt: skip
        publish(self._link, self._keys, lease, figures)
        self._last, pulse.told_at = latest, now


def _sample_of(samples: Sequence[Sample], at: float) -> Sample | None:
    """Return the oldest sample that is not older than that; None if there is none."""
    return next((sample for sample in samples if sample.at >= at), None)


def _whole(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count > 0}


def _tenants(minute: Slot, snapshot: Snapshot) -> list[TenantFigures]:
    """Return the busiest tenants: those that were served most, then those that have jobs."""
    busiest = sorted(minute.tenants.items(), key=lambda pair: -pair[1].cost)
    found = {name: served for name, served in busiest[:TENANTS] if name != OTHERS}
    for name in snapshot.running:
        if len(found) >= TENANTS:
            break
        found.setdefault(name, Served())
    return [
        TenantFigures(
            name, served.cost, served.completed, served.rejected, served.output_tokens,
            snapshot.running.get(name, 0), served.ttft.quantiles([0.95])[0],
        )
        for name, served in found.items()
    ]  # fmt: skip


def _workers(minute: Slot, snapshot: Snapshot) -> list[WorkerFigures]:
    found = []
    for name in list(snapshot.in_flight)[:WORKERS]:
        seen = minute.workers.get(name, Counter[str]())
        found.append(
            WorkerFigures(
                name, snapshot.in_flight[name], round(snapshot.slowness.get(name, 1.0), 3),
                seen["completed"], seen["hedged"], seen["stolen_from"], seen["stolen_to"],
            )
        )  # fmt: skip
    return found


def _events(happenings: Sequence[Happening]) -> list[Event]:
    return [
        Event(
            one.seq, one.at, one.kind, one.job, one.jobs, one.source, one.target, one.detail[:200]
        )
        for one in happenings
    ]


def _minute(told: Figures) -> Slot:
    """Return what another leader had counted as one slot: it goes when its oldest part must."""
    slot = Slot(told.since, Counter(told.tally))
    for name in LATENCIES:
        slot.latencies[name] = Sketch(told.latencies.get(name, ()))
    for one in told.tenants:
        served = slot.tenant(one.name)
        served.cost, served.completed, served.rejected = one.cost, one.completed, one.rejected
        served.output_tokens = one.output_tokens
    for other in told.workers:
        counts = {
            "completed": other.completed, "hedged": other.hedged,
            "stolen_from": other.stolen_from, "stolen_to": other.stolen_to,
        }  # fmt: skip
        slot.worker(other.name).update(counts)
    return slot


def _happenings(told: Figures) -> list[Happening]:
    return [
        Happening(one.seq, one.at, one.kind, one.job, one.jobs, one.source, one.target, one.detail)
        for one in told.events
    ]
