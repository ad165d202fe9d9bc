"""An OpenAI server that takes no time: what is measured in front of it is the way there and back.

    python -m ops.bench.front.mock --port P [--interval SECONDS]

Answers are as long as `max_tokens` says, a word a token. With an interval the words of a stream
come so far apart, each with the time at which it was written; without one all come at once.
"""

from __future__ import annotations

import asyncio
import json
import socket
from functools import cache
from typing import Any

import click
import httptools
import msgspec
import uvloop

from parallax.services.clock import SystemClock

CLOCK = SystemClock()
MODEL = "mock"
#: Words of an answer to a request that does not say how many.
USUAL = 16

_JSON = b"application/json"
_MODELS = json.dumps(
    {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm",
                                 "max_model_len": 100_000}]}
).encode()  # fmt: skip


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream_options: _Options | None = None


_DECODE = msgspec.json.Decoder(_Request).decode


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words}


def _reply(body: bytes, kind: bytes = _JSON) -> bytes:
    length = b"%d" % len(body)
    return b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ncontent-length: " + length + (
        b"\r\n\r\n"
    ) + body  # fmt: skip


@cache
def _whole(words: int) -> bytes:
    message = {"role": "assistant", "content": "word " * words}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    return _reply(json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL,
        "choices": [choice], "usage": _usage(words),
    }).encode())  # fmt: skip


def _event(choices: list[Any], **more: Any) -> bytes:
    data = b"data: " + json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL,
        "choices": choices, **more,
    }).encode() + b"\n\n"  # fmt: skip
    return b"%x\r\n" % len(data) + data + b"\r\n"


def _word(text: str) -> bytes:
    return _event([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


@cache
def _tail(words: int, usage: bool) -> bytes:
    last = _event([{"index": 0, "delta": {}, "finish_reason": "length"}])
    told = _event([], usage=_usage(words)) if usage else b""
    return last + told + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


@cache
def _at_once(words: int, usage: bool) -> bytes:
    return _HEAD + _word("word ") * words + _tail(words, usage)


class Mock(asyncio.Protocol):
    """A connection to the server."""

    interval_s = 0.0
    transport: asyncio.Transport

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body = b"", b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.transport.close()  # a peer that tries HTTP/2 goes on without

    def on_message_begin(self) -> None:
        """See `httptools`."""
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        """See `httptools`."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self._body += body

    def on_message_complete(self) -> None:
        """See `httptools`."""
        if self._parser.get_method() != b"POST":
            known = _MODELS if self._url.startswith(b"/v1/models") else b"{}"
            self.transport.write(_reply(known))
            return
        asked = _DECODE(self._body)
        words = asked.max_completion_tokens or asked.max_tokens or USUAL
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        if not asked.stream:
            self.transport.write(_whole(words))
        elif not self.interval_s:
            self.transport.write(_at_once(words, usage))
        else:
            self.transport.write(_HEAD)
            self._say(words, words, usage, self._loop.time() + self.interval_s)

    def _say(self, left: int, words: int, usage: bool, due: float) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(_word(f"{CLOCK.monotonic():.6f} "))
        if left > 1:
            due += self.interval_s
            self._timer = self._loop.call_at(due, self._say, left - 1, words, usage, due)
        else:
            self.transport.write(_tail(words, usage))


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Mock, "127.0.0.1", port, backlog=4_096)
    for sock in server.sockets:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await server.serve_forever()


@click.command()
@click.option("--port", type=int, required=True, help="Port on the loopback address.")
@click.option("--interval", default=0.0, show_default=True, help="Seconds between two words.")
def main(port: int, interval: float) -> None:
    """Serve until killed."""
    Mock.interval_s = interval
    uvloop.run(_serve(port))


if __name__ == "__main__":
    main()
