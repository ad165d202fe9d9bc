"""`parallax models`, and what is said of a model that nobody serves before a job is submitted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.drained import Drained
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.producers.load.workload import Workload
from tests.unit.cli.invoking import Run
from tests.unit.cli.test_json import fits

ASK = ("submit", "--detach", "--prompt-tokens", "1", "--max-tokens", "1")


@pytest.fixture
def link(embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    link = Link.to(embedded_url)
    yield link
    link.close()


def worker(link: Link, name: str, models: str) -> None:
    member = Membership(link, Keys())
    registration = Registration(VERSION, 4, "echo", about={"models": models})
    member.beat(name, name, 60_000, registration)
    member.report(name, 60_000, {"running": 2, "waiting": 1})


def test_models_are_listed_with_their_workers(run: Run, link: Link) -> None:
    worker(link, "a-111111", "llama,qwen")
    worker(link, "b-222222", "qwen")
    Drained(link, Keys()).add("b")
    answer = run("models", "--json")
    assert answer.code == 0
    fits("models", answer.document)
    llama, qwen = answer.document
    assert (llama["model"], llama["workers"], llama["ready"]) == ("llama", ["a-111111"], 1)
    assert (qwen["workers"], qwen["ready"]) == (["a-111111", "b-222222"], 1)
    assert (qwen["slots"], qwen["running_jobs"], qwen["waiting_jobs"]) == (4, 4, 2)
    Drained(link, Keys()).add("a")
    assert run("models").code == 1


def test_a_job_for_a_model_that_nobody_serves_is_refused_with_those_there_are(
    run: Run, link: Link
) -> None:
    assert run(*ASK, "--model", "qwen").code == 0  # no worker: nobody can tell
    worker(link, "a-111111", "llama")
    refused = run(*ASK, "--model", "qwen")
    assert (refused.code, refused.out) == (2, "")
    assert "one of: llama" in refused.err
    assert run("loadgen", "--model", "qwen", "--duration", "1").code == 2
    for more in (["--model", "llama"], ["--model", "qwen", "--unserved"], []):
        assert run(*ASK, *more).code == 0, more


def test_a_load_asks_for_its_model() -> None:
    assert {job.model for _, job in Workload(10, model="m").jobs(5)} == {"m"}
    assert {job.model for _, job in Workload(10).jobs(5)} == {""}
