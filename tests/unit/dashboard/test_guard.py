"""Who may look, who may change something, and what pages of other sites may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import ADMIN, ASK, Keyring, new_key
from parallax.broker.store.keys import Keys
from parallax.dashboard.pages import policy
from tests.unit.dashboard.conftest import BASE, BEARER, TOKEN, dashboard

WEIGHT = ("/api/tenants/acme", {"weight": 2.0})


@pytest.fixture
def far(link: Link, embedded_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """A dashboard that others than this machine can reach."""
    far = dashboard(embedded_url, tmp_path, local=False)
    with TestClient(far.app, base_url="http://cell.example:8090") as client:
        yield client


def test_on_this_machine_everybody_may_look_and_nobody_may_change(web: TestClient) -> None:
    assert web.get("/api/overview").status_code == 200
    assert web.get("/api/session").json()["write"] is False
    answer = web.post(WEIGHT[0], json=WEIGHT[1])
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_the_printed_token_may_change_something(web: TestClient, link: Link) -> None:
    assert web.post(WEIGHT[0], json=WEIGHT[1], headers=BEARER).status_code == 200
    assert link.call("HGET", Keys().tenants, "acme") == b"2.0"
    wrong = {"authorization": f"Bearer {TOKEN}x"}
    assert web.post(WEIGHT[0], json=WEIGHT[1], headers=wrong).status_code == 401


def test_signing_in_gives_a_cookie_that_no_script_reads(web: TestClient) -> None:
    answer = web.post("/api/session", json={"token": TOKEN})
    assert answer.json()["write"] is True
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN.lower() not in cookie
    assert web.post(WEIGHT[0], json=WEIGHT[1]).status_code == 200
    assert web.delete("/api/session").json()["write"] is False
    assert web.post(WEIGHT[0], json=WEIGHT[1]).status_code == 401
    assert web.post("/api/session", json={"token": "guess"}).status_code == 401


def test_a_key_of_the_scope_admin_does_too_until_it_is_revoked(
    web: TestClient, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parallax.dashboard.guard.FRESH_S", 0.0)
    ring = Keyring(link, Keys())
    admin, stored = new_key("acme", 0.0, scopes=(ADMIN,))
    asker, weaker = new_key("acme", 0.0, scopes=(ASK,))
    ring.put({admin.split("-")[1]: stored, asker.split("-")[1]: weaker})
    assert web.post("/api/session", json={"token": asker}).status_code == 401
    assert web.post("/api/session", json={"token": admin}).status_code == 200
    assert web.post(WEIGHT[0], json=WEIGHT[1]).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "127.0.0.1.evil.example"])
def test_a_name_that_was_bent_to_this_machine_is_not_heard(web: TestClient, host: str) -> None:
    for path in ("/api/overview", "/api/events", "/api/session", "/api/nothing"):
        assert web.get(path, headers={"host": host}).status_code == 403
    answer = web.post("/api/session", json={"token": TOKEN}, headers={"host": host})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    ],
)  # fmt: skip
def test_pages_of_other_sites_change_nothing(web: TestClient, headers: dict[str, str]) -> None:
    web.post("/api/session", json={"token": TOKEN})
    answer = web.post(WEIGHT[0], json=WEIGHT[1], headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert web.post(WEIGHT[0], json=WEIGHT[1], headers={"origin": BASE}).status_code == 200


def test_a_form_of_another_site_cannot_be_sent(web: TestClient) -> None:
    answer = web.post(WEIGHT[0], content=b'{"weight":9}', headers=BEARER)
    assert answer.json()["error"]["field"] == "content-type"


def test_from_other_machines_who_looks_signs_in(far: TestClient) -> None:
    assert far.get("/api/overview").status_code == 401
    assert far.get("/api/events").status_code == 401
    assert far.get("/api/session").json()["read"] is False
    assert far.get("/api/overview", headers=BEARER).status_code == 200
    assert far.post("/api/session", json={"token": TOKEN}).status_code == 200
    assert far.get("/api/overview").status_code == 200


def test_every_answer_forbids_what_is_not_ours(web: TestClient) -> None:
    for path in ("/", "/api/overview", "/api/nothing", "/nothing"):
        headers = web.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-eval" not in headers["content-security-policy"]


def test_a_pages_own_inline_scripts_may_run_and_no_others(
    link: Link, embedded_url: str, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    (site / "_next").mkdir(parents=True)
    (site / "about").mkdir()
    page = "<html><script>one()</script><script src='/x.js'></script><script id=a>two()</script>"
    (site / "index.html").write_text(page)
    (site / "about" / "index.html").write_text("<html>about")
    (site / "404.html").write_text("<html>missing")
    (site / "_next" / "a.js").write_text("0")
    (tmp_path / "secret.html").write_text("secret")
    app = dashboard(embedded_url, tmp_path, static=site).app
    with TestClient(app, base_url=BASE) as web:
        answer = web.get("/")
        assert answer.headers["content-security-policy"].count("'sha256-") == 2
        assert answer.headers["content-security-policy"] == policy(page.encode())
        assert web.get("/about").text == web.get("/about/").text == "<html>about"
        missing = web.get("/nothing")
        assert (missing.status_code, missing.text) == (404, "<html>missing")
        assert "immutable" in web.get("/_next/a.js").headers["cache-control"]
        assert answer.headers["cache-control"] == "no-cache"
        for path in ("/../secret", "/%2e%2e/secret.html", "/..%2fsecret.html", "/%00"):
            assert "secret" not in web.get(path).text
    assert policy(b"<script>one()</script>") != policy(b"<script>three()</script>")
