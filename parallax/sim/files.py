"""Writes a file that a user named: whole or not at all, and never in place of a device.

A new file takes the place of a regular one in one step, with its permissions. Devices, pipes and
what `/dev` and `/proc` lead to are written to as they are; of a link what it points to is written.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """Give the text file to write to; the old content stays if the body raises. Raises OSError."""
    target, replaceable, mode = _target(path)
    if not replaceable:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            yield file
        if mode is not None:
            part.chmod(mode)
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


def _target(path: Path) -> tuple[Path, bool, int | None]:
    """Return what a path leads to, whether that may be replaced, and its permissions."""
    if path.is_absolute() and path.parts[1:2] in (("dev",), ("proc",)):
        return path, False, None  # /dev/stdout may be a regular file: of the shell's, and open
    try:
        target = path.resolve() if path.is_symlink() else path
    except RuntimeError:  # what Python < 3.13 says of links that lead to each other
        raise OSError(0, "its links lead in a circle", str(path)) from None
    try:
        status = target.stat()
    except FileNotFoundError:
        return target, True, None
    regular = stat.S_ISREG(status.st_mode) and status.st_nlink == 1  # other names keep the content
    return target, regular, stat.S_IMODE(status.st_mode)
