"""`parallax calibrate`: over a server that answers at once, and over none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.invoking import Run
from tests.unit.cli.test_json import fits
from tests.upstream import Call, Upstream

PROPS = {"total_slots": 2, "default_generation_settings": {"n_ctx": 512}}


async def next_step() -> None:
    """Let a step of this engine pass: pieces that come at the same time tell nothing."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(0.002, passed.set_result, None)
    await passed


async def counted(call: Call) -> None:
    """Say as many words as are asked for, and count those of the prompt."""
    call.head()
    for _ in range(call.body["max_tokens"]):
        call.data({"id": "c", "choices": [{"index": 0, "text": " w", "finish_reason": None}]})
        await call.writer.drain()
        await next_step()
    call.data({"id": "c", "choices": [{"index": 0, "text": "", "finish_reason": "length"}]})
    tokens = len(call.body["prompt"].split()) + 1
    usage = {"prompt_tokens": tokens, "completion_tokens": call.body["max_tokens"]}
    call.data({"id": "c", "choices": [], "usage": usage})
    call.raw(b"data: [DONE]\n\n")


@pytest.fixture
def server() -> Iterator[Upstream]:
    looks = {"/health": (200, {}), "/props": (200, PROPS)}
    with Upstream(owner="llamacpp", looks=looks, otherwise=counted) as server:
        yield server


def test_a_server_is_measured_and_its_profile_simulated(
    run: Run, server: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    answer = run("calibrate", server.url, "-o", str(file), "--passes", "1",
                 "--output-tokens", "8", "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    fits("calibrate", answer.document)
    found = answer.document
    assert (found["kind"], found["slots"], found["kv_capacity_tokens"]) == ("llamacpp", 2, 1024)
    assert found["rounds"] == found["planned_rounds"] > 10
    assert {one["curve"] for one in found["curves"]} >= {"prefill", "bursts"}
    assert all(call.body["ignore_eos"] is True for call in server.calls)
    texts = [call.body["prompt"] for call in server.calls]
    assert len(set(texts)) > 10
    assert tomllib.loads(file.read_text())["max_seqs"] == 2
    done = run("simulate", "chat", "--limit", "5", "--profile", f"{file},laptop", "--json")
    assert done.code in {0, 3}, done.err


def test_what_cannot_be_is_refused(run: Run, server: Upstream, tmp_path: Path) -> None:
    answer = run("calibrate", server.url, "-o", str(tmp_path / "p.yaml"))
    assert (answer.code, server.calls) == (2, [])
    assert ".toml or .json" in answer.err
    answer = run("simulate", "chat", "--profile", "gpu")
    assert answer.code == 2
    assert "llama3-8b-a100" in answer.err
    server.down()
    answer = run("calibrate", server.url)
    assert answer.code == 1
    assert "cannot be reached" in answer.err


def test_a_server_that_tells_no_usage_is_told_so(run: Run) -> None:
    async def silent(call: Call) -> None:
        call.head()
        call.data({"id": "c", "choices": [{"index": 0, "text": " w", "finish_reason": "length"}]})
        call.raw(b"data: [DONE]\n\n")

    with Upstream(otherwise=silent) as server:
        answer = run("calibrate", server.url)
    assert answer.code == 1
    assert "usage" in answer.err


def test_ctrl_c_ends_the_measuring_and_what_is_known_is_shown(
    run: Run, server: Upstream, tmp_path: Path
) -> None:
    async def enough(call: Call) -> None:
        if len(server.calls) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        await counted(call)

    server.otherwise = enough
    file = tmp_path / "own.json"
    answer = run("calibrate", server.url, "-o", str(file), "--output-tokens", "8", "--passes", "9",
                 "--json")  # fmt: skip
    assert answer.code == 130, answer.err
    assert 0 < answer.document["rounds"] < answer.document["planned_rounds"]
    assert any("ended early" in note for note in answer.document["notes"])
    assert json.loads(file.read_text())["name"] == "tiny"


def test_who_ends_it_before_anything_is_known_hears_nothing(run: Run, server: Upstream) -> None:
    async def at_once(call: Call) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await counted(call)

    server.otherwise = at_once
    answer = run("calibrate", server.url)
    assert (answer.code, answer.out) == (130, "")
