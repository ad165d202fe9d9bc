"""`noop`: ends everything at once. For measuring what surrounds an engine."""

from __future__ import annotations

from collections.abc import Mapping

from parallax.consumers.engines.interface import Done, Host
from parallax.consumers.engines.registry import ENGINES, Options
from parallax.engine.request import Consumed, Request

#: Requests that run at once, where nobody says how many.
SLOTS = 2_000


class NoopEngine:
    """Every request has its first and last token as soon as the loop comes round.

    So all that is added in one go ends in one go.
    """

    name = "noop"
    kv_capacity = 0
    kv_used = 0.0
    reads_bodies = False
    ready = True
    _host: Host

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._requests: list[Request] = []

    def start(self, host: Host) -> None:
        """See `interface.Engine`."""
        self._host = host

    def add(self, request: Request, now: float) -> None:
        """See `interface.Engine`."""
        self._requests.append(request)
        if len(self._requests) == 1:
            self._host.at(now, lambda: self._end(now))

    def stop(self, request_id: str) -> Consumed | None:
        """See `interface.Engine`: a request that has not ended has consumed nothing."""
        left = [r for r in self._requests if r.id != request_id]
        here, self._requests = len(left) < len(self._requests), left
        return Consumed() if here else None

    def describe(self) -> Mapping[str, str | int | float]:
        """See `interface.Engine`."""
        return {}

    def _end(self, at: float) -> None:
        requests, self._requests = self._requests, []
        if requests:
            self._host.tell([Done(r.id, at, r.output_tokens or 1, first_at=at) for r in requests])


@ENGINES.register("noop")
def build(options: Options) -> NoopEngine:
    """Ends every request at once."""
    return NoopEngine(options.slots or SLOTS)
