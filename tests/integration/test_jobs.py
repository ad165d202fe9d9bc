"""Runs as jobs of rq: the same to the byte, whoever dies; only what is in the list is called."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from parallax.broker.link.endpoint import Endpoint
from parallax.cli import nightly, remote
from parallax.core.errors import InvalidInput
from parallax.services import jobs
from parallax.services.clock import SystemClock
from parallax.sim.spec import RunSpec, WorkloadSpec
from tests.waiting import wait_until

#: rq as that module has it: it says which prefix keys have, before rq is imported.
RQ: Any = vars(jobs)
PARALLAX = str(Path(sys.executable).parent / "parallax")


def spec(seed: int, limit: int = 50) -> RunSpec:
    return RunSpec(WorkloadSpec("chat", limit=limit), seed=seed)


def arguments(*specs: RunSpec) -> list[tuple[dict[str, Any], dict[str, object]]]:
    return [(one.document(), remote.provenance_of(one)) for one in specs]


@pytest.fixture
def queue(embedded_url: str) -> Iterator[Any]:
    """Return the queue; what is left of it is removed, and so are the handlers of signals."""
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    client = Endpoint.of(embedded_url, 5.0).lent()
    yield jobs._queue(client)
    for key in client.scan_iter("parallax:rq*"):
        client.delete(key)
    client.close()
    for number, handler in handlers:
        signal.signal(number, handler)


def outcome(queue: Any, url: str, function: str, *args: Any, **options: Any) -> tuple[str, str]:
    """Enqueue a job, work until the queue is empty; return its status and its last error."""
    job = queue.enqueue(function, args=args, **options)
    jobs.work(url, burst=True)
    job.refresh()
    last = job.latest_result()
    return job.get_status().value, (last.exc_string or "") if last else ""


def test_a_run_is_what_it_is_here(queue: Any, embedded_url: str) -> None:
    (one,) = arguments(spec(3))
    job = queue.enqueue(jobs.RUN, args=one)
    jobs.work(embedded_url, burst=True)
    job.refresh()
    assert job.return_value() == remote.run(*one)


@pytest.mark.parametrize("changed", ["source_sha256", "versions", "inputs", "spec_sha256"])
def test_other_code_is_refused(changed: str) -> None:
    ((document, provenance),) = arguments(spec(3))
    with pytest.raises(InvalidInput, match=changed):
        remote.run(document, {**provenance, changed: "another"})


def test_only_functions_of_the_list_are_called(
    queue: Any, embedded_url: str, tmp_path: Path
) -> None:
    status, error = outcome(queue, embedded_url, "os.mkdir", str(tmp_path / "made"))
    assert status == "failed"
    assert "not in the list" in error
    assert list(tmp_path.iterdir()) == []


def test_neither_callbacks_nor_webhooks_are_called(queue: Any, embedded_url: str) -> None:
    (one,) = arguments(spec(1))
    job = queue.enqueue(jobs.RUN, args=one)
    queue.connection.hset(job.key, mapping={"success_callback_name": "os.abort"})
    jobs.work(embedded_url, burst=True)
    job.refresh()
    assert job.get_status() == "finished"
    assert job.success_callback is None


def test_the_control_a_worker_of_rq_calls_anything(queue: Any, tmp_path: Path) -> None:
    job = queue.enqueue("os.mkdir", args=(str(tmp_path / "made"),))
    plain = RQ["Worker"]([queue], connection=queue.connection, serializer=RQ["JSONSerializer"])
    plain.work(burst=True, logging_level="ERROR")
    assert job.get_status() == "finished"
    assert (tmp_path / "made").exists()


def test_without_workers_it_says_so(queue: Any, embedded_url: str) -> None:
    with pytest.raises(InvalidInput, match="parallax lab worker"):
        list(jobs.spread(embedded_url, jobs.RUN, arguments(spec(1)), 60.0, SystemClock()))
    assert queue.count == 0


def test_a_digest_of_the_night(
    queue: Any, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly.SERVER, "url", embedded_url)
    due = jobs._Nightly(jobs.QUEUE, nightly.maintain, args=("main",), cron="* * * * *")
    due.enqueue(queue.connection)
    jobs.work(embedded_url, burst=True)
    (made,) = jobs.digests(embedded_url)
    assert isinstance(made, dict)
    assert (made["cell"], made["dead_letters"]) == ("main", {})


def test_a_pattern_that_is_none_is_refused(embedded_url: str) -> None:
    with pytest.raises(InvalidInput, match="--at"):
        jobs.every_night(embedded_url, "now and then", nightly.maintain, "main")


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_costs_its_job_a_retry(queue: Any, embedded_url: str) -> None:
    def worker() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [PARALLAX, "lab", "worker"], start_new_session=True,
            env={**os.environ, "PARALLAX_REDIS": embedded_url},
        )  # fmt: skip

    wanted = arguments(*(spec(seed, 4_000) for seed in range(3)))
    came: dict[int, object] = {}

    def ask() -> None:
        came.update(jobs.spread(embedded_url, jobs.RUN, wanted, 300.0, SystemClock()))

    first, asking = worker(), Thread(target=ask)
    try:
        wait_until(lambda: RQ["Worker"].count(connection=queue.connection), "it is there", 120.0)
        asking.start()
        wait_until(queue.started_job_registry.get_job_count, "it has begun", 120.0)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(timeout=30)
    second = worker()
    try:
        asking.join(timeout=400)
    finally:
        os.killpg(second.pid, signal.SIGTERM)
        second.wait(timeout=120)
    assert sorted(came) == [0, 1, 2]
    assert [came[at] for at in range(3)] == [remote.run(*one) for one in wanted]
