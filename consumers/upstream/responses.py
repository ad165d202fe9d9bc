"""Events of a streamed response (`/v1/responses`), each with a `type`: the last tells all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from parallax.consumers.upstream.failure import of_error

#: Events after which nothing more comes, and those that go on with an answer end so.
_LAST = frozenset({"response.completed", "response.incomplete"})
_MORE = ".delta"


class _Event(msgspec.Struct):
    response: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Event)


@dataclass(slots=True)
class Response:
    """Takes the events of one response in order."""

    usage: Any = None
    document: bytes | None = None  # the whole response, once it is there

    def add(self, event: dict[str, Any], payload: bytes) -> bool:
        """Take an event; return whether it goes on with the answer. Raises Failure."""
        kind = event["type"]
        if not isinstance(kind, str):
            return False
        response = event.get("response")
        if kind == "error":
            raise of_error({"message": event.get("message"), "code": event.get("code")})
        if kind == "response.failed":
            raise of_error(response.get("error") if isinstance(response, dict) else None)
        if kind in _LAST and isinstance(response, dict):
            self.usage = response.get("usage")
            self.document = bytes(_DECODER.decode(payload).response)
        return kind.endswith(_MORE)
