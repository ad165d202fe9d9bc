"""Finds in a server's log why it ended, and what to do about it."""

from __future__ import annotations

from pathlib import Path

#: What stands in the log, and what that means; the first that is found counts.
_REASONS = (
    (
        ("No space left on device", "Can't recover from AOF write error"),
        "its disk is full: free some space in {folder}",
    ),
    (
        ("Bad file format", "Unexpected end of file", "Unrecoverable error reading",
         "AOF loading error", "Invalid AOF manifest", "doesn't exist", "Error reading the append"),
        "its append-only file is damaged: put back a copy of {folder}/appendonlydir, or move that "
        "directory away and start empty, without the jobs in it",
    ),
    (
        ("'ulimit -n'", "Too many open files"),
        "it may open too few files: raise `ulimit -n`",
    ),
    (("Permission denied",), "it may not use its files: look at who owns {folder}"),
)  # fmt: skip


def reason(log: str, folder: Path) -> str:
    """Return why the server did not start, and what to do; else the last that it wrote."""
    for marks, meaning in _REASONS:
        lines = [line for line in log.splitlines() if any(mark in line for mark in marks)]
        if lines:
            said = lines[-1].partition("# ")[2] or lines[-1]
            return f"{meaning.format(folder=folder)} ({said.strip()[:160]})"
    return log[-600:].strip()
