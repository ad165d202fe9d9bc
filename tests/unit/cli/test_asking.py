"""`submit PROMPT`: the answer on standard output, all else on standard error; Ctrl-C cancels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parallax.broker.store.results import Notice
from parallax.cli.where import Where
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.words import Submitted
from tests.unit.cli.invoking import CLOSED, Run
from tests.unit.cli.test_json import fits
from tests.unit.producers.doors import Door, chunk, end

HELLO = b'{"choices":[{"index":0,"message":{"content":"Say hello"}}]}'


def said(text: str) -> bytes:
    """Return the bytes of a chunk that says this."""
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode()


def answered(answer: bytes) -> Notice:
    return Notice("j1", "answer", answer)


@pytest.fixture
def ask(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that asks `Say hello` of a door, as the job j1."""

    def asked(door: Door, *arguments: str) -> Any:
        monkeypatch.setattr(Where, "connect", lambda *_: door)
        answer = run("submit", "Say hello", "--id", "j1", "--redis", CLOSED, *arguments)
        assert door.closed
        return answer

    return asked


def test_the_answer_is_all_that_is_on_standard_output(ask: Any) -> None:
    door = Door([answered(HELLO), end()])
    answer = ask(door)
    assert (answer.code, answer.out) == (0, "Say hello\n")
    assert answer.err == "j1 completed worker=w1 output_tokens=2\n"
    (((job,), own_streams, bodies),) = door.submitted
    assert (job.prompt_tokens, job.max_tokens, job.stream, job.keep) == (3, 64, False, False)
    assert not own_streams
    assert json.loads(bodies["j1"])["messages"] == [{"role": "user", "content": "Say hello"}]


def test_a_stream_is_shown_as_it_comes(ask: Any) -> None:
    looks = [[chunk(0, said("Say"))], [chunk(1, said(" hello")), chunk(2, said(""))], [end()]]
    door = Door(*looks)
    answer = ask(door, "--stream", "--max-tokens", "2", "--tenant", "bob")
    assert (answer.code, answer.out) == (0, "Say hello\n")
    assert answer.err.startswith("j1 completed ")
    (((job,), own_streams, bodies),) = door.submitted
    assert (job.tenant, job.max_tokens, job.stream, own_streams) == ("bob", 2, True, True)
    assert json.loads(bodies["j1"])["stream"] is True


def test_each_chunk_is_written_at_once(ask: Any, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    class Watching(Door):
        def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
            seen.append(capsys.readouterr().out)
            return super().follow(job_id, cursor, block_ms)

    ask(Watching([chunk(0, said("Say"))], [chunk(1, said(" hello"))], [end()]), "--stream")
    assert seen == ["", "Say", " hello"]


@pytest.mark.parametrize("how", [(), ("--stream",)])
def test_json_is_one_line_with_the_text(ask: Any, how: tuple[str, ...]) -> None:
    looks = [chunk(0, said("Say hello")), end()] if how else [answered(HELLO), end()]
    answer = ask(Door(looks), "--json", *how)
    (line,) = map(json.loads, answer.out.splitlines())
    fits("submit", line)
    assert (answer.code, answer.err) == (0, "")
    assert (line["id"], line["state"], line["text"]) == ("j1", "completed", "Say hello")
    assert line.get("answer") == (None if how else json.loads(HELLO))


def test_an_answer_of_several_lines_steers_no_terminal(ask: Any) -> None:
    text = "one\n\ttwo \x1b[2J\r\u202ethree"
    whole = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
    shown = "one\n\ttwo \\x1b[2J\\r\\u202ethree\n"
    assert ask(Door([answered(whole), end()])).out == shown
    assert ask(Door([chunk(0, said(text)), end()]), "--stream").out == shown


def test_what_is_no_chat_is_shown_as_it_is(ask: Any) -> None:
    assert ask(Door([answered(b"plain\x07"), end()])).out == "plain\\x07\n"
    streamed = ask(Door([chunk(0, b"a b"), chunk(1, b"c"), end()]), "--stream")
    assert streamed.out == "a b\nc\n"
    answer = ask(Door([answered(b"plain\x07"), end()]), "--json")
    assert json.loads(answer.out)["answer"] == "plain\x07"


def test_an_answer_that_ends_its_line_gets_no_second_end(ask: Any) -> None:
    assert ask(Door([chunk(0, said("a\n")), end()]), "--stream").out == "a\n"


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [(), ("--stream",)])
def test_a_job_that_fails_says_why_and_exits_with_1(ask: Any, how: tuple[str, ...]) -> None:
    broken = end(Outcome.FAILED, error="it broke", reason="stream_broken")
    begun = [chunk(0, said("Say"))] if how else []
    answer = ask(Door([*begun, broken]), *how)
    assert (answer.code, answer.out) == (1, "Say\n" if how else "")
    assert 'error="it broke" reason=stream_broken' in answer.err
    line = json.loads(ask(Door([*begun, broken]), *how, "--json").out)
    fits("submit", line)
    assert (line["state"], line["error"]) == ("failed", "it broke")


@pytest.mark.parametrize("how", [(), ("--stream",)])
def test_an_engine_that_makes_no_text_is_told_apart(ask: Any, how: tuple[str, ...]) -> None:
    answer = ask(Door([end()]), *how)
    assert (answer.code, answer.out) == (1, "")
    assert "its engine makes no text (`parallax up --engine echo` does)" in answer.err


def test_a_gap_is_said_and_exits_with_1(ask: Any) -> None:
    looks = [chunk(0, said("Say")), chunk(2, said("lo")), end()]
    answer = ask(Door(looks), "--stream")
    assert (answer.code, answer.out) == (1, "Say\n")
    assert "parallax: job j1: part 2 came where part 1 was due" in answer.err
    line = json.loads(ask(Door(looks), "--stream", "--json").out)
    fits("submit", line)
    assert (line["state"], line["text"]) == ("cancelled", "Say")


def test_silence_ends_with_1(ask: Any) -> None:
    answer = ask(Door(), "--stream", "--timeout", "5")
    assert (answer.code, answer.err) == (1, "parallax: no news for 5 s of job j1\n")
    answer = ask(Door(), "--timeout", "5")
    assert (answer.code, answer.out) == (1, "")
    assert 'j1 waiting error="no news for 5 s"' in answer.err


@pytest.mark.parametrize("how", [(), ("--stream",)])
@pytest.mark.parametrize(
    ("cancelled", "told"),
    [("ok", "is cancelled"), ("late", "had ended"), (Unreachable("gone"), "may go on")],
)
def test_ctrl_c_cancels_the_job_and_says_so(
    ask: Any, how: tuple[str, ...], cancelled: Any, told: str
) -> None:
    begun = [[chunk(0, said("Say"))]] if how else []
    door = Door(*begun, KeyboardInterrupt())
    door.cancelled = cancelled
    answer = ask(door, *how)
    assert (answer.code, answer.out) == (130, "Say\n" if how else "")
    assert answer.err.startswith(f"\nparallax: job j1 {told}")
    assert answer.err.count("\n") == 2
    assert door.cancels == ["j1"]


def test_a_job_that_is_not_accepted_is_an_error(ask: Any) -> None:
    for how in ((), ("--stream",), ("--detach",)):
        answer = ask(Door(word=Submitted.CONFLICT), *how)
        assert (answer.code, answer.out) == (1, "")
        assert "exists with another content" in answer.err


def test_a_detached_job_keeps_its_answer(ask: Any) -> None:
    door = Door()
    answer = ask(door, "--detach")
    assert (answer.code, answer.out, answer.err) == (0, "j1 accepted\n", "")
    (((job,), _, bodies),) = door.submitted
    assert job.keep
    assert bodies


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Say hello", "-f", "-"], "either a PROMPT or --file"),
        (["--stream", "--prompt-tokens", "5", "--max-tokens", "5"], "--stream"),
        (["Say hello", "--stream", "--detach"], "either --stream or --detach"),
        ([""], "prompt"),
        (["Say hello", "--max-tokens", "0"], "max_tokens"),
        ([], 'parallax submit "Say hello"'),
    ],
)
def test_what_does_not_go_together_is_refused(run: Run, arguments: list[str], told: str) -> None:
    answer = run("submit", "--redis", CLOSED, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
