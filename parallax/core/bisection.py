"""Finding the one item of a batch that makes the whole batch fail."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception)
Y = TypeVar("Y")
S = TypeVar("S")


def each(
    batch: Sequence[T], do: Callable[[Sequence[T]], Sequence[R]], fault: type[E]
) -> list[R | E]:
    """Do the same with a `do` that asks for nothing: it returns its results at once."""

    def done(some: Sequence[T]) -> Generator[None, None, Sequence[R]]:
        yield from ()
        return do(some)

    try:
        next(each_asked(batch, done, fault))
    except StopIteration as end:
        results: list[R | E] = end.value
        return results
    raise AssertionError("what is done at once asks for nothing")


def each_asked(
    batch: Sequence[T], do: Callable[[Sequence[T]], Generator[Y, S, Sequence[R]]], fault: type[E]
) -> Generator[Y, S, list[R | E]]:
    """Do a batch; return for each item its result, or the error that it alone causes.

    `do` asks what it yields, and is sent the answers; it returns one result for each item, in
    order, and does no harm when it is done again. If it raises `fault`, it is called with halves,
    and halves of those that fail: about 2 k log2(n) calls for k bad items among n. A batch of
    several that are all bad is not a batch of bad items: then the operation itself fails, and
    the first error is raised.
    """
    results = yield from _halved(batch, do, fault)
    errors = [result for result in results if isinstance(result, fault)]
    if len(batch) > 1 and len(errors) == len(batch):
        raise errors[0]
    return results


def _halved(
    batch: Sequence[T], do: Callable[[Sequence[T]], Generator[Y, S, Sequence[R]]], fault: type[E]
) -> Generator[Y, S, list[R | E]]:
    try:
        return list((yield from do(batch)))
    except fault as error:
        if len(batch) <= 1:
            return [error for _ in batch]
        middle = len(batch) // 2
        first = yield from _halved(batch[:middle], do, fault)
        return [*first, *(yield from _halved(batch[middle:], do, fault))]
