"""A gateway on a loopback socket, before a cell that is turned in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.registry import build_engine
from parallax.core.cells import CellAddress
from parallax.core.settings import Policies
from parallax.producers.gateway.app import Gateway
from parallax.producers.gateway.doorkeeper import LOCAL, Openness
from parallax.producers.gateway.serving import Serving, listening
from parallax.producers.gateway.settings import GatewaySettings
from parallax.services.clock import SystemClock
from parallax.telemetry.tracing import OFF, Tracer
from tests.integration.cells import Cell
from tests.waiting import wait_until

CELL = "cell"
#: Nobody waits so long: what a test is not about happens before.
LONG_S = 90.0
SAID = "to be or not"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": SAID}], "max_tokens": 6}
PLAIN = {"model": "echo", "prompt": SAID, "max_tokens": 6}
ECHOED = "to be or not to be"


@dataclass(slots=True)
class Front:
    """A gateway that runs, and who asks it."""

    gateway: Gateway
    base: str
    asking: httpx.Client
    cell: Cell
    serving: Serving

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """Ask, and return all of the answer; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.asking.post(path, json=body, headers=named)

    def chat(self, **fields: Any) -> httpx.Response:
        """Ask for a chat."""
        return self.post("/v1/chat/completions", {**CHAT, **fields})

    def chat_keyed(self, key: str, **fields: Any) -> httpx.Response:
        """Ask for a chat under an Idempotency-Key."""
        return self.post("/v1/chat/completions", {**CHAT, **fields}, idempotency_key=key)

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that have not ended."""
        keys = Keys(CELL)
        return [one.decode() for one in self.cell.link.call("ZRANGE", keys.open, 0, -1)]


@dataclass(slots=True)
class Turning:
    """Lets a cell work in a thread of its own."""

    cell: Cell
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._turn)

    def _turn(self) -> None:
        while not self.over.is_set():
            self.cell.turn()

    def __enter__(self) -> Turning:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join(60)


def echoing(speed: float = 50.0) -> Any:
    """Return an engine that says the words of the prompt."""
    return build_engine("echo", profile="laptop", slots=None, speed=speed, clock=SystemClock())


class Opened:
    """Opens links to a server, and closes all of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._links: list[Link] = []

    def __call__(self) -> Link:
        self._links.append(Link.to(self._url))
        return self._links[-1]

    def close(self) -> None:
        """Close them; whoever uses one again opens it again."""
        for link in self._links:
            link.close()


def a_cell(url: str, *engines: Any, policies: Policies | None = None, tracer: Tracer = OFF) -> Cell:
    """Return a cell with a scheduler and these engines' workers; `fronted` closes its links."""
    cell = Cell(Opened(url), policies or Policies(), tracer=tracer)
    cell.scheduler()
    for engine in engines:
        cell.worker(engine)
    return cell


@contextmanager
def fronted(
    url: str, cell: Cell, settings: GatewaySettings | None = None, openness: Openness = LOCAL
) -> Iterator[Front]:
    """Run a gateway in front of a cell, which works meanwhile."""
    gateway = Gateway(
        CellAddress(CELL, url),
        url,
        settings or GatewaySettings(hold_s=LONG_S, learn_s=0.0),
        SystemClock(),
        openness,
        tracer=cell.tracer,
    )
    serving = Serving(gateway, listening("127.0.0.1", 0))
    thread = threading.Thread(target=serving.run)
    thread.start()
    base = f"http://127.0.0.1:{serving.port}"
    try:
        wait_until(lambda: serving.started or not thread.is_alive(), "the gateway to start")
        with Turning(cell), httpx.Client(base_url=base, timeout=LONG_S, trust_env=False) as asking:
            yield Front(gateway, base, asking, cell, serving)
    finally:
        serving.stop()
        thread.join(60)
        for scheduler in cell.schedulers:
            scheduler.close()
        if isinstance(cell.connect, Opened):
            cell.connect.close()
    assert not thread.is_alive()


def events_of(text: str) -> list[str]:
    """Return the payloads of the events of a stream."""
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def chunks_of(text: str) -> list[Any]:
    """Return the documents of a stream that ended well."""
    events = events_of(text)
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def texts_of(chunks: Sequence[Any]) -> str:
    """Return what the chunks of a chat or a completion say."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in choices)


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, code and param of an answer that is an error."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return answer.status_code, error["code"], error["param"]
