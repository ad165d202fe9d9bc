"""A client that waits and one that awaits do the same, and fail alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from parallax import Client, Completion, Job, NotCompleted, Outcome, Refused, TimedOut, Unreachable
from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.relay import Chunk
from parallax.core.errors import BrokenAnswer, Conflict, InvalidInput
from tests.asynchronous import ClientOverAsync
from tests.contract.conftest import Cell, report
from tests.waiting import wait_until

KINDS = [Client, ClientOverAsync]
STREAMING = [kind for kind in KINDS if hasattr(kind, "stream")]
LIMITS = Limits(max_depth=3)


@pytest.fixture
def cell(embedded_url: str) -> Iterator[Cell]:
    """A cell whose jobs are walked through their lives by hand."""
    link = Link.to(embedded_url)
    cell = Cell(link, Keys("cell"), LIMITS)
    cell.join()
    yield cell
    link.close()


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, embedded_url: str, cell: Cell) -> Iterator[Any]:
    with request.param(embedded_url, "cell", LIMITS) as client:
        yield client


@pytest.fixture(params=STREAMING)
def streaming(request: pytest.FixtureRequest, embedded_url: str, cell: Cell) -> Iterator[Any]:
    with request.param(embedded_url, "cell", LIMITS) as client:
        yield client


def small(tenant: str = "acme", max_tokens: int = 20, **fields: Any) -> Job:
    return Job(tenant=tenant, prompt_tokens=10, max_tokens=max_tokens, output_tokens=5, **fields)


def beside(work: Callable[[], Any]) -> Future[Any]:
    """Begin some work in a thread of its own."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is asked for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def begin(cell: Cell, job: Job) -> Any:
    """Bring a job that is about to be submitted to a worker; return its attempt."""
    wait_until(lambda: cell.state(job) == "queued", f"{job.id} to be accepted")
    holder = cell.link.call("HGET", cell.keys.job(job.id), "at").decode().split(" ")[1]
    assert cell.route(job, holder.split("/")[2], cell.lead()) == "ok"
    (running, *_), *_ = cell.attempts().begin(
        [decode_assignment(cell.entries()[-1])], with_bodies=True
    )
    return running


def finish(cell: Cell, attempt: Any, verdict: str = "completed", answer: bytes = b"") -> None:
    end = Finish(attempt, verdict, report(attempt), answer)
    assert cell.attempts().finish([end])[0][0] in {"ok", "again"}


def served(cell: Cell, *jobs: Job, answer: bytes = b"") -> None:
    for job in jobs:
        finish(cell, begin(cell, job), answer=answer)


# -- submitting, waiting, looking


def test_one_job_or_many_are_run_and_told_in_their_order(cell: Cell, client: Any) -> None:
    one, many = small(), [small(tenant=f"t{n}") for n in range(3)]
    single, several = beside(lambda: client.run(one)), beside(lambda: client.run(many))
    served(cell, *reversed(many), one)
    completion = single.result(30)
    assert isinstance(completion, Completion)
    completion.raise_for_outcome()
    assert completion.report.output_tokens == 5
    assert [ended.job_id for ended in several.result(30)] == [job.id for job in many]


def test_jobs_are_waited_for_by_name_by_job_and_by_receipt(cell: Cell, client: Any) -> None:
    jobs = [small() for _ in range(3)]
    receipts = client.submit(jobs)
    assert [receipt.job_id for receipt in receipts] == [job.id for job in jobs]
    served(cell, *jobs)
    for one, named in zip(jobs, (jobs[0].id, jobs[1], receipts[2]), strict=True):
        assert [ended.job_id for ended in client.wait(named, timeout_s=30.0)] == [one.id]
    assert list(client.wait([], timeout_s=30.0)) == []


def test_an_id_twice_is_one_job_and_with_another_content_a_conflict(client: Any) -> None:
    job = small()
    assert [client.submit(job).word for _ in range(2)] == ["ok", "dup"]
    receipts = client.submit([small(id=job.id, max_tokens=9), small(id="other"), small(id="other")])
    assert [receipt.word for receipt in receipts] == ["conflict", "ok", "dup"]
    assert isinstance(receipts[0].error(), Conflict)
    with pytest.raises(Conflict):
        client.run(small(id=job.id, max_tokens=9), timeout_s=30.0)


def test_what_is_refused_says_so_and_is_offered_again_for_as_long_as_asked(
    cell: Cell, client: Any
) -> None:
    waiting = [small() for _ in range(3)]
    client.submit(waiting)
    assert isinstance(client.submit(small()).error(), Refused)
    with pytest.raises(Refused):
        client.run(small(), timeout_s=30.0)
    late = small()
    offered = beside(lambda: client.submit(late, retry_refused_s=30.0))
    served(cell, *waiting)
    assert offered.result(30).accepted


def test_a_body_reaches_the_worker_and_its_answer_the_client(cell: Cell, client: Any) -> None:
    job, answer = small(), b"answer " * 1_000
    ended = beside(lambda: client.run([job], bodies={job.id: b"question"}))
    attempt = begin(cell, job)
    assert attempt.body == b"question"
    finish(cell, attempt, answer=answer)
    assert ended.result(30)[0].answer == answer


def test_a_long_answer_that_nobody_keeps_is_gone_once_its_client_has_it(
    cell: Cell, client: Any
) -> None:
    answers = {}
    for name in ("j1", "j2"):
        job = small(id=name)
        ran = beside(partial(client.run, job))
        finish(cell, begin(cell, job), answer=name.encode() * 2_000)
        answers[name] = ran.result().answer
    assert answers == {"j1": b"j1" * 2_000, "j2": b"j2" * 2_000}
    client.close()
    assert cell.link.call("KEYS", cell.keys.answer("*")) == []


def test_an_answer_that_is_kept_can_be_read_again(cell: Cell, client: Any) -> None:
    job = small(keep=True)
    client.submit(job)
    served(cell, job, answer=b"kept")
    if hasattr(client, "answers"):
        assert client.answers([job.id, "nobody"]) == [b"kept", None]


def test_records_say_where_jobs_are(cell: Cell, client: Any) -> None:
    job = small()
    client.submit(job)
    record, nobody = client.records([job.id, "nobody"])
    assert (record.job_id, record.outcome, nobody) == (job.id, None, None)
    served(cell, job)
    assert client.records([job.id])[0].outcome is Outcome.COMPLETED


@pytest.mark.sampled(1)
def test_cancelling_ends_what_has_not_ended(cell: Cell, client: Any) -> None:
    queued, running, ended = jobs = [small() for _ in range(3)]
    client.submit([ended, running, queued])
    served(cell, ended)
    begin(cell, running)
    words = [client.cancel(job.id) for job in (*jobs, queued)] + [client.cancel("nobody")]
    assert words == ["ok", "ok", "late", "ok", "unknown"]
    told = {one.job_id: one.outcome for one in client.wait(jobs, timeout_s=30.0)}
    assert told[queued.id] is told[running.id] is Outcome.CANCELLED
    with pytest.raises(NotCompleted, match="cancelled"):
        client.run(queued).raise_for_outcome()


def test_weights_are_set_and_checked(cell: Cell, client: Any) -> None:
    client.set_weights({"acme": 4.0})
    assert cell.link.call("HGET", cell.keys.tenants, "acme") == b"4.0"
    client.set_weights({})
    with pytest.raises(InvalidInput, match="weight"):
        client.set_weights({"acme": 0.0})


@pytest.mark.parametrize("ask", [lambda c: c.cancel("a b"), lambda c: c.records(["a b"])])
def test_bad_names_are_refused_at_the_door(client: Any, ask: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidInput, match="job id"):
        ask(client)


# -- what goes wrong


def test_nobody_waits_for_ever(client: Any) -> None:
    with pytest.raises(TimedOut, match=r"no news for 0\.01 s of 2 jobs"):
        client.run([small(), small()], timeout_s=0.01)
    assert list(client.wait("nobody", timeout_s=0.01)) == []


@pytest.mark.sampled(1)
def test_a_lost_hint_delays_an_end_and_never_loses_it(cell: Cell, client: Any) -> None:
    job = small(keep=True)
    client.submit(job)
    attempt = begin(cell, job)
    finish(cell, attempt, answer=b"kept")
    cell.link.call("DEL", cell.keys.out(client.inbox))
    (ended,) = client.wait(job, timeout_s=30.0)
    assert ended.outcome is Outcome.COMPLETED
    assert ended.answer == (b"kept" if hasattr(client, "answers") else b"")


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_away_is_unreachable(kind: Any) -> None:
    with kind("redis://127.0.0.1:1", "cell") as client:
        for ask in (client.ping, lambda: client.records(["j"]), lambda: client.submit(small())):
            with pytest.raises(Unreachable):
                ask()


def test_the_inbox_is_dropped_at_the_end(cell: Cell, client: Any) -> None:
    job = small()
    client.submit(job)
    served(cell, job)
    assert cell.link.call("EXISTS", cell.keys.out(client.inbox)) == 1
    client.close()
    assert cell.link.call("EXISTS", cell.keys.out(client.inbox)) == 0


# -- answers as they are made


def relay(cell: Cell, attempt: Any, *pieces: tuple[int, bytes]) -> None:
    chunks = [Chunk(attempt, sequence, data) for sequence, data in pieces]
    assert set(cell.attempts().relay(chunks)) == {"ok"}


def streamed(client: Any, job: Job) -> tuple[Any, Future[list[bytes]], list[bytes]]:
    """Begin to read a job's answer; return the stream, its end, and what came until now."""
    came: list[bytes] = []
    holder: list[Any] = []

    def read() -> list[bytes]:
        holder.append(client.stream(job, b"question", timeout_s=30.0))
        came.extend(holder[0])
        return came

    return holder, beside(read), came


def test_chunks_come_in_order_each_once_and_then_the_end(cell: Cell, streaming: Any) -> None:
    job = small()
    holder, ended, came = streamed(streaming, job)
    attempt = begin(cell, job)
    assert attempt.body == b"question"
    assert attempt.stream
    relay(cell, attempt, (0, b"a"), (1, b"b"))
    wait_until(lambda: came == [b"a", b"b"], "the first chunks to be read")
    relay(cell, attempt, (1, b"b"), (2, b"c\r\n \x00"))
    finish(cell, attempt)
    assert ended.result(30) == [b"a", b"b", b"c\r\n \x00"]
    assert holder[0].completion.report.output_tokens == 5


def test_a_gap_is_an_error_and_never_silence(cell: Cell, streaming: Any) -> None:
    job = small()
    _, ended, _ = streamed(streaming, job)
    attempt = begin(cell, job)
    relay(cell, attempt, (0, b"a"), (2, b"c"))
    with pytest.raises(BrokenAnswer, match=f"job {job.id}"):
        ended.result(30)


def test_an_answer_without_any_of_its_chunks_is_an_error(cell: Cell, streaming: Any) -> None:
    job = small()
    _, ended, _ = streamed(streaming, job)
    finish(cell, begin(cell, job))
    with pytest.raises(BrokenAnswer, match="none of its 5 tokens came"):
        ended.result(30)


def test_a_stream_whose_job_did_not_complete_says_how_it_ended(cell: Cell, streaming: Any) -> None:
    job = small()
    _, ended, _ = streamed(streaming, job)
    attempt = begin(cell, job)
    relay(cell, attempt, (0, b"a"))
    assert streaming.cancel(job.id) == "ok"
    with pytest.raises(NotCompleted, match="cancelled"):
        ended.result(30)


def test_whoever_leaves_a_stream_cancels_its_job(cell: Cell, streaming: Any) -> None:
    job = small()
    stream: Future[Any] = Future()

    def first() -> bytes:
        stream.set_result(streaming.stream(job))
        chunk: bytes = next(stream.result())
        return chunk

    came = beside(first)
    attempt = begin(cell, job)
    relay(cell, attempt, (0, b"a"))
    assert came.result(30) == b"a"
    stream.result().close()
    wait_until(lambda: cell.state(job) == "cancelled", "the job to be cancelled")


def test_a_stream_of_a_job_that_is_refused_says_so(cell: Cell, streaming: Any) -> None:
    streaming.submit([small() for _ in range(3)])
    with pytest.raises(Refused):
        next(streaming.stream(small()))
