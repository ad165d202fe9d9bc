"""Asking the cell something from the dashboard: a job like any other, whose answer is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Annotated, Any

import msgspec

from parallax.broker.store.results import Record
from parallax.core.cells import CellAddress
from parallax.core.errors import ParallaxError
from parallax.core.lifecycle import State
from parallax.core.model import MAX_TOKENS, Job, check_name
from parallax.dashboard.feed import Feed
from parallax.dashboard.problems import Problem
from parallax.dashboard.writing import read_body
from parallax.producers.client.async_client import AsyncClient
from parallax.producers.client.async_stream import AsyncStream
from parallax.producers.client.chat import chunk_text, encoded, estimated_tokens

#: Most questions at once, longest wait for news (seconds), and how often the place is told.
MOST, WAIT_S, TELL_S = 8, 120.0, 1.0

#: Engines that imitate work and say nothing.
_SILENT = {"cpu", "clock", "noop"}


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]
    tenant: Annotated[str, msgspec.Meta(max_length=64)] = "playground"
    model: Annotated[str, msgspec.Meta(max_length=256)] = ""
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=min(MAX_TOKENS, 32_768))] = 128
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None


class Playground:
    """Asks over one client, which is made when somebody asks for the first time."""

    def __init__(self, address: CellAddress) -> None:
        self._address = address
        self._client: AsyncClient | None = None
        self._asking = 0

    async def asked(self, body: bytes, feed: Feed) -> AsyncIterator[bytes]:
        """Return the events of an answer; raises Problem if it cannot even be asked for."""
        question = read_body(_Question, body)
        check_name("tenant", question.tenant)
        if self._asking >= MOST:
            raise Problem("busy", f"{MOST} questions are asked from here already")
        alive = [one for one in (await feed.latest()).workers if one.state != "dead"]
        if alive and all(one.engine in _SILENT for one in alive):
            said = "the engines of this cell imitate work and say nothing; start it with "
            raise Problem("no_text", said + "--engine echo, or with --backend URL")
        return self._events(*_job(question))

    async def close(self) -> None:
        """Cancel what nobody waits for any more."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _events(self, job: Job, body: bytes) -> AsyncIterator[bytes]:
        if self._client is None:
            self._client = AsyncClient(self._address.url, self._address.name)
        client, failure, begun = self._client, "", False
        stream = client.stream(job, body, timeout_s=WAIT_S)
        self._asking += 1
        coming = asyncio.ensure_future(_next(stream))
        try:
            yield _event("accepted", {"id": job.id, "tenant": job.tenant})
            while True:
                if not (await asyncio.wait({coming}, timeout=TELL_S))[0]:
                    if not begun:
                        yield _event("queued", await _place(client, job.id))
                    continue
                try:
                    chunk = coming.result()
                except ParallaxError as error:
                    failure = str(error)
                    break
                if chunk is None:
                    break
                if text := chunk_text(chunk):
                    begun = True
                    yield _event("text", {"text": text})
                coming = asyncio.ensure_future(_next(stream))
            yield _event("done", await _ended(client, stream, failure))
        finally:
            self._asking -= 1
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, ParallaxError):
                await coming
            await stream.aclose()


async def _next(stream: AsyncStream) -> bytes | None:
    return await anext(stream, None)


def _job(question: _Question) -> tuple[Job, bytes]:
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": question.prompt}],
        "max_tokens": question.max_tokens, "stream": True,
    }  # fmt: skip
    if question.model:
        asked["model"] = question.model
    if question.temperature is not None:
        asked["temperature"] = question.temperature
    more: dict[str, Any] = {}
    if "model" in Job.__dataclass_fields__:
        more["model"] = question.model
    tokens = estimated_tokens(question.prompt)
    job = Job(
        f"play-{token_hex(8)}", question.tenant, prompt_tokens=tokens,
        max_tokens=question.max_tokens, stream=True, **more,
    )  # fmt: skip
    return job, encoded(asked)


async def _place(client: AsyncClient, job_id: str) -> dict[str, Any]:
    record = await _record(client, job_id)
    if record is None:
        return {"state": "waiting", "place": None}
    if record.state is not State.QUEUED:
        return {"state": record.state.value, "place": None}
    return {"state": "queued", "place": (await client.queue_place(record))[0]}


async def _record(client: AsyncClient, job_id: str) -> Record | None:
    try:
        (record,) = await client.records([job_id])
    except ParallaxError:
        return None
    return record


async def _ended(client: AsyncClient, stream: AsyncStream, failure: str) -> dict[str, Any]:
    """Return how a job ended, as far as anybody knows."""
    completion = stream.completion
    record = await _record(client, stream.job_id)
    report = completion.report if completion else record.report if record else None
    outcome = completion.outcome.value if completion else "refused" if record is None else "unknown"
    return {
        "id": stream.job_id, "outcome": outcome,
        "worker": (report.worker if report else None) or None,
        "queue_wait_s": record.queue_wait_s if record else None,
        "ttft_s": record.ttft_s if record else None, "e2e_s": record.e2e_s if record else None,
        "prompt_tokens": report.prompt_tokens if report else 0,
        "output_tokens": report.output_tokens if report else 0,
        "error": failure or (report.error if report else "") or None, "text": None,
    }  # fmt: skip


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
