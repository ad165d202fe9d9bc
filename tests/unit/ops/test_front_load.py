"""The load and the instant engine of `make bench-gateway`, over loopback sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ops.bench.front import mock
from ops.bench.front.load import Load, Seen, Target
from ops.bench.gateway import Measured, times
from ops.bench.streams import Flow

WORDS = 5


async def one(stream: bool, kind: type[asyncio.Protocol] = mock.Mock) -> Seen:
    """Ask once."""
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
    load, seen = Load(Target(server.sockets[0].getsockname()[1]), WORDS, stream), Seen()
    await load._one(seen, asyncio.get_running_loop().time())
    await load._one(seen, asyncio.get_running_loop().time())  # over the same connection
    load.close()
    server.close()
    return seen


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_answered_is_counted(stream: bool) -> None:
    seen = asyncio.run(one(stream))
    assert (len(seen.whole_s), seen.failed, seen.words) == (2, 0, 2 * WORDS)
    assert all(0 < first <= whole for first, whole in zip(seen.first_s, seen.whole_s, strict=True))


def test_the_control_what_is_not_all_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mock, "_at_once", lambda words, _: mock._HEAD + mock._tail(words, False))
    seen = asyncio.run(one(stream=True))
    assert (len(seen.whole_s), seen.failed) == (0, 2)
    assert "200, 1 events" in seen.why

    class Wrong(mock.Mock):
        def on_message_complete(self) -> None:
            self.transport.write(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno")

    seen = asyncio.run(one(False, Wrong))
    assert (seen.failed, seen.why.startswith("503")) == (2, True)


def test_columns_are_compared_so_that_more_is_better() -> None:
    def row(rate: float, ms: float) -> Any:
        return Measured(rate, rate, 100 * ms, plain_ms=(ms, ms)).figures(Measured())

    assert set(times(row(10, 1), row(2, 5)).values()) == {5.0}


def test_lateness_is_read_from_words_and_memory_has_a_slope() -> None:
    flow = Flow()
    flow.heard(b"4b\r\n" + mock._word(f"{mock.CLOCK.monotonic() - 1:.6f} "))
    assert 1_000 <= flow.ms(0.5) < 60_000
    flow.memory = [(float(at), {"gateway": 100.0 + at / 60}) for at in range(100)]
    assert flow.slope("gateway") == pytest.approx(1.0)
