"""`parallax backend`, and `--backend` of `worker` and `up`: what is refused, and how it is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from tests.unit.cli.invoking import Run
from tests.unit.cli.test_json import fits
from tests.upstream import Upstream

PROPS = {"total_slots": 3, "default_generation_settings": {"n_ctx": 128}}


@pytest.fixture
def server() -> Iterator[Upstream]:
    looks = {"/health": (200, {}), "/props": (200, PROPS)}
    with Upstream(owner="llamacpp", looks=looks, key="sk-secret") as server:
        yield server


def test_a_server_is_looked_at(run: Run, server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", server.key)
    answer = run("backend", "probe", f"{server.url},key-env=MY_KEY", "--json")
    assert answer.code == 0, answer.err
    fits("backend probe", answer.document)
    found = answer.document
    assert (found["kind"], found["slots"], found["models"]) == ("llamacpp", 3, ["tiny"])
    assert (found["kv_capacity_tokens"], found["context_tokens"]) == (384, 128)
    shown = run("backend", "probe", f"{server.url},key-env=MY_KEY")
    assert "sk-secret" not in shown.out + shown.err


def test_a_server_that_is_not_well_is_told_with_the_reason(run: Run, server: Upstream) -> None:
    answer = run("backend", "probe", server.url)
    assert (answer.code, answer.out) == (1, "")
    assert "refuses its key (401)" in answer.err
    assert "sk-secret" not in answer.err
    server.down()
    answer = run("backend", "probe", server.url)
    assert answer.code == 1
    assert "cannot be reached" in answer.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["worker", "--backend", "nonsense"], "http://127.0.0.1:8000/v1"),
        (["worker", "--backend", "http://h", "--engine", "echo"], "either --engine or --backend"),
        (["worker", "--backend", "http://h", "--role", "decode"], "--role"),
        (["worker", "--engine", "openai"], "name it with --backend"),
        (["worker", "--backend", "http://h,key-env=NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["up", "--engine", "openai"], "--backend"),
        (["up", "--backend", "http://h,slots=0"], "slots"),
        (["up", "--backend", "http://h", "--workers", "2"], "either --workers or --backend"),
        (["up", "--backend", "http://h", "--engine", "cpu"], "either --engine or --backend"),
        (["up", "--backend", "http://me:pass@h"], "without a password"),
        (["backend", "probe", "http://h,knid=vllm"], "did you mean kind?"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_what_cannot_be_is_refused_before_anything_is_started(
    run: Run, words: list[str], says: str
) -> None:
    answer = run(*words)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert "pass@" not in answer.err


def test_without_the_client_it_is_said_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for words in (["backend", "probe"], ["worker", "--backend"], ["up", "--backend"]):
        answer = run(*words, "http://127.0.0.1:9")
        assert answer.code == 1
        assert "pip install 'parallax-lb[engines]'" in answer.err


def test_a_server_that_is_not_ready_is_listed_with_the_reason(run: Run, embedded_url: str) -> None:
    link, keys = Link.to(embedded_url), Keys()
    about: dict[str, str | int | float] = {
        "backend": "http://h", "kind": "vllm", "models": "a,b",
    }  # fmt: skip
    member = Membership(link, keys)
    member.beat("w1", "w1", 60_000, Registration(VERSION, 4, "openai", about=about))
    member.beat("w2", "w2", 60_000, Registration(VERSION, 4, "cpu"))
    member.report("w1", 60_000, {"draining": 1, "unready": "it is gone"})
    link.close()
    answer = run("backend", "list", "--redis", embedded_url, "--json")
    assert answer.code == 1
    fits("backend list", answer.document)
    (row,) = answer.document
    assert (row["state"], row["why"], row["models"]) == ("unready", "it is gone", ["a", "b"])
    (first, _) = run("workers", "--redis", embedded_url, "--json").document
    assert first["state"] == "unready"
