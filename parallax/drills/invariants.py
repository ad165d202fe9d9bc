"""The promises as functions of the evidence: each returns the sentences that say how it is broken.

Pure, so that it can be tested like anything else: for every promise there is evidence that breaks
it. An operation without an answer may have happened or not; both are legal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from parallax.core.lifecycle import Outcome
from parallax.core.model import USUAL_ATTEMPTS
from parallax.drills.contention import WEIGHTS
from parallax.drills.evidence import Evidence
from parallax.drills.registry import INVARIANTS, invariant, lines_of, violations
from parallax.drills.stage import POISON

__all__ = ["INVARIANTS", "violations"]

#: How far what is computed for backlogged tenants may stray from their weights, and what they are
#: charged from what is computed; engines' time says less, for jobs are of many kinds.
SHARE, CHARGE, TIME = 0.15, 0.15, 1.0
#: No scheduler, worker or gateway holds more memory than this (MB), nor grows by more in
#: half of its life.
MOST_MB, GROWTH_MB, LIFE_S = 500.0, 64.0, 45.0
_ENDS = tuple(outcome.value for outcome in Outcome)


@invariant("I1", "every accepted job has a terminal record")
def _(evidence: Evidence) -> Iterator[str]:
    for name in sorted(evidence.accepted):
        record = evidence.records.get(name)
        if record is None:
            yield f"{name} was accepted and has no record"
        elif record.outcome is None:
            yield f"{name} is still {record.state}"


@invariant("I2", "a job has one end, and who waits for it is told once")
def _(evidence: Evidence) -> Iterator[str]:
    winners: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for line in lines_of(evidence, "answered"):
        if line["word"] == "ok":
            winners[line["job"]].add((line["worker"], line["attempt"]))
    for name, ends in winners.items():
        if len(ends) > 1:
            yield f"{name} was ended by {sorted(ends)}"
    for name, times in evidence.told.items():
        if times > 1:
            yield f"the end of {name} was told {times} times"


@invariant("I3", "the result is what the winner sent")
def _(evidence: Evidence) -> Iterator[str]:
    sent = {
        (line["worker"], line["job"], line["attempt"], line["tokens"])
        for line in lines_of(evidence, "asked")
    }
    for name, record in evidence.records.items():
        if record is None or record.outcome is not Outcome.COMPLETED:
            continue
        report = record.report
        if (report.worker, name, report.attempt, report.output_tokens) not in sent:
            yield f"{name} has a result that {report.worker} did not send"
        if (record.worker, record.attempts) != (report.worker, report.attempt):
            yield f"{name} was ended by {record.worker} with the result of {report.worker}"


@invariant("I4", "what completed was executed")
def _(evidence: Evidence) -> Iterator[str]:
    began = {(line["worker"], line["job"], line["attempt"]) for line in lines_of(evidence, "began")}
    for record in evidence.records.values():
        if record is None or record.outcome is not Outcome.COMPLETED:
            continue
        if (record.worker, record.job_id, record.attempts) not in began:
            yield f"{record.job_id} completed on {record.worker}, which never began it"


@invariant("I5", "streams are empty, and those of dead workers are gone")
def _(evidence: Evidence) -> Iterator[str]:
    yield from (f"{key}: {what}" for key, what in sorted(evidence.left.items()) if _stream(key))


@invariant("I7", "no body is left, and nothing stays for ever")
def _(evidence: Evidence) -> Iterator[str]:
    yield from (f"{key}: {what}" for key, what in sorted(evidence.left.items()) if not _stream(key))


def _stream(key: str) -> bool:
    return key.rpartition("}:")[2].partition(":")[0] in {"in", "work"}


@invariant("I6", "accepted = ended + open, and nothing is open")
def _(evidence: Evidence) -> Iterator[str]:
    counts = evidence.counts
    accepted, ended = counts.get("accepted", 0), sum(counts.get(word, 0) for word in _ENDS)
    if evidence.open_jobs:
        yield f"{evidence.open_jobs} jobs are open"
    if abs(accepted - ended - evidence.open_jobs) > evidence.excused:
        yield f"{accepted} were accepted, {ended} ended, {evidence.open_jobs} are open"


@invariant("I8", "nothing is repaired where nothing was destroyed, and nothing vanishes")
def _(evidence: Evidence) -> Iterator[str]:
    counts = evidence.counts
    if counts.get("vanished", 0) > evidence.excused:
        yield f"{counts['vanished']} records vanished"
    if counts.get("repaired", 0) and not evidence.destroyed:
        yield f"{counts['repaired']} jobs had to be repaired"


@invariant("I9", "an attempt begins on one worker only")
def _(evidence: Evidence) -> Iterator[str]:
    where: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in lines_of(evidence, "began"):
        where[line["job"], line["attempt"]].add(line["worker"])
    for (name, attempt), workers in where.items():
        if len(workers) > 1:
            yield f"attempt {attempt} of {name} began on {sorted(workers)}"


@invariant("I10", "a job kills no more workers than it has attempts")
def _(evidence: Evidence) -> Iterator[str]:
    deaths: dict[str, list[int]] = defaultdict(list)
    survived = {
        (line["worker"], line["job"], line["attempt"]) for line in lines_of(evidence, "asked")
    }  # handed back by one that was draining
    for line in lines_of(evidence, "began"):
        attempt = line["worker"], line["job"], line["attempt"]
        if line["job"].startswith(POISON) and attempt not in survived:
            deaths[line["job"]].append(line["attempt"])
    for name, attempts in deaths.items():
        if len(attempts) > USUAL_ATTEMPTS:
            yield f"{name} killed {len(attempts)} workers, in attempts {sorted(attempts)}"
    for name, record in evidence.records.items():
        otherwise = record is not None and record.outcome not in {Outcome.DEAD, None}
        if name.startswith(POISON) and otherwise:
            yield f"{name} ended otherwise than dead"


@invariant("I11", "a refused job has no record")
def _(evidence: Evidence) -> Iterator[str]:
    for name in sorted(evidence.refused - evidence.accepted - evidence.unknown):
        if evidence.records.get(name) is not None:
            yield f"{name} was refused and has a record"


@invariant("I12", "no tenant with jobs hears of no end for 20 s (in a small cell) while others do")
def _(evidence: Evidence) -> Iterator[str]:
    if evidence.longest_silence_s > evidence.floor_s:
        yield f"a tenant heard nothing for {evidence.longest_silence_s:.1f} s"


@invariant("I13", "what a worker reads never comes from an earlier leader than what it read before")
def _(evidence: Evidence) -> Iterator[str]:
    latest: dict[str, int] = defaultdict(int)
    for line in evidence.lines:
        if line["what"] == "restarted":
            latest.pop(line["worker"], None)  # a new stream, or the old one from its start
        if line["what"] != "read":
            continue
        worker, epoch = line["worker"], line["epoch"]
        if epoch < latest[worker]:
            yield f"{worker} read {line['job']} of leader {epoch} after leader {latest[worker]}"
        latest[worker] = max(latest[worker], epoch)


@invariant("I14", "no process outlives the drill")
def _(evidence: Evidence) -> Iterator[str]:
    if evidence.survivors:
        yield f"{evidence.survivors} processes are left"


@invariant("I15", "a job that is open has its body, byte for byte")
def _(evidence: Evidence) -> Iterator[str]:
    yield from evidence.misplaced


@invariant("I16", "every key in the store is one that a rule explains")
def _(evidence: Evidence) -> Iterator[str]:
    yield from (f"{key}: {what}" for key, what in sorted(evidence.unexplained.items()))


@invariant("I17", "whoever waits is told of every end")
def _(evidence: Evidence) -> Iterator[str]:
    for name in sorted(evidence.accepted):
        record = evidence.records.get(name)
        if record is not None and record.outcome is not None and not evidence.told.get(name):
            yield f"{name} ended as {record.outcome.value}, and nobody was told"


@invariant("I18", "what is computed for backlogged tenants follows their weights, come what may")
def _(evidence: Evidence) -> Iterator[str]:
    for window in evidence.windows:
        for what, used, most in (
            ("the computed cost", window.computed, SHARE),
            ("the time in engines", window.busy_s, TIME),
        ):
            per_weight = {name: used[name] / weight for name, weight in WEIGHTS.items()}
            low, high = min(per_weight.values()), max(per_weight.values())
            if high > (1 + most) * low:
                shares = ", ".join(f"{n} {value:.0f}" for n, value in per_weight.items())
                yield f"in {window.seconds:.0f} s {what} per weight was {shares}"


@invariant("I19", "what a tenant is charged is what was computed for it")
def _(evidence: Evidence) -> Iterator[str]:
    for window in () if evidence.untold or evidence.destroyed else evidence.windows:
        for name, computed in window.computed.items():
            charged = window.charged[name]
            allowed = CHARGE * max(charged, computed) + window.in_flight
            if abs(charged - computed) > allowed:
                what = f"{charged:.0f} for {computed:.0f}"
                yield f"{name} was charged {what} in {window.seconds:.0f} s"


@invariant("I20", f"no process grows for ever, or beyond {MOST_MB:g} MB")
def _(evidence: Evidence) -> Iterator[str]:
    for name, memory in evidence.memory.items():
        if memory.most > MOST_MB:
            yield f"{name} held {memory.most:.0f} MB"
        if memory.seconds > LIFE_S and memory.late > memory.early * 1.25 + GROWTH_MB:
            yield f"{name} grew from {memory.early:.0f} to {memory.late:.0f} MB"


from parallax.drills import gateway_promises, payload_promises  # noqa: E402, F401 - they add theirs
