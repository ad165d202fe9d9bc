"""What may stand in an address of Redis; no part of a password is shown, or taken for a host."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.broker.link.connection import Link
from parallax.core.errors import InvalidInput
from parallax.core.redis_url import checked, sentinels_of
from parallax.core.secrets import has_password, redacted

GOOD = (
    "redis://host", "redis://host/", "redis://host:6379/15", "redis://:pw@host", "redis://[::1]:7/0",
    "redis://user:p%40ss%2F%23@host/0", "unix:///run/r.sock", "unix://:pw@/run/a@b.sock?db=3",
    "rediss://h?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=no", "redis://h?db=2", "redis://",
    "redis+sentinel://a,b:26380/ours", "redis+sentinel://:pw@a:1,[::1]:2/ours/3",
)  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_what_people_write_is_taken_as_it_is(url: str) -> None:
    assert checked(f"\ufeff{url}\n" if url != "redis://" else url) == url
    if not url.startswith("rediss"):
        Link.to(url).close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h/name", "number of a database"),
        ("redis+sentinel://h", "name of the service"),
        ("redis+sentinel://h/a/b", "name of the service"),
        ("redis+sentinel://a:0/ours", "port from 1 to 65535"),
        ("redis+sentinel://a,/ours", "a host for each sentinel"),
        ("redis+sentinel://a,b@c/ours/0?x=1", "known: db"),
        ("redis://h/0/1", "number of a database"),
        ("redis://h/-1", "number of a database"),
        ("redis://h:port", "port from 1 to 65535"),
        ("redis://h:7801x/0", "port from 1 to 65535"),
        ("redis://h:99999", "port from 1 to 65535"),
        ("redis://h:0", "port from 1 to 65535"),
        ("redis://h?db=one", "number of a database"),
        ("redis://h/0?db=1", "once"),
        ("redis://h?db=1&db=2", "once"),
        ("redis://h?protocol=3", "'protocol' is not allowed; known: db, ssl_ca_certs"),
        ("redis://h?socket_timeout=0.1", "'socket_timeout' is not allowed"),
        ("redis://h?decode_responses=1", "'decode_responses' is not allowed"),
        ("redis://h?password=hunter2", "'password' is not allowed"),
        ("redis://h?ssl_ca_certs=/x", "rediss://"),
        ("unix://host/run/r.sock", "no host"),
        ("unix://", "unix:///path"),
        ("redis://user:hun ter2@h", "%20 for a blank"),
        ("redis://user:hun#ter2@h", "%23 #"),
        ("redis://user:hun/ter2@h", "%2F /"),
        ("redis://user:hun?ter2@h", "%3F ?"),
        ("redis://user:hun\tter2@h", "percent-encode"),
        ("redis://user:hunter2:1@a:b@h:1", None),  # the last @ ends the password
        ("redis://user:hunter2", "port"),
        ("http://user:hunter2@h", "use redis://"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_and_not_quoted(url: str, says: str | None) -> None:
    if says is None:
        assert checked(url) == url
        return
    with pytest.raises(InvalidInput) as caught:
        Link.to(url)
    assert says in str(caught.value)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@given(password=st.text(min_size=1, max_size=20))
def test_no_part_of_any_password_is_shown(password: str) -> None:
    url = f"redis://user:{password}@host:1/0"
    assert redacted(f"a={url}") == "a=redis://user:***@host:1/0"
    assert has_password(url)
    encoded = f"redis://user:{quote(password, safe='')}@host:1/0"
    assert checked(encoded) == encoded


def test_text_that_is_no_url_stays_as_it_is() -> None:
    text = "is 3:4@noon ok? yes&no=maybe, see ?x=1"
    assert redacted(text) == text
    assert not has_password("a,b:2=redis://h1,c=unix:///tmp/a@b")
    assert has_password("a,b:2=redis://:pw@h1,c=unix:///tmp/a@b")


def test_what_an_address_of_sentinels_says() -> None:
    assert sentinels_of("redis://h") is None
    places, service, server = sentinels_of("redis+sentinel://u:pw@a,[::1]:7/ours/3") or ([], "", "")
    assert (places, service) == ([("a", 26379), ("[::1]", 7)], "ours")
    assert server == "redis://u:pw@a/3"
    assert "pw" not in redacted("redis+sentinel://u:pw@a,b/ours")
    assert has_password("redis+sentinel://u:pw@a,b/ours")
