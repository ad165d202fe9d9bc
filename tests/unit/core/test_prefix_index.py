"""The index of who holds what, against a model that keeps plain lists."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.prefix_index import PrefixIndex

WORKERS = ("a", "b", "c")


class Plain:
    """The same by looking at everything: per worker a list, least recently used first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: dict[str, list[int]] = {}

    def insert(self, names: Sequence[int], worker: str) -> None:
        held = self.held.setdefault(worker, [])
        for name in reversed(names):
            if name in held:
                held.remove(name)
            held.append(name)
        del held[: max(0, len(held) - self.capacity)]

    def matches(self, names: Sequence[int]) -> dict[str, int]:
        found = {}
        for worker, held in self.held.items():
            depth = 0
            while depth < len(names) and names[depth] in held:
                depth += 1
            if depth:
                found[worker] = depth
        return found


@pytest.mark.sampled(5)
@pytest.mark.parametrize("seed", range(20))
def test_it_says_what_a_plain_model_says(seed: int) -> None:
    random = Random(seed)
    index, plain = PrefixIndex(12), Plain(12)
    for _ in range(300):
        start, worker = random.choice((0, 100, 200)), random.choice(WORKERS)
        names = range(start, start + random.randrange(9))
        if random.random() < 0.05:
            index.forget(worker)
            plain.held.pop(worker, None)
        elif random.random() < 0.6:
            index.insert(names, worker)
            plain.insert(names, worker)
        assert index.matches(names) == plain.matches(names)
        assert index.match(names, worker) == plain.matches(names).get(worker, 0)
        assert len(index) == sum(len(held) for held in plain.held.values())


def test_memory_is_bounded_and_a_lost_worker_leaves_nothing() -> None:
    index = PrefixIndex(50)
    for n in range(10_000):
        index.insert(range(n * 10, n * 10 + 7), f"w{n % 3}")
    assert len(index) == 150
    for name in ("w0", "w1", "w2", "never-seen"):
        index.forget(name)
    assert len(index) == 0
    assert not index._holders


def test_a_chain_is_forgotten_from_its_tail() -> None:
    index = PrefixIndex(4)
    index.insert([1, 2, 3, 4], "a")
    index.insert([9], "a")
    assert index.matches([1, 2, 3, 4]) == {"a": 3}


def test_a_worker_with_less_memory_is_thought_to_hold_less() -> None:
    index = PrefixIndex(100)
    index.insert(range(50), "small", 10)
    index.insert(range(50), "large")
    assert index.matches(range(50)) == {"small": 10, "large": 50}


def test_a_hole_ends_the_run() -> None:
    index = PrefixIndex(10)
    index.insert([1, 3], "a")
    assert index.matches([1, 2, 3]) == {"a": 1}
    assert index.matches([]) == {}


@pytest.mark.parametrize("capacity", [0, -1, 10**10])
def test_a_bad_capacity_is_refused(capacity: int) -> None:
    with pytest.raises(InvalidInput, match="capacity"):
        PrefixIndex(capacity)
