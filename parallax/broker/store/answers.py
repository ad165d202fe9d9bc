"""How a flat reply of a script becomes rows of words (`parallax.core.words`) and details."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias, TypeVar

from parallax.core.errors import Fenced, StoreFault

W = TypeVar("W", bound=StrEnum)
T = TypeVar("T")


_FENCED = b"fenced"


#: A word and its detail: one row of a reply. (A job makes several: a named tuple costs four
#: times what a tuple does.)
Answer: TypeAlias = tuple[W, str]


class Lexicon(dict[bytes, W]):
    """The words of an enum by their bytes: one look-up a row, and nothing is decoded."""

    def __init__(self, words: type[W]) -> None:
        super().__init__((word.value.encode(), word) for word in words)
        self._known = ", ".join(words)

    def __missing__(self, word: bytes) -> W:
        raise StoreFault(f"a script answered {word[:60]!r}; allowed: {self._known}")

    def words(self, reply: Sequence[bytes]) -> list[W]:
        """Return the words of a reply that has nothing else."""
        return [self[word] for word in reply]

    def answers(self, reply: Sequence[bytes]) -> list[Answer[W]]:
        """Return the rows of a reply: word, detail, word, detail, ..."""
        details = [detail.decode("ascii", "replace") for detail in reply[1::2]]
        return list(zip(map(self.__getitem__, reply[::2]), details, strict=True))

    def first(self, reply: Sequence[bytes]) -> W:
        """Return the one word of a reply that is about one thing. Raises Fenced."""
        return self[unfenced(reply)[0]]


def unfenced(reply: Sequence[bytes]) -> Sequence[bytes]:
    """Return a reply as it is; raises Fenced if it says that somebody else leads."""
    if reply[0] == _FENCED:
        raise Fenced("another process holds the lease")
    return reply


def led(rows: Callable[[Sequence[bytes]], list[T]], reply: Sequence[bytes]) -> list[T]:
    """Return the rows that follow the status of a leader's script. Raises Fenced."""
    return rows(unfenced(reply)[1:])
