"""Server-sent events as servers of OpenAI's API send them: bytes in, payloads of `data:` out."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Longest line, and longest event (bytes): beyond, it is no server of this API that speaks.
MOST = 4 << 20


class TooLong(Exception):
    """A line or an event has no end."""


@dataclass(slots=True)
class EventReader:
    """Feed it bytes in pieces of any size; memory is bounded by `most`.

    Lines end with LF or CRLF. Comments, names, ids and retries are passed over. Several `data:`
    lines are one payload, joined by LF, as the standard wants it. A line `error: {...}`, as older
    servers of llama.cpp send it, is read as the payload `{"error": {...}}`.
    """

    most: int = MOST
    _rest: bytes = b""
    _data: list[bytes] = field(default_factory=list)
    _size: int = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that are complete now; raises TooLong."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self.most:
            raise TooLong(f"a line of more than {self.most} bytes")
        payloads: list[bytes] = []
        for line in lines:
            self._take(line.removesuffix(b"\r"), payloads)
        return payloads

    def end(self) -> list[bytes]:
        """End the input; return an event that lacks only its last empty line."""
        payloads: list[bytes] = []
        self._take(self._rest.removesuffix(b"\r"), payloads)
        self._take(b"", payloads)
        self._rest = b""
        return payloads

    def _take(self, line: bytes, payloads: list[bytes]) -> None:
        if not line:
            if self._data:
                payloads.append(b"\n".join(self._data))
                self._data, self._size = [], 0
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"error":
            name, value = b"data", b'{"error":' + value + b"}"
        if name == b"data" and value:
            self._size += len(value)
            if self._size > self.most:
                raise TooLong(f"an event of more than {self.most} bytes")
            self._data.append(value)
