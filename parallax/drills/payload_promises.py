"""The promises about what jobs carry: bodies, answers, and answers in pieces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from parallax.core.lifecycle import Outcome
from parallax.drills.evidence import Evidence
from parallax.drills.registry import invariant, lines_of

AttemptKey = tuple[str, str, int]  # a worker, a job, and the number of its attempt


@invariant("I21", "what a worker reads is the body that was submitted")
def _(evidence: Evidence) -> Iterator[str]:
    for line in lines_of(evidence, "began"):
        name, read = line["job"], line.get("body", "")
        if name not in evidence.bodies:
            continue
        if read and read != evidence.bodies[name]:
            yield f"{line['worker']} read another body of {name} than was submitted"
        if line.get("bytes") == 0:
            yield f"{line['worker']} was told that {name} has no body"


@invariant("I22", "the answer that is told, or kept, is what the winner sent")
def _(evidence: Evidence) -> Iterator[str]:
    sent = {
        (line["worker"], line["job"], line["attempt"]): line.get("answer", "")
        for line in lines_of(evidence, "asked")
        if line["verdict"] == "completed"
    }
    for name, told in evidence.answers.items():
        if name in evidence.streams:
            yield f"{name} streams, and its answer was told whole"
        elif told != sent.get(_winner(evidence, name), ""):
            details = _asked(evidence, name)
            yield f"the answer of {name} ({told}) is not what its winner sent{details}"
    for name in evidence.told:
        place = _winner(evidence, name)
        if sent.get(place) and name not in evidence.answers and name not in evidence.streams:
            yield f"{name} was told to have ended, without the answer that its winner sent"
    for name, kept in evidence.kept.items():
        answer = sent.get(_winner(evidence, name), "")
        if kept != answer:
            yield f"the answer of {name} that is kept is not what its winner sent"


@invariant("I23", "an answer in pieces is of one attempt, in order, and whole if the job completed")
def _(evidence: Evidence) -> Iterator[str]:
    sent: dict[AttemptKey, dict[int, str]] = defaultdict(dict)
    for line in lines_of(evidence, "relayed"):
        sent[line["worker"], line["job"], line["attempt"]][line["sequence"]] = line["piece"]
    by_job: dict[str, set[AttemptKey]] = defaultdict(set)
    for place in sent:
        by_job[place[1]].add(place)
    for name, heard in evidence.pieces.items():
        if heard.wrong:
            yield f"{name}: {heard.wrong}"
        whole = [
            place
            for place in by_job[name]
            if place[2] == heard.order.attempt and _begins(sent[place], heard.pieces)
        ]
        if not whole:
            told = f"{len(heard.pieces)} pieces of attempt {heard.order.attempt}"
            yield f"{name} was told {told} that no worker sent in that order{_sent(sent, name)}"
    for name in evidence.streams:
        place = _winner(evidence, name)
        heard_of = evidence.pieces.get(name)
        count = len(heard_of.pieces) if heard_of else 0
        if place[1] and evidence.told.get(name) and count != len(sent.get(place, {})):
            yield f"{name} completed after {count} of {len(sent.get(place, {}))} pieces"


def _asked(evidence: Evidence, name: str) -> str:
    """Describe the payload of a job, for the reader of a report."""
    ends = [line for line in lines_of(evidence, "asked") if line["job"] == name]
    ends_ = [f"{e['worker']}/{e['attempt']} {e['verdict']} {e.get('answer', '')}" for e in ends]
    return f"; winner {_winner(evidence, name)[::2]}, sent: {', '.join(ends_)}"


def _sent(sent: Mapping[AttemptKey, Mapping[int, str]], name: str) -> str:
    """Describe the payload of a job, for the reader of a report."""
    places = [f"{place[0]}/{place[2]}: {len(sent[place])}" for place in sent if place[1] == name]
    return f" (sent: {', '.join(places)})" if places else ""


def _begins(sent: dict[int, str], pieces: list[str]) -> bool:
    return all(sent.get(n) == piece for n, piece in enumerate(pieces))


def _winner(evidence: Evidence, name: str) -> AttemptKey:
    """Return the attempt that completed a job; names of nobody if none did."""
    record = evidence.records.get(name)
    if record is None or record.outcome is not Outcome.COMPLETED:
        return "", "", 0
    return record.report.worker, name, record.report.attempt
