"""The official client of the OpenAI API asks a gateway: what works there works here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

openai: Any = pytest.importorskip("openai")

from parallax.core.lifecycle import Outcome  # noqa: E402
from tests.integration.cells import StuckEngine  # noqa: E402
from tests.integration.gateways import (  # noqa: E402
    ECHOED,
    LONG_S,
    SAID,
    Front,
    a_cell,
    echoing,
    fronted,
)
from tests.waiting import wait_until  # noqa: E402

pytestmark = [pytest.mark.openai_sdk, pytest.mark.dear]

MESSAGES = [{"role": "user", "content": SAID}]


@pytest.fixture
def front(embedded_url: str) -> Iterator[Front]:
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        yield front


@pytest.fixture
def client(front: Front) -> Iterator[Any]:
    with openai.OpenAI(
        base_url=f"{front.base}/v1", api_key="unused", timeout=LONG_S, max_retries=0
    ) as client:
        yield client


def test_models(client: Any) -> None:
    client.chat.completions.create(model="echo", messages=MESSAGES, max_tokens=1)
    assert [model.id for model in client.models.list()] == ["echo"]
    assert client.models.retrieve("echo").owned_by == "parallax"


def test_a_chat(client: Any) -> None:
    answer = client.chat.completions.create(model="echo", messages=MESSAGES, max_tokens=6)
    assert answer.choices[0].message.content == ECHOED
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 6


def test_a_stream_with_its_usage(client: Any) -> None:
    stream = client.chat.completions.create(
        model="echo", messages=MESSAGES, max_tokens=6, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == ECHOED
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [6]


def test_a_completion(client: Any) -> None:
    whole = client.completions.create(model="echo", prompt=SAID, max_tokens=6)
    assert whole.choices[0].text == ECHOED
    stream = client.completions.create(model="echo", prompt=SAID, max_tokens=6, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == ECHOED


def test_errors_are_of_the_kinds_that_the_client_knows(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="echo", messages=MESSAGES, n=17)
    assert (bad.value.code, bad.value.param) == ("invalid_value", "n")


def test_closing_a_stream_cancels_its_job(embedded_url: str) -> None:
    engine = echoing(speed=1.0)
    with (
        fronted(embedded_url, a_cell(embedded_url, engine)) as front,
        openai.OpenAI(base_url=f"{front.base}/v1", api_key="-", timeout=LONG_S) as client,
        client.chat.completions.create(
            model="echo", messages=MESSAGES, max_tokens=60_000, stream=True
        ) as stream,
    ):
        assert next(iter(stream)).choices[0].delta.content
        (job,) = front.jobs()
        stream.close()
        wait_until(lambda: front.cell.outcome(job) is Outcome.CANCELLED, "it to be cancelled")


def test_the_client_comes_back_when_it_is_told_to(embedded_url: str) -> None:
    """While there is no worker it is told 503 and when to come back; then there is one."""
    from parallax.producers.gateway.settings import GatewaySettings

    cell = a_cell(embedded_url)
    with (
        fronted(embedded_url, cell, GatewaySettings(hold_s=0.0)) as front,
        openai.OpenAI(base_url=f"{front.base}/v1", api_key="-", timeout=LONG_S) as client,
    ):
        refused = 'parallax_gateway_requests_total{kind="chat",result="503"}'
        with pytest.raises(openai.InternalServerError) as never:
            client.with_options(max_retries=0).chat.completions.create(
                model="noop", messages=MESSAGES
            )
        assert never.value.code == "no_backends"
        assert never.value.response.headers["retry-after"] == "5"
        assert refused in front.asking.get("/metrics").text
        cell.worker(StuckEngine(1))
        wait_until(lambda: front.asking.get("/ready").status_code == 200, "it to be ready")
