"""A machine's dashboard as a process: its token, a playground, a simulation, a dead worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from parallax.cli.dashboards import new_token
from parallax.cli.engine_options import engine_arguments
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System, free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    plan = Plan(
        2, 1, engine_arguments("echo", "laptop", 10.0), dashboard_port=free_port(0),
        dashboard_token=new_token(),
    )  # fmt: skip
    with System(plan, SystemClock(), ephemeral=True, logs=Path(os.devnull)) as system:
        yield system


@pytest.fixture
def web(system: System) -> Iterator[httpx.Client]:
    base = f"http://127.0.0.1:{system.plan.dashboard_port}"
    with httpx.Client(base_url=base, timeout=120, trust_env=False) as web:
        yield web


@pytest.fixture
def admin(web: httpx.Client, system: System) -> httpx.Client:
    answer = web.post("/api/session", json={"token": system.plan.dashboard_token})
    assert answer.status_code == 200
    return web


def told(text: str) -> list[tuple[str, Any]]:
    events = [part.split("\n") for part in text.strip().split("\n\n")]
    return [(one[0].removeprefix("event: "), json.loads(one[1][6:])) for one in events]


def test_its_pages_are_served_and_the_cell_is_seen(web: httpx.Client) -> None:
    page = web.get("/")
    assert page.status_code == 200
    assert "sha256-" in page.headers["content-security-policy"]
    assert web.get("/no/such/page").status_code == 404
    wait_until(lambda: not web.get("/api/overview").json()["stale"], "a leader to tell", 60.0)
    assert web.get("/api/overview").json()["workers_alive"] == 2


def test_the_feed_goes_on(web: httpx.Client) -> None:
    with web.stream("GET", "/api/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        lines = (line for line in answer.iter_lines() if line.startswith("id: "))
        first, second = next(lines), next(lines)
    assert int(second[4:]) > int(first[4:])


def test_a_question_is_answered(admin: httpx.Client) -> None:
    answer = admin.post("/api/playground", json={"prompt": "Say hello", "max_tokens": 4})
    events = told(answer.text)
    assert [events[0][0], events[-1][0]] == ["accepted", "done"]
    assert "".join(data["text"] for word, data in events if word == "text").startswith("Say hello")
    assert events[-1][1]["outcome"] == "completed"
    job = admin.get(f"/api/jobs/{events[0][1]['id']}").json()
    assert [step["what"] for step in job["timeline"]][-1] == "completed"
    assert job["why_worker"]["policy"]


def test_a_simulation_leaves_a_report(admin: httpx.Client) -> None:
    asked = {"workload": "chat", "policies": {"routing": "round_robin"}, "jobs": 50}
    answer = admin.post("/api/lab/simulate", json=asked)
    assert answer.status_code == 202
    assert admin.post("/api/lab/simulate", json=asked).status_code in (202, 429)
    name = answer.json()["id"]

    def there() -> bool:
        return admin.get(f"/api/lab/reports/{name}").status_code == 200

    wait_until(there, "the report", 120.0)
    assert admin.get(f"/api/lab/reports/{name}").json()["figures"]["jobs_completed"] == 50
    rows = admin.get("/api/lab/reports").json()["rows"]
    assert name in {row["name"] for row in rows}
    admin.post("/api/lab/cancel", json={})


def test_a_killed_worker_is_seen_to_be_dead_or_gone(web: httpx.Client, system: System) -> None:
    before = {one["name"] for one in web.get("/api/workers").json()["rows"]}
    system.processes.kill("worker-1")

    def seen() -> bool:
        states = {one["name"]: one["state"] for one in web.get("/api/workers").json()["rows"]}
        return any(states.get(name, "dead") == "dead" for name in before)

    wait_until(seen, "its death to be seen", 60.0)

    def happened() -> bool:
        recent = web.get("/api/overview").json()["recent"]
        return "worker_dead" in {one["kind"] for one in recent}

    wait_until(happened, "its death to be told", 60.0)
