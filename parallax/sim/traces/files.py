"""The text of a trace file as people have it: plain or compressed, from a disk or from a pipe.

A trace is read several times (for its format, its longest answer, its hash, its jobs), but a pipe
can be read once: what came out of it is kept in memory while the process lives.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO

from parallax.core.errors import InvalidInput

#: Most bytes kept of one pipe, and most pipes that are kept.
PIPE_BYTES, PIPES = 1 << 30, 4
_GZIP = b"\x1f\x8b"
#: Byte order marks by which an encoding is known; without one a file is UTF-8.
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
#: What reading may raise, whatever the file is.
FAULTS = (OSError, UnicodeError, EOFError, zlib.error)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Give the bytes of a file from their start, also if it is a pipe; raises OSError."""
    if path.is_fifo():
        state = path.stat()
        yield io.BytesIO(_drained(path, state.st_dev, state.st_ino))
        return
    with path.open("rb") as file:
        yield file


@contextmanager
def text_of(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Give the text of a file: gzip is unpacked, a byte order mark tells UTF-16 from UTF-8.

    Raises one of `FAULTS` here, or later while it is read.
    """
    with opened(path) as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        data: BinaryIO = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw  # type: ignore[assignment]
        mark = data.read(2)
        data.seek(0)
        encoding = next((name for sign, name in _MARKS if mark == sign), "utf-8-sig")
        with io.TextIOWrapper(data, encoding=encoding, newline=newline) as text:
            yield text


def no_pipe(path: Path, why: str) -> None:
    """Refuse a pipe where several processes, or later ones, read the same file again."""
    if path.is_fifo():
        raise InvalidInput("trace", str(path), f"a file, not a pipe: {why}")


@lru_cache(maxsize=PIPES)
def _drained(path: Path, device: int, node: int) -> bytes:  # noqa: ARG001
    """Return all that comes out of a pipe. O(bytes); device and node say which pipe it is."""
    with path.open("rb") as file:
        data = file.read(PIPE_BYTES + 1)
    if len(data) > PIPE_BYTES:
        raise InvalidInput("trace", str(path), f"at most {PIPE_BYTES:,} bytes from a pipe")
    return data
