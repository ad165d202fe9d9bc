"""Which models there are, what else they are called, and for how long they are known."""

from __future__ import annotations

import asyncio

import pytest

from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.membership import Member, models_of
from parallax.producers.gateway.models import FRESH_S, MOST_REMEMBERED, REMEMBER_S, Models
from parallax.producers.gateway.problems import Problem


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def member(models: str, *, alive: bool = True, engine: str = "echo", **report: str) -> Member:
    about: dict[str, str | int | float] = {"models": models} if models else {}
    return Member("w", alive, Registration(VERSION, 1, engine, about=about), report)


def test_a_worker_serves_what_it_names_or_its_engine() -> None:
    assert models_of(Registration(VERSION, 1, "echo")) == ("echo",)
    assert models_of(Registration(VERSION, 1, "echo", about={"models": "a, b:1,"})) == ("a", "b:1")
    unseen: dict[str, str | int | float] = {"backend": "http://127.0.0.1:1"}
    assert models_of(Registration(VERSION, 1, "openai", about=unseen)) == ("",)


def names(models: Models) -> dict[str, int]:
    return {name: one.live for name, one in asyncio.run(models.known()).items()}


def test_a_model_is_known_for_a_while_after_its_last_worker() -> None:
    clock, members = Hand(), [member("llama,qwen"), member("llama", draining="1")]
    models = Models(lambda: members, clock)  # type: ignore[arg-type]
    assert names(models) == {"llama": 1, "qwen": 1}
    members.clear()
    clock.time += 2 * FRESH_S
    assert names(models) == {"llama": 0, "qwen": 0}
    with pytest.raises(Problem, match="no live worker serves 'qwen'"):
        asyncio.run(models.await_worker("qwen", 0.0))
    clock.time += REMEMBER_S
    assert names(models) == {}


def test_a_model_is_not_unknown_while_its_workers_may_still_come() -> None:
    clock, members = Hand(), [member("llama")]
    models = Models(lambda: members, clock, learn_s=5.0)  # type: ignore[arg-type]
    asyncio.run(models.check("qwen"))
    with pytest.raises(Problem, match="no live worker serves 'qwen'"):
        asyncio.run(models.await_worker("qwen", 0.0))
    clock.time += 5.0
    with pytest.raises(Problem, match="does not exist") as unknown:
        asyncio.run(models.check("qwen"))
    assert unknown.value.status == 404


def test_what_is_remembered_is_bounded() -> None:
    clock, members = Hand(), [member(",".join(f"a{n}" for n in range(900)))]
    models = Models(lambda: members, clock)  # type: ignore[arg-type]
    assert len(names(models)) == 900
    members[:] = [member(",".join(f"b{n}" for n in range(900)))]
    clock.time += 2 * FRESH_S
    found = names(models)
    assert len(found) == MOST_REMEMBERED
    assert all(f"b{n}" in found for n in range(900))  # those that live are the last to be forgotten


def test_aliases_and_the_default_stand_for_models() -> None:
    members = [member("llama3:latest,qwen")]
    models = Models(lambda: members, Hand(), {"gpt-4o": "qwen", "lost": "nothing"}, "gpt-4o")  # type: ignore[arg-type]
    asked = {"gpt-4o": "qwen", "": "qwen", "qwen": "qwen", "llama3": "llama3:latest", "x": "x"}
    for name, meant in asked.items():
        assert asyncio.run(models.meant_by(name)) == meant
    assert list(names(models)) == ["llama3:latest", "qwen", "gpt-4o"]
    assert asyncio.run(Models(lambda: members, Hand()).meant_by("")) == ""  # type: ignore[arg-type]
