"""The one bad item of a batch is found, and the others are done."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from parallax.core.bisection import each, each_asked


class Bad(Exception):
    """What bad items bring about."""


class Answers:
    """Doubles numbers; a batch with a bad one among them fails."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.asked = set(bad), list[list[int]]()

    def doubled(self, some: Sequence[int]) -> list[int]:
        self.asked.append(list(some))
        if self.bad & set(some):
            raise Bad(str(sorted(self.bad & set(some))))
        return [2 * number for number in some]

    def asking(self, some: Sequence[int]) -> Generator[Sequence[int], list[int], list[int]]:
        """Do the same with what it is sent for what it yields."""
        numbers = yield some
        return self.doubled(numbers)


def carried(answers: Answers, batch: Sequence[int]) -> list[int | Bad]:
    """Send back what is asked for."""
    dialogue = each_asked(batch, answers.asking, Bad)
    asked = next(dialogue)
    while True:
        try:
            asked = dialogue.send(list(asked))
        except StopIteration as end:
            results: list[int | Bad] = end.value
            return results


def shown(results: list[int | Bad]) -> list[int | str]:
    return [str(one) if isinstance(one, Bad) else one for one in results]


def test_what_is_good_is_done_once() -> None:
    answers = Answers()
    assert each([1, 2, 3], answers.doubled, Bad) == [2, 4, 6]
    assert answers.asked == [[1, 2, 3]]


def test_the_bad_one_is_found_by_halves_whoever_is_asked() -> None:
    at_once, asked = Answers(3), Answers(3)
    results = each([1, 2, 3, 4], at_once.doubled, Bad)
    assert shown(results) == [2, 4, "[3]", 8]
    assert at_once.asked == [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]
    assert shown(carried(asked, [1, 2, 3, 4])) == shown(results)
    assert asked.asked == at_once.asked


def test_where_all_are_bad_it_is_what_is_done_that_fails() -> None:
    answers = Answers(1, 2)
    with pytest.raises(Bad, match="1"):
        each([1, 2], answers.doubled, Bad)
    with pytest.raises(Bad, match="1"):
        carried(answers, [1, 2])


def test_other_errors_are_raised_at_once() -> None:
    answers = Answers(1)
    with pytest.raises(Bad):
        each([1, 2], answers.doubled, ValueError)
    assert answers.asked == [[1, 2]]
