"""What a gateway looks up: no thread takes the replies to another's question for its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from parallax.broker.store.keys import Keys
from parallax.producers.gateway.looking import Looking, Own

#: How long a reply takes at most: until another thread asks over the same connection.
REPLY_S = 0.05


class OneAtATime:
    """A link that notes when two threads ask over it at once."""

    def __init__(self, overlaps: list[str]) -> None:
        self.overlaps, self._asked = overlaps, threading.Semaphore(1)

    def twin(self) -> OneAtATime:
        return OneAtATime(self.overlaps)

    def call(self, *command: Any) -> Any:
        if not self._asked.acquire(blocking=False):
            self.overlaps.append(str(command[0]))
        else:
            threading.Event().wait(REPLY_S)
            self._asked.release()
        return [] if command[0] in {"HGETALL", "HSCAN"} else None if command[0] == "HGET" else 0

    def calls(self, commands: Any) -> list[Any]:
        return [self.call(*command) for command in commands]

    def close(self) -> None:
        pass


def ask_at_once(*questions: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(len(questions)) as threads:
        for asked in [threads.submit(question) for question in questions]:
            asked.result(60)


def looking(overlaps: list[str]) -> Looking:
    return Looking(OneAtATime(overlaps), Keys("cell"))  # type: ignore[arg-type]


@pytest.mark.parametrize("times", [1, 2])  # one goes on whose client has left
def test_law_no_two_threads_ask_over_one_connection(times: int) -> None:
    overlaps: list[str] = []
    found = looking(overlaps)
    ask_at_once(*[found.members, found.known_keys, found.totals, found.routing] * times)
    found.close()
    assert not overlaps


def test_the_control_without_their_locks_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    overlaps: list[str] = []
    found = looking(overlaps)
    for own in found._workers, found._keyring, found._rest:
        monkeypatch.setattr(own, "_lock", threading.Semaphore(9))
    ask_at_once(*[found.totals, found.routing] * 3)
    assert overlaps
    assert isinstance(found._rest, Own)
