"""Text that others wrote, made fit to be shown: on a terminal, in a log, in a message."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return text that stays on its line and steers no terminal: `\x1b` for an escape, and so on.

    Everything that Unicode does not call printable is written as Python would write it: control
    characters, line and paragraph separators, marks that turn the direction of writing, and halves
    of surrogate pairs. Printable characters stay as they are. O(length).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    r"""Return text that steers no terminal and may have several lines: `\n` and `\t` stay.

    All else is as in `printable`; text that comes in parts may be made so part by part. O(length).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
