"""The promises to whoever asks a gateway over HTTP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from parallax.core.lifecycle import Outcome
from parallax.drills.evidence import Evidence
from parallax.drills.exchanges import End, Exchange
from parallax.drills.gateways import DRAIN_S
from parallax.drills.registry import invariant, lines_of
from parallax.producers.gateway.problems import Code

#: How long after its client has left a job may still be open (seconds), on a machine that does not
#: stand still: for as long as the store may be away, or the line to it, and a little longer. The
#: answers of such jobs take twice the time.
LEFT_S = 10.0
#: How long after a job has ended its gateway may not know (seconds).
TOLD_S = 15.0
#: How long after a gateway was killed a connection may be seen to be cut (seconds).
_SEEN_S = 0.5

AttemptKey = tuple[str, str, int]  # a worker, a job, and the number of its attempt


@invariant("I24", "who asks a gateway gets one whole answer or one clear error; a gateway that was "
           "killed cuts the connection")  # fmt: skip
def _(evidence: Evidence) -> Iterator[str]:
    for one in evidence.exchanges:
        if one.wrong:
            yield f"{_named(one)} was answered {one.wrong}"
        elif one.end is End.LATE:
            yield f"{_named(one)} was not answered in {one.ended - one.began:.0f} s"
        elif one.end is End.CUT and not _excused(evidence, one):
            took = f"after {one.ended - one.began:.1f} s, status {one.status or 'none'}"
            yield f"{_named(one)} was cut off {took}, and nobody had killed its gateway"


@invariant("I25", "an answer over HTTP is to what was asked")
def _(evidence: Evidence) -> Iterator[str]:
    read = _read(evidence)
    for one in evidence.exchanges:
        if one.foreign:
            yield f"{_named(one)}: {one.foreign}"
        answered = one.job if one.answer or one.pieces else ""
        if answered and one.body and read.get(answered, one.body) != one.body:
            yield f"{_named(one)} has the answer of {answered}, which was asked something else"
        if answered and evidence.fronts.get(answered, one.wish) != one.wish:
            yield f"{_named(one)} has the answer of {answered}, a job of another request"


@invariant("I26", "an answer over HTTP is of one attempt, and all of it is what its worker sent")
def _(evidence: Evidence) -> Iterator[str]:
    sent: dict[AttemptKey, dict[int, str]] = defaultdict(dict)
    for line in lines_of(evidence, "relayed"):
        sent[line["worker"], line["job"], line["attempt"]][line["sequence"]] = line["piece"]
    streams: dict[str, list[list[str]]] = defaultdict(list)
    for (_, job, _), pieces in sent.items():
        streams[job].append([pieces[n] for n in sorted(pieces)])
    whole = {
        (line["job"], line.get("answer", ""))
        for line in lines_of(evidence, "asked")
        if line["verdict"] == "completed"
    }
    for one in evidence.exchanges:
        if one.answer and (one.job, one.answer) not in whole:
            yield f"{_named(one)} has an answer that no worker sent for {one.job}"
        got = list(one.pieces)
        if got and not any(_holds(pieces, got, one.end) for pieces in streams[one.job]):
            lengths = [len(pieces) for pieces in streams[one.job]]
            yield f"{_named(one)} has {len(got)} pieces of {one.job}, of which were sent {lengths}"


@invariant("I27", "a request is one job, and so is what is asked again under an Idempotency-Key")
def _(evidence: Evidence) -> Iterator[str]:
    jobs = _jobs(evidence)
    keyed = {one.wish for one in evidence.exchanges if one.keyed}
    for wish in sorted({one.wish for one in evidence.exchanges if not one.sent} & set(jobs)):
        yield f"{wish} was sent in part, and became {sorted(jobs[wish])[:3]}"
    for wish, names in jobs.items():
        completed = [name for name in names if _outcome(evidence, name) is Outcome.COMPLETED]
        if len(names) > 1 and wish not in keyed:
            yield f"{wish} was one request, and became {len(names)} jobs: {sorted(names)[:3]}"
        elif len(completed) > 1:
            yield f"{wish} was asked under one key, and completed as {sorted(completed)}"
    yield from _differing(evidence)


def _differing(evidence: Evidence) -> Iterator[str]:
    answers: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for one in evidence.exchanges:
        if one.keyed and one.answer:
            answers[one.wish].add((one.job, one.answer))
    for wish, different in answers.items():
        if len(different) > 1:
            yield f"{wish} was asked under one key, and had {len(different)} answers"


@invariant("I28", "a job that a gateway submitted has one end, and whoever waits there is told")
def _(evidence: Evidence) -> Iterator[str]:
    for job in sorted(evidence.fronts):
        record = evidence.records.get(job)
        if record is None:
            yield f"{job} has no record any more"
        elif record.outcome is None:
            yield f"{job} is still {record.state}"
    for one in evidence.exchanges:
        if one.end is not End.WHOLE or not one.job:
            continue
        if _outcome(evidence, one.job) is not Outcome.COMPLETED:
            yield f"{_named(one)} has the answer of {one.job}, which did not complete"
    yield from _untold(evidence)


def _untold(evidence: Evidence) -> Iterator[str]:
    jobs = _jobs(evidence)
    for one in evidence.exchanges:
        if one.code != Code.TIMED_OUT or one.keyed:
            continue
        for job in jobs.get(one.wish, ()):
            record = evidence.records.get(job)
            if record is None or record.finished is None:
                continue
            late = one.ended - record.finished
            if late > TOLD_S + 3 * evidence.lag_s and not _disturbed(evidence, one, one.ended):
                yield f"{_named(one)} was told nothing, {late:.0f} s after {job} had ended"


@invariant("I29", f"a client that leaves takes its job along: it has ended {LEFT_S:g} s later")
def _(evidence: Evidence) -> Iterator[str]:
    jobs = _jobs(evidence)
    for one in evidence.exchanges:
        if one.end is not End.LEFT or one.keyed:
            continue
        for job in jobs[one.wish]:
            record = evidence.records.get(job)
            if record is None or record.finished is None:
                continue  # another promise
            late = record.finished - max(one.ended, record.accepted)
            if late > LEFT_S + 3 * evidence.lag_s and not _disturbed(
                evidence, one, record.finished
            ):
                yield f"{_named(one)} was left, and {job} went on for {late:.0f} s"


@invariant("I30", "of what gateways submitted no body is left, and no answer that is not asked for")
def _(evidence: Evidence) -> Iterator[str]:
    for job in sorted(evidence.bodies_left):
        if _outcome(evidence, job) is not Outcome.DEAD:  # a dead letter keeps its body for a while
            yield f"{job} has ended, and its body is left"
    asked: dict[str, list[Exchange]] = defaultdict(list)
    for one in evidence.exchanges:
        asked[one.wish].append(one)
    for job in sorted(evidence.answers_left):
        exchanges = asked[evidence.fronts.get(job, "")]
        if not any(one.keyed or _gone(evidence, one) for one in exchanges):
            yield f"{job} was answered, and its answer is left"


def _named(one: Exchange) -> str:
    return f"{one.wish} (of {one.gateway}{', a stream' if one.stream else ''})"


def _jobs(evidence: Evidence) -> Mapping[str, list[str]]:
    """Return the jobs of each wish."""
    found: dict[str, list[str]] = defaultdict(list)
    for job, wish in evidence.fronts.items():
        found[wish].append(job)
    return found


def _outcome(evidence: Evidence, job: str) -> Outcome | None:
    record = evidence.records.get(job)
    return None if record is None else record.outcome


def _read(evidence: Evidence) -> Mapping[str, str]:
    """Return the digest of what workers read of each job."""
    return {line["job"]: line["body"] for line in lines_of(evidence, "began") if line.get("body")}


def _holds(pieces: list[str], got: list[str], end: End) -> bool:
    """Whether a client got what one attempt sent, from its start, and all of it if it is whole."""
    return pieces == got if end is End.WHOLE else pieces[: len(got)] == got


def _excused(evidence: Evidence, one: Exchange) -> bool:
    """Whether a connection was cut by a gateway that was killed, or that was told to stop.

    A gateway that was told to stop answers what it has read, and for a while waits for jobs that
    take longer; it had read each request that had become a job by then. Connections that the system
    had accepted for it meanwhile are cut when it closes its socket, on a full machine late.
    """
    for trouble in evidence.troubles:
        if trouble.gateway != one.gateway or trouble.word == "paused":
            continue
        stopping_s = DRAIN_S if trouble.word == "stopped" else 0.0
        if one.began - _SEEN_S - stopping_s <= trouble.at <= one.ended + _SEEN_S and (
            trouble.word == "killed" or not _submitted(evidence, one, trouble.at)
        ):
            return True
        if trouble.word == "stopped" and one.ended >= trouble.at + DRAIN_S - _SEEN_S > one.began:
            return True
    return False


def _submitted(evidence: Evidence, one: Exchange, at: float) -> bool:
    """Whether the job of a request was there at this time."""
    own = (evidence.records.get(job) for job, wish in evidence.fronts.items() if wish == one.wish)
    return any(record is not None and record.accepted < at for record in own)


def _gone(evidence: Evidence, one: Exchange) -> bool:
    """Whether the gateway that was asked is not there any more."""
    ends = (t for t in evidence.troubles if t.gateway == one.gateway and t.word != "paused")
    return any(trouble.at >= one.began - _SEEN_S for trouble in ends)


def _disturbed(evidence: Evidence, one: Exchange, until: float) -> bool:
    """Whether the gateway of a client that left could not notice, or do anything about it."""
    return any(
        t.gateway == one.gateway and t.at <= until and t.until >= one.began
        for t in evidence.troubles
    )
