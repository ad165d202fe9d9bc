"""The client as a program uses it: one job or many, several threads, refusals, and its address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallax import Client, Completion, Job, NotCompleted, Outcome, TimedOut, Unreachable
from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.server.secret_file import read_url
from parallax.broker.store.intake import Receipt
from parallax.broker.store.limits import Limits
from parallax.broker.store.results import Record
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput, Refused, StoreFault
from parallax.producers.client import address, mailbox
from parallax.producers.client.batches import MOST_BYTES, MOST_JOBS, batches
from parallax.producers.client.completion import Waiting
from parallax.producers.client.mailbox import Mailbox
from tests.integration.cells import Cell, StuckEngine

THREADS = 20


@pytest.fixture
def cell(embedded_url: str) -> Cell:
    cell = Cell(lambda: Link.to(embedded_url))
    cell.scheduler()
    return cell


@pytest.fixture
def client(embedded_url: str) -> Iterator[Client]:
    with Client(embedded_url, "cell") as client:
        yield client


def small(tenant: str = "acme", **fields: object) -> Job:
    return Job(tenant=tenant, prompt_tokens=10, max_tokens=20, output_tokens=5, **fields)  # type: ignore[arg-type]


def while_turning(cell: Cell, *tasks: Callable[[], Any]) -> list[Any]:
    """Run tasks in threads while this one turns the cell; return what they return."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(task) for task in tasks]
        cell.until(lambda: all(one.done() for one in running), "the clients to end")
    return [one.result() for one in running]


def test_a_job_has_an_id_of_its_own_and_offered_twice_is_one_job(client: Client) -> None:
    first, second = small(), small()
    assert first.id != second.id
    receipts = [client.submit(job) for job in (first, first, second)]
    assert [r.word for r in receipts] == ["ok", "dup", "ok"]
    assert [r.job_id for r in receipts] == [first.id, first.id, second.id]


@pytest.mark.parametrize("given", [{}, {"prompt_tokens": 1}, {"max_tokens": 1}])
def test_both_lengths_must_be_given(given: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=r"prompt_tokens|max_tokens"):
        Job(**given)  # type: ignore[arg-type]


def test_one_job_or_many_are_run_and_told_in_their_order(cell: Cell, client: Client) -> None:
    cell.worker()
    many = [small(f"t{n % 3}") for n in range(7)]
    one, several = while_turning(
        cell, lambda: client.run(small(session="s")), lambda: client.run(many)
    )
    assert isinstance(one, Completion)
    one.raise_for_outcome()
    assert one.report.output_tokens == 5
    assert isinstance(several, list)
    assert [ended.job_id for ended in several] == [job.id for job in many]


def test_jobs_are_waited_for_by_name_by_job_and_by_receipt(cell: Cell, client: Client) -> None:
    cell.worker()
    jobs = [small() for _ in range(3)]
    receipts = client.submit(jobs)
    cell.until_ended(*(job.id for job in jobs))
    assert [c.job_id for c in client.wait(jobs[0])] == [jobs[0].id]
    assert [c.job_id for c in client.wait(receipts[1])] == [jobs[1].id]
    assert [c.job_id for c in client.wait([jobs[2].id], 5.0)] == [jobs[2].id]


def test_what_did_not_complete_raises_when_it_is_asked_to(cell: Cell, client: Client) -> None:
    job = small()
    client.submit(job)
    assert client.cancel(job.id) == "ok"
    (ended,) = client.wait(job)
    assert ended.outcome is Outcome.CANCELLED
    with pytest.raises(NotCompleted, match=f"job {job.id}: cancelled"):
        ended.raise_for_outcome()


def test_nobody_waits_for_ever(client: Client) -> None:
    with pytest.raises(TimedOut, match=r"no news for 0\.01 s of 2 jobs"):
        client.run([small(), small()], timeout_s=0.01)


def test_threads_that_share_a_client_are_told_at_once(
    cell: Cell, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them has to look at records, which it would do after a second of silence."""
    looks: list[int] = []

    def seen(waiting: Waiting, missing: set[str]) -> list[Completion]:
        looks.append(len(missing))
        return []

    monkeypatch.setattr(Waiting, "_seen", seen)
    cell.worker()
    told = while_turning(cell, *[lambda: client.run(small(), timeout_s=60.0)] * THREADS)
    assert {ended.outcome for ended in told} == {Outcome.COMPLETED}
    assert len({ended.job_id for ended in told}) == THREADS


def test_what_came_before_anybody_asked_is_there(cell: Cell, client: Client) -> None:
    cell.worker()
    first, second = small(), small()
    client.submit([first, second])
    cell.until_ended(first.id, second.id)
    assert client.run([], timeout_s=1.0) == []
    assert [c.job_id for c in client.wait(second)] == [second.id]
    box = client._mailbox
    assert [c.job_id for c in box.take({first.id}, 0)] == [first.id]  # without asking Redis again


def test_ends_that_nobody_asks_for_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "KEPT", 3)
    came = [[Completion(f"j{n}", Outcome.COMPLETED) for n in range(10)], []]
    box = Mailbox(lambda _: came.pop(0))
    assert box.take({"none"}, 0) == []
    assert [c.job_id for c in box.take({"j0", "j7", "j9"}, 0)] in (["j7", "j9"], ["j9", "j7"])


def test_who_waits_for_a_reader_that_fails_reads_next() -> None:
    entered, go = threading.Event(), threading.Event()
    answers: list[object] = [Unreachable("gone"), [Completion("b", Outcome.COMPLETED)]]

    def news(_: int) -> list[Completion]:
        entered.set()
        assert go.wait(30)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    box = Mailbox(news)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(box.take, {"a"}, 60_000)
        assert entered.wait(30)
        second = pool.submit(lambda: box.take({"b"}, 60_000) or box.take({"b"}, 60_000))
        go.set()
        with pytest.raises(Unreachable):
            first.result(30)
        assert [c.job_id for c in second.result(30)] == ["b"]


# -- long lists -------------------------------------------------------------------------------


def test_a_long_list_goes_in_parts_that_redis_takes_quickly(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    do = client._link.do

    def noted(call: Call[Any]) -> Any:
        sizes.append(int(call.args[1]))
        return do(call)

    monkeypatch.setattr(client._link, "do", noted)
    jobs = [small() for _ in range(3 * MOST_JOBS + 1)]
    receipts = client.submit(jobs)
    assert [r.job_id for r in receipts] == [job.id for job in jobs]
    assert {r.word for r in receipts} == {"ok"}
    assert sizes == [MOST_JOBS] * 3 + [1]


def test_parts_are_bounded_in_bytes_too() -> None:
    jobs = [small() for _ in range(10)]
    bodies = {job.id: b"x" * (MOST_BYTES // 3) for job in jobs}
    parts = list(batches(jobs, bodies))
    assert [job for part in parts for job in part] == jobs
    assert max(len(part) for part in parts) == 2
    long = small(prefix=()), Job("l", "t", 16 * 16_384, 1, prefix=tuple(range(16_384)))
    assert len(list(batches([long[1]] * 8, {}))) == 3
    assert [len(part) for part in batches(jobs[:1], {jobs[0].id: b"x" * 2 * MOST_BYTES})] == [1]
    assert list(batches([], {})) == []


def test_once_a_part_was_answered_all_receipts_are_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = client._part
    parts: list[int] = []

    def breaks(jobs: list[Job], *others: object) -> list[Receipt]:
        parts.append(len(jobs))
        if len(parts) == 2:
            raise StoreFault("it broke")
        return part(jobs, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "_part", breaks)
    receipts = client.submit([small() for _ in range(2 * MOST_JOBS + 5)])
    assert [r.accepted for r in receipts] == [True] * MOST_JOBS + [False] * (MOST_JOBS + 5)
    assert parts == [MOST_JOBS, MOST_JOBS]
    parts.append(0)
    parts[:] = [0]
    with pytest.raises(StoreFault):  # nothing was answered before it
        client.submit([small()])


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.dear
def test_what_is_refused_is_offered_again_if_it_is_wished(embedded_url: str) -> None:
    cell = Cell(lambda: Link.to(embedded_url))
    with Client(embedded_url, "cell", Limits(max_depth=2)) as client:
        jobs = [small() for _ in range(4)]
        words = [receipt.word for receipt in client.submit(jobs)]
        assert words == ["ok", "ok", "full", "full"]
        assert isinstance(client.submit(jobs[3]).error(), Refused)
        cell.scheduler()
        cell.worker(StuckEngine(8))
        (receipts,) = while_turning(cell, lambda: client.submit(jobs, retry_refused_s=60.0))
    assert [r.word for r in receipts] == ["dup", "dup", "ok", "ok"]


def test_the_same_name_twice_in_one_list_has_two_receipts(client: Client) -> None:
    job = small()
    other = Job(job.id, "acme", 11, 20)
    assert [r.word for r in client.submit([job, job, other])] == ["ok", "dup", "conflict"]


# -- where it is ------------------------------------------------------------------------------


def test_without_a_url_the_environment_is_asked_and_then_the_embedded_server(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PARALLAX_REDIS", "PARALLAX_REDIS_FILE", "PARALLAX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(Unreachable, match="PARALLAX_REDIS"):
        Client()
    with monkeypatch.context() as patch:
        patch.setattr(address, "running_server", lambda: SimpleNamespace(url=embedded_url))
        with Client() as client:
            client.ping()
    file = tmp_path / "url"
    file.write_bytes(b"\xef\xbb\xbf" + embedded_url.encode() + b"\n")
    with pytest.raises(InvalidInput, match="closed to others"):
        read_url(file, "url")
    file.chmod(0o600)
    monkeypatch.setenv("PARALLAX_REDIS_FILE", str(file))
    with Client() as client:
        client.ping()
    monkeypatch.setenv("PARALLAX_REDIS_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match="PARALLAX_REDIS_FILE"):
        Client()
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    with Client() as client:
        client.ping()


def test_who_follows_a_job_asks_for_a_moment_at_a_time(embedded_url: str) -> None:
    asked: list[int] = []

    def news(cursors: dict[str, str], block_ms: int) -> dict[str, tuple[str, list[object]]]:
        asked.append(block_ms)
        assert mine._following.locked()
        assert not mine._listening.locked()
        return {name: ("1-0", []) for name in cursors if len(asked) == 9}

    with Client(embedded_url, clock=ManualClock()) as mine:
        mine._streams = SimpleNamespace(follow_each=news)  # type: ignore[assignment]
        assert mine.follow("j", "", 110) == ("", [])
        assert asked == [20] * 5 + [10]
        assert mine.follow("j", "", 10_000) == ("1-0", [])  # there is news in the third question
        assert mine.follow("j", "1-0", 0) == ("1-0", [])
    assert asked[6:] == [20, 20, 20, 0]


def test_leaving_it_drops_its_inbox(embedded_url: str) -> None:
    with Client(embedded_url, "cell") as client:
        job = small()
        client.submit(job)
        assert client.cancel(job.id) == "ok"
        assert client.records([job.id])[0] is not None
        inbox = client._keys.out(client.inbox)
        link = Link.to(embedded_url)
        assert link.call("EXISTS", inbox) == 1
    assert link.call("EXISTS", inbox) == 0
    link.close()


def test_a_record_is_what_the_package_says_it_is() -> None:
    import parallax

    assert parallax.Record is Record
    assert parallax.Client is Client
