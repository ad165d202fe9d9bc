"""Laws of the desk over random histories, each with a desk that breaks it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parallax.broker.store.attempts import Attempt
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.consumers.desk import Desk
from parallax.consumers.engines.interface import Condition
from parallax.consumers.outgoing import Outgoing
from parallax.consumers.retries import Resting
from tests.examples import examples
from tests.laws.desks import Play

STEPS = 120


@pytest.mark.parametrize("role", ["both", "prefill"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(150), deadline=None)
def test_what_began_ends_once_within_its_bounds_and_its_chunks_are_told_in_order(
    role: str, seed: int
) -> None:
    play = Play(seed, role=role)
    play.play(STEPS)
    play.end()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(20), deadline=None)
def test_the_same_news_bring_the_same_actions(seed: int) -> None:
    plays = [Play(seed), Play(seed)]
    for play in plays:
        play.play(STEPS)
        play.end()
    assert plays[0].actions == plays[1].actions


def test_histories_are_rich() -> None:
    """All that may happen does happen in the histories over which the laws hold."""
    seen: set[type] = set()
    verdicts: set[str] = set()
    for seed in range(40):
        play = Play(seed)
        play.play(STEPS)
        play.end()
        seen |= {type(action) for action in play.actions}
        verdicts |= {finish.verdict for finish in play.books.ends.values()}
    assert seen == set(do.Action.__args__)
    assert verdicts == {"completed", "failed", "retry", "stopped", "expired", "dead", "back"}


# -- desks that break the laws --------------------------------------------------------------------


class Forgetful(Desk):
    """Forgets ends that were not answered."""

    def _on_undone(self, news: told.Undone) -> None:
        self._ending = ()
        super()._on_undone(told.Undone([a for a in news.actions if not isinstance(a, do.End)]))


class Repetitive(Desk):
    """Tells twice of what was stopped."""

    def _on_stopped(self, news: told.Stopped) -> None:
        super()._on_stopped(news)
        self._unsent.append(self._unsent[-1])


class Crowded(Desk):
    """Begins whatever waits."""

    def _begin(self) -> None:
        self.condition = replace(self.condition, slots=self.condition.slots + 1)
        super()._begin()


class Unwilling(Desk):
    """Keeps what runs when it drains."""

    def _give_back(self) -> None:
        self._unsent += self.resting.release()


class Eager(Desk):
    """Begins again what it reads again."""

    def has_seen(self, entry: str) -> bool:
        return True

    def _on_read(self, news: told.Read) -> None:
        self._seen = set()
        super()._on_read(news)


class Careless(Desk):
    """Gives its engine what that cannot take."""

    def _on_condition(self, event: Condition) -> None:
        super()._on_condition(replace(event, ready=True))


class Both(Desk):
    """Lets two attempts of a job run."""

    def _add(self, attempt: Attempt) -> None:
        self.running.pop(attempt.job_id, None)
        super()._add(attempt)


class Mixing(Desk):
    """Takes what is told of an attempt that leaves for news of the next one."""

    def _of(self, job_id: str):  # type: ignore[no-untyped-def]
        return self.running.get(job_id)


class Talkative(Outgoing):
    """Sends what nobody wants any more."""

    def answered(self, words):  # type: ignore[no-untyped-def]
        queue = self._queue.copy()
        halted = super().answered(words)
        self._queue = queue
        return halted


class Backwards(Outgoing):
    """Sends the last chunk first."""

    def next(self):  # type: ignore[no-untyped-def]
        if not self._sent:
            self._queue.reverse()
        return super().next()


class Hasty(Outgoing):
    """Lets an end overtake its chunks."""

    def owes(self, attempt: Attempt) -> bool:
        return False


class Lossy(Outgoing):
    """Forgets chunks that were not answered."""

    def undone(self) -> None:
        self._sent = ()


def _with(outgoing: type[Outgoing]) -> type[Desk]:
    class Broken(Desk):
        def __init__(self, *arguments, **named):  # type: ignore[no-untyped-def]
            super().__init__(*arguments, **named)
            self._outgoing = outgoing()

    return Broken


BROKEN = [Forgetful, Repetitive, Crowded, Unwilling, Eager, Careless, Both, Mixing]
BROKEN_LINES = [Talkative, Backwards, Hasty, Lossy]


def _is_found(kind: type[Desk]) -> bool:
    for seed in range(400):
        play = Play(seed, kind)
        try:
            play.play(STEPS)
            play.end()
        except (AssertionError, KeyError):
            return True
    return False


@pytest.mark.parametrize("kind", BROKEN)
def test_a_desk_that_breaks_a_law_is_found(kind: type[Desk]) -> None:
    assert _is_found(kind)


@pytest.mark.parametrize("outgoing", BROKEN_LINES)
def test_a_line_of_chunks_that_breaks_a_law_is_found(outgoing: type[Outgoing]) -> None:
    assert _is_found(_with(outgoing))


def test_a_desk_that_rolls_its_own_dice_is_found() -> None:
    class Dicey(Desk):
        def __init__(self, *arguments, **named):  # type: ignore[no-untyped-def]
            super().__init__(*arguments, **named)
            self.resting = Resting(4.0, 10.0, Random())

    def actions(seed: int) -> list[do.Action]:
        play = Play(seed, Dicey)
        play.play(400)
        return play.actions

    assert any(actions(seed) != actions(seed) for seed in range(20))
