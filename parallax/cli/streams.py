"""Standard streams as commands find them: closed, full, left by their reader, or of few letters."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: What writing to a stream may say: it is closed, its disk is full, its terminal is gone.
UNWRITABLE = (errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class ReaderLeft(Exception):
    """The reader of our output has closed it, as `head` does."""


@contextmanager
def reader_noticed() -> Iterator[None]:
    """Raise ReaderLeft for a broken pipe, before click makes a failure of it."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderLeft from error


def prepare() -> None:
    """Let every write to a standard stream succeed, or fail with an OSError; never otherwise.

    What a terminal's encoding cannot say is written as an escape. A closed standard output fails
    when it is written to, and no file that is opened later gets its number.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _occupied(descriptor, flags)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8", closefd=False)  # None: it was closed
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon() -> None:
    """Drop the unwritten output: the interpreter would try it again at its end."""
    with suppress(OSError, ValueError):  # it may be no file at all, in a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        sys.stdout.flush()


def _occupied(descriptor: int, flags: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, flags)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
