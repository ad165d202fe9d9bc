"""A server that speaks OpenAI's API and does as it is told: it answers, breaks, stalls, lies.

It lives in a thread of its own and talks HTTP/1.1 byte by byte, so that it can do what no library
would. Each POST takes the next piece of its script; without one it says the words of `WORDS`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

WORDS = ("to", " be", " or", " not")
USAGE = {
    "prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11,
    "prompt_tokens_details": {"cached_tokens": 3},
}  # fmt: skip


@dataclass
class Call:
    """One POST, while it is answered."""

    path: str
    headers: Mapping[str, str]
    body: Any
    writer: asyncio.StreamWriter
    gone: asyncio.Event  # the client has closed its connection

    @property
    def streams(self) -> bool:
        return isinstance(self.body, dict) and bool(self.body.get("stream"))

    def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    def document(self, status: int, document: Any, **headers: str) -> None:
        body = json.dumps(document).encode()
        self.head(status, "application/json", Content_Length=str(len(body)), **headers)
        self.writer.write(body)

    def data(self, document: Any) -> None:
        self.raw(b"data: " + json.dumps(document).encode() + b"\n\n")

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def word(self, text: str, reason: str | None = None) -> None:
        delta = {"content": text} if text else {}
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        self.data({"id": "c1", "model": "tiny", "created": 1, "choices": [choice]})

    def abort(self) -> None:
        transport: Any = self.writer.transport
        if not transport.is_closing():
            transport.abort()


Reply = Callable[[Call], Awaitable[None]]


async def speak(call: Call) -> None:
    """Answer as a good server does."""
    if not call.streams:
        message = {"role": "assistant", "content": "".join(WORDS)}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        call.document(200, {"id": "c1", "model": "tiny", "choices": choices, "usage": USAGE})
        return
    call.head()
    for word in WORDS:
        call.word(word)
    call.word("", "stop")
    if (call.body.get("stream_options") or {}).get("include_usage"):
        call.data({"id": "c1", "model": "tiny", "choices": [], "usage": USAGE})
    call.raw(b"data: [DONE]\n\n")


def status(code: int, message: str = "no", **headers: str) -> Reply:
    """Answer with an error."""

    async def reply(call: Call) -> None:
        call.document(code, {"error": {"message": message, "type": "t"}}, **headers)

    return reply


def bytes_of(*parts: bytes) -> Reply:
    """Send these bytes as a stream, and close it."""

    async def reply(call: Call) -> None:
        call.head()
        for part in parts:
            call.raw(part)

    return reply


def cut(words: int) -> Reply:
    """Say so many words, and break the connection."""

    async def reply(call: Call) -> None:
        call.head()
        for word in WORDS[:words]:
            call.word(word)
        await call.writer.drain()
        call.abort()

    return reply


def stall(words: int) -> Reply:
    """Say so many words, and nothing more until the client leaves."""

    async def reply(call: Call) -> None:
        if words:
            call.head()
            for word in WORDS[:words]:
                call.word(word)
        await call.gone.wait()

    return reply


@dataclass
class Upstream:
    """See the module's docstring. A context: it is up inside."""

    models: tuple[str, ...] = ("tiny",)
    owner: str = "somebody"
    script: deque[Reply] = field(default_factory=deque)
    otherwise: Reply = speak
    looks: dict[str, tuple[int, Any]] = field(default_factory=dict)  # GET path -> status, document
    key: str = ""  # that it asks for
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    left: int = 0  # clients that closed their connection before they had their answer

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Upstream:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._do(self._listen())

    def down(self) -> None:
        """Be gone, as a process that was killed: nobody listens, and what was said breaks off."""
        self._do(self._stop())

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._loop.remove_reader(self._server.sockets[0].fileno())
            for _ in range(10):  # who has just been let in is served first, so as to be let out
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        for call in self.calls:
            call.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(10):  # what was closed is gone after another turn or two of the loop
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._served(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 5.0)
            self._tasks.discard(task)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        call = Call(path, headers, json.loads(body or b"null"), writer, asyncio.Event())
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            call.document(401, {"error": {"message": f"wrong key, not {self.key}"}})
        elif method == "GET":
            self._look(call)
        else:
            self.calls.append(call)
            watching = asyncio.create_task(self._watch(reader, call))
            self._tasks.add(watching)
            watching.add_done_callback(self._tasks.discard)
            await (self.script.popleft() if self.script else self.otherwise)(call)
            watching.cancel()
        await writer.drain()

    def _look(self, call: Call) -> None:
        rows = [{"id": name, "owned_by": self.owner} for name in self.models]
        known: dict[str, tuple[int, Any]] = {"/v1/models": (200, {"data": rows})}
        code, document = (known | self.looks).get(call.path, (404, {"error": "nothing there"}))
        call.document(code, document)

    async def _watch(self, reader: asyncio.StreamReader, call: Call) -> None:
        """Notice that the client leaves: in good order, or with data that it has not read."""
        try:
            more = await reader.read(1)
        except ConnectionError:
            more = b""
        if not more:
            self.left += 1
            call.gone.set()
