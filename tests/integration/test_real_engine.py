"""A real llama.cpp behind a worker: its answers, its cache, its cancels, its errors, its death."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallax.consumers.upstream.backend import parsed_backend
from parallax.consumers.upstream.opening import probed
from parallax.core.lifecycle import Outcome, State
from tests.integration.cells import Cell
from tests.integration.upstreams import ask, members, played, said, told

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; `make llama` does it")
pytest.importorskip("gguf", reason="gguf is not installed; `make llama` does it")

from tests import llama

pytestmark = [pytest.mark.slow, pytest.mark.real_backend]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.gguf"
    llama.write_model(path)
    return path


@pytest.fixture(scope="module")
def port(model: Path) -> Iterator[int]:
    with llama.running(model) as (_, port):
        yield port


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def slots_in_use(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/slots", timeout=20) as said:
        slots: list[dict[str, Any]] = json.load(said)
    return sum(bool(slot["is_processing"]) for slot in slots)


def test_it_is_known_by_what_it_says(port: int) -> None:
    facts, load = probed(parsed_backend(url_of(port)), "")
    assert (facts.kind, facts.models, facts.slots) == ("llamacpp", (llama.NAME,), llama.SLOTS)
    assert (facts.kv_capacity, facts.context) == (llama.CONTEXT, llama.CONTEXT // llama.SLOTS)
    assert load.running == 0


def test_answers_come_whole_and_streamed_and_what_is_cached_is_told(
    embedded_url: str, port: int
) -> None:
    prompt = "that it was for this and have with be by " * 20

    def scene(cell: Cell) -> None:
        ask(cell, "s", model="", content=prompt, stream=True)
        cell.until_ended("s")
        assert said(cell, "s")
        ask(cell, "w", model=llama.NAME, content=prompt)
        cell.until_ended("w")
        (answer,) = [n.data for n in told(cell, "w") if n.word.startswith("answer")]
        document = json.loads(answer)
        assert document["choices"][0]["message"]["content"]
        first, second = cell.record("s"), cell.record("w")
        assert first is not None
        assert second is not None
        assert first.state is second.state is State.COMPLETED
        assert first.report.output_tokens == second.report.output_tokens == 8
        assert first.report.prompt_tokens == second.report.prompt_tokens > 100
        assert document["usage"]["prompt_tokens"] == second.report.prompt_tokens
        assert second.report.cached_tokens > 100
        assert first.ttft_s is not None

    played(embedded_url, [url_of(port)], scene)


def test_more_than_it_has_slots_for_wait_with_us(embedded_url: str, port: int) -> None:
    names = [f"j{n}" for n in range(7)]

    def scene(cell: Cell) -> None:
        ask(cell, *names, model="", max_tokens=20, stream=True)
        cell.until_ended(*names)
        errors = [r.report.error for name in names if (r := cell.record(name))]
        assert errors == [""] * 7
        assert members(cell)[0].registration.slots == llama.SLOTS

    played(embedded_url, [url_of(port)], scene)


def test_a_cancelled_answer_is_not_made_any_longer(embedded_url: str, port: int) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j", model="", max_tokens=4000, stream=True)
        cell.until(lambda: said(cell, "j"), "some of the answer")
        cell.until(lambda: probed(parsed_backend(url_of(port)), "")[1].kv_used, "KV in use")
        assert cell.cancel("j") == "ok"
        cell.until(lambda: slots_in_use(port) == 0, "llama.cpp to stop")
        assert cell.outcome("j") is Outcome.CANCELLED

    played(embedded_url, [url_of(port)], scene)


def test_what_is_too_long_for_it_fails_with_its_words(embedded_url: str, port: int) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j", model="", content="x" * 9_000)
        cell.until_ended("j")
        record = cell.record("j")
        assert record is not None
        assert record.outcome is Outcome.FAILED
        assert "context size" in record.report.error

    played(embedded_url, [url_of(port)], scene)


def test_killed_in_the_middle_it_breaks_its_stream_and_comes_back(
    embedded_url: str, model: Path
) -> None:
    with llama.running(model) as (process, port):

        def scene(cell: Cell) -> None:
            ask(cell, "j", model="", max_tokens=4000, stream=True)
            cell.until(lambda: said(cell, "j"), "some of the answer")
            process.kill()
            cell.until_ended("j")
            record = cell.record("j")
            assert record is not None
            assert record.report.reason == "stream_broken"
            ask(cell, "k", model="", stream=True)
            cell.until(lambda: members(cell)[0].report.get("unready"), "the worker to say it")
            assert cell.outcome("k") is None
            with llama.running(model, port):
                cell.until_ended("k")
            assert cell.state("k") is State.COMPLETED

        played(embedded_url, [url_of(port)], scene)
