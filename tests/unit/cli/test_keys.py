"""`parallax keys`: secrets are shown once, and what is done is said."""

from __future__ import annotations

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import Keyring, id_of
from parallax.broker.store.keys import Keys
from tests.unit.cli.invoking import Run


@pytest.fixture
def keys(run: Run, embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `parallax keys`."""
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)

    def asked(*arguments: str) -> object:
        return run("keys", *arguments)

    return asked  # type: ignore[return-value]


def test_a_key_is_shown_once(keys: Run, embedded_url: str) -> None:
    made = keys("create", "--tenant", "acme", "--scope", "ask", "--scope", "speak")
    token = made.out.strip()
    assert made.code == 0
    assert id_of(token) is not None
    assert token not in made.err
    link = Link.to(embedded_url)
    (stored,) = Keyring(link, Keys()).known().values()
    link.close()
    assert (stored.tenant, stored.scopes, stored.expires) == ("acme", ("ask", "speak"), None)
    listed = keys("list")
    assert str(id_of(token)) in listed.out
    assert token not in listed.out


def test_revoking_says_what_it_did(keys: Run) -> None:
    token = keys("create", "--tenant", "acme").out.strip()
    gone = keys("revoke", str(id_of(token)))
    assert (gone.code, gone.out) == (0, f"{id_of(token)} revoked\n")
    assert "no key is left" in gone.err
    assert keys("revoke", "nobody").code == 1


def test_rotating_leaves_the_old_one_for_a_while(keys: Run, embedded_url: str) -> None:
    token = keys("create", "--tenant", "acme", "--model", "echo").out.strip()
    new = keys("rotate", str(id_of(token)), "--hours", "2").out.strip()
    link = Link.to(embedded_url)
    known = Keyring(link, Keys()).known()
    link.close()
    old, fresh = known[str(id_of(token))], known[str(id_of(new))]
    assert (fresh.tenant, fresh.models, fresh.expires) == ("acme", ("echo",), None)
    assert old.expires is not None
    assert old.is_good(token, old.expires - 1)
    assert not old.is_good(token, old.expires)
    assert not old.is_good(new, old.expires - 1)


@pytest.mark.parametrize(
    "arguments",
    [("create", "--tenant", "a b"), ("create",), ("create", "--tenant", "a", "--hours", "0"),
     ("create", "--tenant", "a", "--scope", "fly"), ("rotate", "nobody")],
    ids=" ".join,
)  # fmt: skip
def test_bad_input_is_refused(keys: Run, arguments: tuple[str, ...]) -> None:
    answer = keys(*arguments)
    assert (answer.code, answer.out) == (2, "")


def test_a_key_may_be_brought_along_any_number_of_times(
    keys: Run, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = f"plx-{'0a' * 6}-{'Z' * 43}"
    monkeypatch.setenv("SECRET", token)
    for told in ("--json",), ():
        made = keys("create", "--tenant", "acme", "--from-env", "SECRET", *told)
        assert made.code == 0
        assert token not in made.out + made.err
    link = Link.to(embedded_url)
    (stored,) = Keyring(link, Keys()).known().values()
    link.close()
    assert stored.is_good(token, stored.created)


@pytest.mark.parametrize("held", ["", "hunter2-and-more", "plx-00-short"])
def test_what_is_no_key_is_refused_and_not_quoted(
    keys: Run, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setenv("SECRET", held)
    refused = keys("create", "--tenant", "acme", "--from-env", "SECRET")
    assert refused.code == 2
    assert "SECRET" in refused.err
    assert not held or held not in refused.err
