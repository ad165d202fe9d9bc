"""What the dashboard's API tells: the cell as it is, in pages, with hostile names as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.tenancy import Tenancy
from parallax.cli.cell_documents import CellView
from tests.unit.dashboard.conftest import HOSTILE
from tests.waiting import wait_until


def told(web: TestClient, path: str) -> Any:
    answer = web.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_overview_is_the_document_that_top_prints(web: TestClient) -> None:
    seen = told(web, "/api/overview")
    msgspec.convert(seen, CellView, strict=True)
    assert (seen["cell"], seen["open_jobs"], seen["waiting_jobs"]) == ("main", 3, 3)
    assert (seen["workers_alive"], seen["leader"], seen["stale"]) == (2, None, True)
    assert {one["name"]: one["weight"] for one in seen["tenants"]} == {"acme": 3.0, "bert": 1.0}
    assert seen["totals"]["submitted"] == 3


def test_names_made_of_markup_are_told_as_they_are_and_never_as_markup(web: TestClient) -> None:
    answer = web.get("/api/workers?search=w2")
    assert answer.json()["rows"][0]["engine"] == HOSTILE
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.get("/api/dead").json()["rows"][0]["why"] == HOSTILE


def test_workers_come_in_pages(web: TestClient) -> None:
    seen = told(web, "/api/workers?sort=kv_used&order=desc&limit=1")
    assert [one["name"] for one in seen["rows"]] == ["w2"]
    assert (seen["total"], seen["matching"]) == (2, 2)
    seen = told(web, "/api/workers?state=unready")
    assert [(one["name"], one["state"]) for one in seen["rows"]] == [("w2", "unready")]
    assert told(web, "/api/workers?offset=5")["rows"] == []


@pytest.mark.dear
def test_ten_thousand_tenants_are_a_page(web: TestClient, link: Link) -> None:
    Tenancy(link, Keys()).set_weights({f"t{n:05}": 1.0 + n for n in range(10_000)})
    seen = told(web, "/api/tenants?sort=weight&order=desc&offset=10&limit=5")
    assert [one["name"] for one in seen["rows"]] == [f"t{n:05}" for n in range(9989, 9984, -1)]
    assert (seen["total"], seen["matching"]) == (10_003, 10_003)
    seen = told(web, "/api/tenants?search=T0999&limit=200")
    assert (seen["matching"], len(seen["rows"])) == (10, 10)
    known: Callable[[], bool] = lambda: told(web, "/api/overview")["tenants_known"] == 10_002  # noqa: E731
    wait_until(known, "the feed to look again")
    assert len(told(web, "/api/overview")["tenants"]) <= 50


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=201", "limit"), ("offset=-1", "offset"),
        ("offset=x", "offset"), ("sort=color", "sort"), ("order=up", "order"),
        ("limit=%D9%A3", "limit"),
    ],
)  # fmt: skip
def test_a_page_that_there_cannot_be_is_refused(web: TestClient, query: str, field: str) -> None:
    answer = web.get(f"/api/tenants?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid"
    assert answer.json()["error"]["field"] == field


def test_open_jobs_are_listed_and_a_job_has_a_time_line(web: TestClient) -> None:
    assert {one["id"] for one in told(web, "/api/jobs")["rows"]} == {"j0", "j1", "j2"}
    assert [one["id"] for one in told(web, "/api/jobs?tenant=bert")["rows"]] == ["j0"]
    assert told(web, "/api/jobs?state=running")["rows"] == []
    assert web.get("/api/jobs?state=odd").status_code == 422
    job = told(web, "/api/jobs/j2")
    assert (job["tenant"], job["state"], job["queue_place"]) == ("acme", "queued", 2)
    assert [step["what"] for step in job["timeline"]] == ["accepted"]


@pytest.mark.parametrize("path", ["/api/jobs/none", "/api/nothing", "/api/lab/reports/x"])
def test_what_is_not_there_is_told_so(web: TestClient, path: str) -> None:
    answer = web.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_job_whose_name_is_none_is_refused(web: TestClient) -> None:
    assert web.get("/api/jobs/a%20b").status_code == 422


def test_models_policies_and_history(web: TestClient) -> None:
    assert {one["name"] for one in told(web, "/api/models")["rows"]} == {"cpu", HOSTILE}
    known = told(web, "/api/policies")["known"]
    assert "power_of_two" in {one["name"] for one in known if one["kind"] == "routing"}
    told(web, "/api/overview")
    columns = told(web, "/api/history?seconds=60")
    assert len({len(column) for name, column in columns.items() if isinstance(column, list)}) == 1
    assert columns["open_jobs"][-1] == 3


def test_a_method_that_there_is_not_is_told_so(web: TestClient) -> None:
    answer = web.post("/api/overview")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method")
