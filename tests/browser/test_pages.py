"""Every page of the dashboard, in a real browser, before a real system."""

from __future__ import annotations

import gzip
import importlib.resources
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Watched
from tests.browser.live import Live
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

PATHS = {
    "/": "Overview", "/flow/": "Flow", "/tenants/": "Tenants", "/workers/": "Workers",
    "/models/": "Models and backends", "/jobs/": "Jobs", "/policies/": "Policies",
    "/playground/": "Playground", "/lab/": "Lab",
}  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}
FIRST_PAGE_BYTES = 300_000


def serious(page: Page) -> list[str]:
    """Return what axe finds that keeps people out."""
    pytest.importorskip("axe_playwright_python", reason="axe: make browser")
    source = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(source)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", PATHS)
def test_it_is_drawn_without_a_complaint_and_open_to_all(
    watched: Watched, path: str, form: str
) -> None:
    page = watched.open(path, **FORMS[form])
    assert page.locator("h1").inner_text() == PATHS[path]
    page.locator('[aria-label="Loading"]').first.wait_for(state="detached")
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(width) <= 0, "it is wider than its window"
    theme = page.evaluate("document.documentElement.dataset.theme")
    assert theme == FORMS[form]["color_scheme"]
    assert serious(page) == []


def test_axe_finds_what_is_wrong(watched: Watched) -> None:
    page = watched.open("/")
    page.evaluate(
        "document.querySelector('h1').insertAdjacentHTML('beforeend', '<img src=data:,>')"
    )
    assert any(one.startswith("image-alt") for one in serious(page))


def test_the_first_page_is_small(watched: Watched, cell: Live) -> None:
    page = watched.open("/")
    names: list[str] = page.evaluate(
        "performance.getEntriesByType('resource').map((one) => one.name)"
    )
    files = [name for name in names if "/api/" not in name]
    assert len(files) > 3
    bodies = [page.request.get(name).body() for name in [cell.dashboard.address, *files]]
    assert sum(len(gzip.compress(body)) for body in bodies) < FIRST_PAGE_BYTES


def number(text: str) -> float:
    return float(text.replace(",", "").replace("≥", "").strip())


def test_the_numbers_are_those_of_the_api(watched: Watched) -> None:
    page = watched.open("/")
    enough = "window.__told.some((one) => one.totals.completed > 20)"
    wait_until(lambda: page.evaluate(enough), "jobs to end", 60.0)
    shown, told = page.evaluate(
        """() => new Promise((resolve) => {
          const before = window.__told.at(-1).seq;
          const look = () => {
            const told = window.__told.at(-1);
            if (told.seq === before) return requestAnimationFrame(look);
            requestAnimationFrame(() => resolve([
              Object.fromEntries([...document.querySelectorAll("[data-figure]")].map(
                (one) => [one.dataset.figure, one.firstChild.textContent])), told]));
          };
          look();
        })"""
    )
    for name in ("waiting_jobs", "running_jobs", "workers_alive", "dead_letters"):
        assert number(shown[name]) == told[name], name
    completed = told["now"]["completed_per_s"]
    assert number(shown["completed_per_s"]) == pytest.approx(completed, rel=0.05, abs=0.5)
    assert number(shown["ttft_p95"]) >= 0


def test_a_page_of_a_list_is_that_of_the_api(watched: Watched, cell: Live) -> None:
    page = watched.open("/workers/")
    rows = page.locator("tbody tr")
    rows.first.wait_for()
    api = page.request.get(f"{cell.dashboard.address}/api/workers?limit=50").json()
    shown = {row.get_attribute("data-row") for row in rows.all()}
    assert shown == {row["name"] for row in api["rows"]}
    slots = {row["name"]: row["slots"] for row in api["rows"]}
    for name, many in slots.items():
        text = page.locator(f'tr[data-row="{name}"] [data-column="running"]').inner_text()
        assert text.endswith(f"/{many}")
    page.get_by_label("Find a worker").fill("no-such-worker")
    page.get_by_text("Nothing matches").wait_for()


def test_names_made_of_markup_are_text(watched: Watched, cell: Live) -> None:
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    state = cell_state(cell, watched)
    for row in (*state["tenants"], *state["workers"]):
        row["name"] = f"{evil}{row['name']}"
    state["leader"]["name"] = state["cell"] = evil
    kinds = ("stolen", "policy_changed")
    state["recent"] = [
        {"seq": at, "at": state["at"], "kind": kind, "job": evil, "jobs": 1, "tenant": evil,
         "from": evil, "to": evil, "detail": evil}
        for at, kind in enumerate(kinds)
    ]  # fmt: skip
    body = f"retry: 60000\n\nevent: overview\ndata: {json.dumps(state)}\n\n"
    for path in ("/", "/flow/"):
        page = watched.open("/jobs/")
        page.route(
            "**/api/events",
            lambda route: route.fulfill(body=body, content_type="text/event-stream"),
        )
        page.goto(cell.dashboard.address + path)
        page.get_by_text("bold").first.wait_for(state="attached")
        assert page.locator("main img, main b:has-text('bold')").count() == 0
        page.unroute_all(behavior="ignoreErrors")


def cell_state(cell: Live, watched: Watched) -> dict[str, Any]:
    page = watched.open("/")
    known = "window.__told.at(-1)?.tenants.length > 0"
    wait_until(lambda: page.evaluate(known), "tenants to be told", 60.0)
    state: dict[str, Any] = page.evaluate("window.__told.at(-1)")
    return state


def test_an_unknown_page_says_so(watched: Watched) -> None:
    watched.expected = ("404",)
    page = watched.open("/nowhere/")
    page.get_by_text("There is no such page").wait_for()


def test_the_keyboard_alone_goes_through_it(watched: Watched) -> None:
    page = watched.open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    page.get_by_role("link", name="Workers").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Workers", level=1).wait_for()


def test_nothing_moves_for_those_who_want_that(watched: Watched) -> None:
    page = watched.open("/flow/", reduced_motion="reduce")
    page.locator("svg.scene [data-worker]").first.wait_for()
    assert page.get_by_role("button", name="Hold still").count() == 0
    page = watched.open("/flow/", reduced_motion="no-preference")
    page.get_by_role("button", name="Hold still").wait_for()


def test_the_theme_is_chosen_and_kept(watched: Watched) -> None:
    page = watched.open("/", color_scheme="light")
    page.get_by_role("button", name="Use the dark theme").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
