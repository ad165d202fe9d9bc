"""LangChain's client asks a gateway: another one than the official, built upon it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.gateways import ECHOED, LONG_S, SAID, Front, a_cell, echoing, fronted

pytestmark = [
    pytest.mark.second_client,
    pytest.mark.filterwarnings("ignore"),  # its own, about its own future
]


@pytest.fixture
def langchain() -> Any:
    """Return the package, if it is here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("langchain_openai", reason="`make fuzz` installs it")


@pytest.fixture
def front(langchain: Any, embedded_url: str) -> Iterator[Front]:
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        yield front


def asking(langchain: Any, front: Front, **more: Any) -> Any:
    return langchain.ChatOpenAI(
        base_url=f"{front.base}/v1", api_key="unused", model="echo", max_tokens=6,
        timeout=LONG_S, max_retries=0, stream_usage=True, **more,
    )  # fmt: skip


@pytest.fixture
def chat(langchain: Any, front: Front) -> Any:
    return asking(langchain, front)


def test_a_chat(chat: Any) -> None:
    answer = chat.invoke(SAID)
    assert answer.content == ECHOED
    assert answer.usage_metadata["output_tokens"] == 6


def test_a_stream(chat: Any) -> None:
    pieces = list(chat.stream(SAID))
    assert "".join(piece.content for piece in pieces) == ECHOED
    assert len(pieces) > 1
    assert [p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata] == [6]


def test_several_at_once_from_threads_and_from_a_loop(
    chat: Any, langchain: Any, front: Front
) -> None:
    assert [one.content for one in chat.batch([SAID] * 3)] == [ECHOED] * 3

    async def ask() -> list[Any]:
        async with httpx.AsyncClient(trust_env=False) as http:  # its own would stay open
            from_loop = asking(langchain, front, http_async_client=http)
            return list(await asyncio.gather(*(from_loop.ainvoke(SAID) for _ in range(3))))

    assert [one.content for one in asyncio.run(ask())] == [ECHOED] * 3


def test_embeddings(langchain: Any, front: Front) -> None:
    embeddings = langchain.OpenAIEmbeddings(
        base_url=f"{front.base}/v1", api_key="unused", model="echo",
        check_embedding_ctx_length=False, timeout=LONG_S, max_retries=0,
    )  # fmt: skip
    same, other, again = embeddings.embed_documents(["a b", "c d", "a b"])
    assert same == again != other


def test_the_control_an_error_is_the_one_that_the_gateway_told(chat: Any) -> None:
    chat.invoke(SAID)  # so that there is a list of models
    with pytest.raises(Exception, match="does not exist") as found:
        chat.bind(model="nobody").invoke(SAID)
    assert found.value.status_code == 404  # type: ignore[attr-defined]
