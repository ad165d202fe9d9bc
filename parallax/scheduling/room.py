"""How many more jobs may be sent out now, and for which models: what the gate leaves, by kind.

Workers that serve the same models are of one kind. There are few kinds whatever the number of
workers and models, so a job that is chosen costs O(kinds).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from parallax.core.model import WorkerView
from parallax.scheduling.queues import Queued

Kind = frozenset[str]

#: Workers that name no models serve more of them than any that do.
_MANY = 1 << 30


class Room:
    """See the module's docstring. Taken places are counted, so that no job is chosen in vain."""

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        self._left: dict[Kind, int] = {}
        for worker in workers:
            self._left[worker.models] = self._left.get(worker.models, 0) + worker.free
        self._kinds = list(self._left)
        self._open: Collection[str] | None = None
        self._known = False

    def __bool__(self) -> bool:
        return any(self._left.values())

    @property
    def apart(self) -> bool:
        """Whether it matters which model a job asks for."""
        return len(self._kinds) > 1

    def open(self, lanes: Mapping[str, int]) -> Collection[str] | None:
        """Return the models among these that there is room for; None if it is all of them.

        O(1), or O(lanes) after the room of a kind is used up.
        """
        if not self._known:
            models = [model for model in lanes if self._some(model) is not None]
            self._open = None if len(models) == len(lanes) and self else models
            self._known = True
        return self._open

    def fits(self, model: str) -> bool:
        """Whether there is room for a job that asks for this model."""
        return self._some(model) is not None

    def take(self, model: str) -> None:
        """A job that asks for this model is sent out."""
        kind = self._some(model)
        if kind is None:
            raise ValueError(f"there is no room for {model!r}")
        self._left[kind] -= 1
        if not self._left[kind]:
            self._known = False

    def _some(self, model: str) -> Kind | None:
        """Return a kind with room that serves a model: the one that others can use least."""
        found, least = None, (2 * _MANY, 0)
        for kind, left in self._left.items():
            if left > 0 and (not model or not kind or model in kind):
                rank = (len(kind) if kind else _MANY, -left) if model else (0, -left)
                if rank < least:
                    found, least = kind, rank
        return found

    def groups(self, chosen: Sequence[Queued]) -> list[tuple[str, Sequence[Queued]]]:
        """Return jobs with the model that each may be placed by: those together that may go to the
        same workers, and first those that may go to the fewest kinds of them.
        """
        if not self.apart:
            return [("", chosen)] if chosen else []
        dealt: dict[tuple[int, ...], list[Queued]] = {}
        places: dict[str, tuple[int, ...]] = {}
        for queued in chosen:
            model = queued.job.model
            if model not in places:
                places[model] = tuple(n for n, k in enumerate(self._kinds)
                                      if not model or not k or model in k)  # fmt: skip
            dealt.setdefault(places[model], []).append(queued)
        return [(some[0].job.model, some) for _, some in sorted(dealt.items(), key=_how_many)]


def _how_many(dealt: tuple[tuple[int, ...], list[Queued]]) -> int:
    return len(dealt[0])
