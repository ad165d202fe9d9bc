"""Changes from the dashboard do what the commands do, and say what is wrong with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.policies import PolicyStore
from tests.unit.dashboard.conftest import BEARER
from tests.waiting import wait_until


def post(web: TestClient, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
    answer = web.post(path, json=body or {}, headers=BEARER)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_policy_is_chosen_and_taken_back(web: TestClient, link: Link) -> None:
    store = PolicyStore(link, Keys())
    chosen = {"kind": "routing", "name": "power_of_two", "parameters": {"choices": 3}}
    told = post(web, "/api/policies", chosen)
    assert store.read().overrides["routing"].parameters == {"choices": 3}
    assert told["serial"] == store.read().serial
    post(web, "/api/policies", chosen | {"serial": "old"}, 409)
    post(web, "/api/policies/reset")
    assert store.read().overrides == {}


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "routing", "name": "nope"}, {"kind": "batching", "name": "static"},
        {"kind": "routing", "name": "power_of_two", "parameters": {"choices": "many"}},
        {"kind": "routing", "name": "power_of_two", "parameters": {"color": 1}},
        {"kind": "routing"}, {"kind": "routing", "name": "power_of_two", "more": 1},
    ],
)  # fmt: skip
def test_a_policy_that_there_is_not_is_refused(
    web: TestClient, link: Link, body: dict[str, Any]
) -> None:
    assert post(web, "/api/policies", body, 422)["error"]["message"]
    assert PolicyStore(link, Keys()).read().overrides == {}


def test_a_canary_begins_and_ends(web: TestClient, link: Link) -> None:
    told = post(web, "/api/canary", {"candidate": "round_robin", "percent": 20.0})
    assert told["canary"]["candidate"]["name"] == "round_robin"
    assert told["canary"]["percent"] == 20.0
    post(web, "/api/canary", {"candidate": "round_robin"}, 409)
    told = post(web, "/api/canary/promote")
    assert (told["canary"], told["verdict"]["word"]) == (None, "by hand: promote")
    assert PolicyStore(link, Keys()).read().overrides["routing"].name == "round_robin"
    post(web, "/api/canary/rollback", status=409)


def test_a_worker_is_told_to_drain(web: TestClient, link: Link) -> None:
    assert post(web, "/api/workers/w1/drain", status=202) == {"name": "w1", "state": "draining"}
    ((_, fields),) = link.call("XRANGE", Keys().control("w1"), "-", "+")
    assert fields[0] == b"drain"
    assert link.call("PTTL", Keys().control("w1")) > 0
    link.call("DEL", Keys().heartbeat("w1"))
    post(web, "/api/workers/w1/drain", status=409)
    post(web, "/api/workers/nobody/drain", status=404)


def test_a_dead_letter_is_offered_again_or_removed(web: TestClient, link: Link) -> None:
    entry = web.get("/api/dead").json()["rows"][0]["entry"]
    told = post(web, f"/api/dead/{entry}/requeue")
    assert told["job"] == "j1"
    assert link.call("EXISTS", Keys().job(told["successor"])) == 1
    post(web, f"/api/dead/{entry}/requeue", status=404)
    other = link.call("XADD", Keys().dead, "*", "why", "x").decode()
    post(web, f"/api/dead/{other}/requeue", status=409)
    assert post(web, f"/api/dead/{other}/remove") == {"removed": 1}


def test_a_job_is_cancelled(web: TestClient) -> None:
    assert post(web, "/api/jobs/j2/cancel") == {"id": "j2", "answer": "ok"}
    assert web.get("/api/jobs/j2").json()["state"] == "cancelled"
    post(web, "/api/jobs/none/cancel", status=404)


@pytest.mark.parametrize("weight", [0, -1, 1e9, "x", None])
def test_a_weight_that_is_none_is_refused(web: TestClient, weight: object) -> None:
    assert post(web, "/api/tenants/acme", {"weight": weight}, 422)["error"]["field"] == "weight"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 5_000])
def test_a_body_that_cannot_be_read_is_told_so(web: TestClient, body: bytes) -> None:
    headers = {**BEARER, "content-type": "application/json"}
    answer = web.post("/api/tenants/acme", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["code"] in ("bad_json", "invalid")


def test_a_body_that_is_too_large_is_refused(web: TestClient) -> None:
    body = {"weight": 1.0, "more": "x" * 300_000}
    assert post(web, "/api/tenants/acme", body, 413)["error"]["code"] == "too_large"


def test_engines_that_say_nothing_are_not_asked(web: TestClient, link: Link) -> None:
    link.call("HDEL", Keys().workers, "w2")
    left: Callable[[], bool] = lambda: web.get("/api/overview").json()["workers_total"] == 1  # noqa: E731
    wait_until(left, "the feed to look again")
    assert post(web, "/api/playground", {"prompt": "hi"}, 422)["error"]["code"] == "no_text"
    post(web, "/api/playground", {"prompt": ""}, 422)
    post(web, "/api/playground", {"prompt": "hi", "tenant": "a b"}, 422)


@pytest.mark.parametrize(
    "body",
    [
        {"workload": "none"}, {"workload": "../chat"}, {"workload": "chat", "jobs": 0},
        {"workload": "chat", "policies": {"routing": "--help"}},
        {"workload": "chat", "policies": {"odd": "x"}}, {"workload": "chat", "workers": 10_000},
    ],
)  # fmt: skip
def test_a_simulation_that_there_cannot_be_is_refused(
    web: TestClient, body: dict[str, Any]
) -> None:
    assert post(web, "/api/lab/simulate", body, 422)["error"]["message"]
    assert web.get("/api/lab/reports").json()["running"] is None
