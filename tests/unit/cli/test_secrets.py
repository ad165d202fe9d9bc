"""Where the URL of the server may come from, and who may see its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallax.broker.server import secret_file
from parallax.broker.server.embedded import EmbeddedServer
from tests.unit.cli.invoking import CLOSED, Run

SECRET = CLOSED.replace("redis://", "redis://user:hunter2@")


def test_the_url_may_stand_in_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("url").write_text(SECRET + "\n")
    Path("url").chmod(0o640)
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "url")
    answer = run("status")
    assert answer.code == 4  # it was read, and nobody listens there
    assert "hunter2" not in answer.err + answer.out
    assert "arguments" not in answer.err


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_file_with_a_password_must_be_closed_to_others(
    run: Run, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    Path("url").write_text(SECRET + "\n")
    Path("url").chmod(mode)
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "url")
    answer = run("status")
    assert answer.code == 2
    assert "PARALLAX_REDIS_FILE: 'url' is not allowed" in answer.err
    assert "chmod o-rwx" in answer.err
    assert "hunter2" not in answer.err
    Path("url").write_text(CLOSED)  # the control: no secret in it
    assert run("status").code == 4


def test_what_a_container_mounts_as_a_secret_is_readable_by_all_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text(SECRET)
    monkeypatch.setattr(secret_file, "MOUNTED", (f"{tmp_path}/",))
    assert secret_file.read_url(tmp_path / "url", "field") == SECRET


def test_a_flag_beats_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "nowhere")
    assert run("status", "--redis", CLOSED).code == 4


def test_the_file_that_the_environment_names_beats_the_settings_file(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("parallax.toml").write_text('redis = "redis://127.0.0.1:9"\n')
    assert run("url").out == "redis://127.0.0.1:9\n"
    Path("url").write_text(CLOSED)
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "url")
    assert run("url").out == f"{CLOSED}\n"
    monkeypatch.setenv("PARALLAX_REDIS", "redis://127.0.0.1:8")
    assert run("url").out == "redis://127.0.0.1:8\n"


def test_a_file_that_cannot_be_read_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS_FILE", "nowhere")
    answer = run("status")
    assert answer.code == 2
    assert "nowhere" in answer.err


def test_a_password_among_the_arguments_is_warned_of_and_not_told(run: Run) -> None:
    answer = run("status", "--redis", SECRET)
    assert "arguments" in answer.err
    assert "hunter2" not in answer.err
    assert "arguments" not in run("status", "--redis", CLOSED).err


def test_one_in_the_environment_is_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS", SECRET)
    assert "arguments" not in run("status").err


@pytest.mark.parametrize(
    ("user", "says"),
    [(":hunter2@", "refuses user or password"), ("nobody:hunter2@", "refuses user or password"),
     ("", "asks for a password")],
)  # fmt: skip
def test_a_wrong_password_ends_with_4_and_is_not_told(
    embedded: EmbeddedServer, run: Run, monkeypatch: pytest.MonkeyPatch, user: str, says: str
) -> None:
    assert embedded.info is not None
    plain = embedded.info.tcp_url.rpartition("@")[2]
    monkeypatch.setenv("PARALLAX_REDIS", f"redis://{user}{plain}")
    for command in (
        ["status"],
        ["submit", "--prompt-tokens", "5", "--max-tokens", "5"],
        ["scheduler"],
        ["worker", "--engine", "noop"],
    ):
        answer = run(*command)
        assert (answer.code, answer.out) == (4, "")
        assert says in answer.err
        assert "hunter2" not in answer.err


def test_the_secrets_of_an_address_that_cannot_be_are_not_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for password in ("sec ret pw", "sec#ret", "sec/ret", "sec?ret", "sec@ret"):
        monkeypatch.setenv("PARALLAX_REDIS", f"redis://user:{password}@127.0.0.1:7801x/0")
        answer = run("status")
        assert answer.code == 2
        assert not {"sec", "ret", "pw"} & set(
            answer.err.replace("#", " ").replace("/", " ").split()
        )
        assert "sec" not in answer.err


def test_a_url_file_may_begin_with_a_byte_order_mark(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_bytes(b"\xef\xbb\xbfredis://127.0.0.1:1\r\n")
    monkeypatch.setenv("PARALLAX_REDIS_FILE", str(file))
    answer = run("status")
    assert answer.code == 4
    assert "does not answer" in answer.err
