"""The official client asks for more than chats: responses, embeddings, several answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

openai: Any = pytest.importorskip("openai")

from tests.integration.gateways import (  # noqa: E402
    ECHOED,
    LONG_S,
    SAID,
    Front,
    a_cell,
    echoing,
    fronted,
    problem,
)
from tests.servers import EMBEDDED, Running  # noqa: E402

pytestmark = [pytest.mark.openai_sdk, pytest.mark.dear]

MESSAGES = [{"role": "user", "content": SAID}]


@pytest.fixture(scope="module")
def front(servers: Running) -> Iterator[Front]:
    url = servers.emptied(EMBEDDED.name)
    with fronted(url, a_cell(url, echoing())) as front:
        yield front


@pytest.fixture(scope="module")
def client(front: Front) -> Iterator[Any]:
    with openai.OpenAI(
        base_url=f"{front.base}/v1", api_key="unused", timeout=LONG_S, max_retries=0
    ) as client:
        yield client


def test_a_response(client: Any) -> None:
    answer = client.responses.create(model="echo", input=SAID, max_output_tokens=6)
    assert answer.output_text == ECHOED
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 6
    items = [{"role": "user", "content": [{"type": "input_text", "text": SAID}]}]
    assert client.responses.create(model="echo", input=items, max_output_tokens=6).output_text


def test_a_streamed_response(client: Any) -> None:
    stream = client.responses.create(model="echo", input=SAID, max_output_tokens=6, stream=True)
    events = list(stream)
    assert events[0].type == "response.created"
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(said) == ECHOED
    assert events[-1].response.output_text == ECHOED
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_streamed_response_has_named_events_and_no_other_end(front: Front) -> None:
    body = {"model": "echo", "input": SAID, "max_output_tokens": 2, "stream": True}
    events = front.post("/v1/responses", body).text.split("\n\n")
    assert events[0].startswith("event: response.created\ndata: {")
    assert events[-2].startswith("event: response.incomplete\ndata: {")
    assert events[-1] == ""


@pytest.mark.parametrize("name", ["background", "previous_response_id"])
def test_what_needs_a_memory_is_refused(front: Front, name: str) -> None:
    value: Any = True if name == "background" else "resp_1"
    answer = front.post("/v1/responses", {"model": "echo", "input": SAID, name: value})
    assert problem(answer) == (400, "invalid_value", name)


def test_embeddings(client: Any) -> None:
    texts = ["a cat on a mat", "a cat on the mat", "wholly different words"]
    found = client.embeddings.create(model="echo", input=texts, dimensions=64)
    assert [one.index for one in found.data] == [0, 1, 2]
    cat, other_cat, different = (one.embedding for one in found.data)
    assert len(cat) == 64

    def near(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert near(cat, cat) == pytest.approx(1.0, abs=1e-5)
    assert near(cat, other_cat) > near(cat, different)
    numbers = client.embeddings.create(
        model="echo", input=texts[0], dimensions=64, encoding_format="float"
    )
    assert numbers.data[0].embedding == pytest.approx(cat)
    assert found.usage.prompt_tokens > 0


def test_several_answers_to_a_chat(client: Any) -> None:
    answer = client.chat.completions.create(model="echo", messages=MESSAGES, max_tokens=6, n=3)
    assert [one.index for one in answer.choices] == [0, 1, 2]
    assert {one.message.content for one in answer.choices} == {ECHOED}
    one = client.chat.completions.create(model="echo", messages=MESSAGES, max_tokens=6)
    assert answer.usage.completion_tokens == 18
    assert answer.usage.prompt_tokens == one.usage.prompt_tokens


def test_several_answers_in_one_stream(client: Any) -> None:
    stream = client.chat.completions.create(
        model="echo", messages=MESSAGES, max_tokens=6, n=2, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    said: dict[int, str] = {0: "", 1: ""}
    usages, ids = [], set()
    for chunk in stream:
        ids.add(chunk.id)
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == {0: ECHOED, 1: ECHOED}
    assert [usage.completion_tokens for usage in usages] == [12]
    assert len(ids) == 1


def test_several_prompts_with_several_answers_each(client: Any) -> None:
    answer = client.completions.create(model="echo", prompt=["one", "two"], n=2, max_tokens=2)
    said = [(choice.index, choice.text) for choice in answer.choices]
    assert said == [(0, "one one"), (1, "one one"), (2, "two two"), (3, "two two")]
    assert answer.usage.completion_tokens == 8


def test_several_answers_are_told_again_under_their_key(front: Front) -> None:
    first, again = (front.chat_keyed("k1", n=2) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()


def test_what_the_engine_cannot_do_is_told(front: Front) -> None:
    answer = front.post("/tokenize", {"model": "echo", "prompt": SAID})
    assert problem(answer)[:2] == (400, "cannot_fit")
    assert "no tokenizer" in answer.json()["error"]["message"]
