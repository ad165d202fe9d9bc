"""What happens in the system is seen on the page; what the page changes happens in the system."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from parallax.services.clock import SystemClock
from tests.browser.conftest import Watched
from tests.browser.live import Dashboard, Live
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]


def api(page: Page, cell: Live, path: str) -> Any:
    return page.request.get(f"{cell.dashboard.address}/api/{path}").json()


def signed_in(watched: Watched, cell: Live, label: str) -> Page:
    """Open the address that was printed at the start, and go to a page by its name."""
    page = watched.open(f"/#token={cell.dashboard.token}")
    page.get_by_label("Changes are unlocked: sign out").wait_for()
    page.get_by_role("link", name=label).first.click()
    page.get_by_role("heading", name=label, level=1).wait_for()
    return page


def test_news_arrive_without_a_reload(watched: Watched) -> None:
    page = watched.open("/")
    place = page.locator(".figure", has_text="Dead letters").locator(".under")
    before = place.inner_text()
    wait_until(lambda: place.inner_text() != before, "the figures to change", 60.0)


def test_a_worker_that_is_killed_is_shown_as_dead(
    watched: Watched, cell: Live, record_property: Callable[[str, object], None]
) -> None:
    page = watched.open("/workers/")
    page.locator("tbody tr").first.wait_for()
    names = {row["name"] for row in api(page, cell, "workers?state=alive")["rows"]}
    victim = min(name for name in names if name.startswith("w2"))
    clock = SystemClock()
    began = clock.monotonic()
    processes = cell.system.processes
    processes.kill(next(name for name in processes.alive() if "w2" in name or "worker-2" in name))
    dead = page.locator(f'tr[data-row="{victim}"]', has_text="dead")
    dead.wait_for()
    record_property("seconds_until_shown", round(clock.monotonic() - began, 2))
    print(f"shown as dead after {clock.monotonic() - began:.2f} s")


def test_the_token_of_the_address_is_taken_out_of_it(watched: Watched, cell: Live) -> None:
    page = watched.open(f"/#token={cell.dashboard.token}")
    page.get_by_label("Changes are unlocked: sign out").wait_for()
    assert cell.dashboard.token not in page.url
    assert cell.dashboard.token not in page.evaluate(
        "document.cookie + JSON.stringify({...localStorage})"
    )


def test_a_change_asks_for_the_key_first(watched: Watched, cell: Live) -> None:
    watched.expected = ("401",)
    page = watched.open("/policies/")
    page.get_by_role("button", name="Reset all").click()
    field = page.get_by_label("Key or token")
    field.fill("not-the-token-of-this-dashboard")
    page.get_by_role("button", name="Unlock", exact=True).click()
    page.locator("#key-error").wait_for()
    field.fill(cell.dashboard.token)
    page.get_by_role("button", name="Unlock", exact=True).click()
    page.get_by_text("Back to what the scheduler was started with").wait_for()


def test_a_policy_is_changed_from_the_page(watched: Watched, cell: Live) -> None:
    page = signed_in(watched, cell, "Policies")
    page.get_by_role("button", name="Change routing").click()
    form = page.get_by_role("region", name="Change routing")
    form.get_by_role("combobox").select_option("power_of_two")
    page.get_by_label("choices").fill("3")
    page.get_by_role("button", name="Put in force").click()
    row = page.locator('tr[data-row="routing"]', has_text="power_of_two")
    row.get_by_text("policy set").wait_for()
    (routing,) = [
        one for one in api(page, cell, "policies")["in_force"] if one["kind"] == "routing"
    ]
    assert (routing["name"], routing["parameters"]["choices"]) == ("power_of_two", 3)
    page.get_by_role("button", name="Change routing").click()
    page.get_by_label("choices").fill("many")
    watched.expected = ("422",)
    page.get_by_role("button", name="Put in force").click()
    page.locator("form .error-text").get_by_text("choices").wait_for()
    page.get_by_role("button", name="Reset all").click()
    page.locator('tr[data-row="routing"]', has_text="policy set").wait_for(state="detached")


def test_a_weight_is_changed_in_place(watched: Watched, cell: Live) -> None:
    page = signed_in(watched, cell, "Tenants")
    page.get_by_role("button", name="Change the weight of silver").click()
    page.get_by_label("Weight of silver").fill("2.5")
    page.get_by_role("button", name="Set", exact=True).click()
    page.get_by_role("button", name="Change the weight of silver, 2.5 now").wait_for()
    (silver,) = api(page, cell, "tenants?search=silver")["rows"]
    assert silver["weight"] == 2.5


def test_a_prompt_is_answered_and_its_job_found(watched: Watched, cell: Live) -> None:
    page = signed_in(watched, cell, "Playground")
    page.get_by_role("textbox", name="Prompt").fill("good morning")
    page.get_by_label("Tokens at most").fill("6")
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_test_id("answer")
    answer.get_by_text("good morning").wait_for()
    page.get_by_label("Answer").get_by_text("completed").wait_for()
    page.get_by_label("Answer").get_by_role("link").click()
    page.locator(".moments").get_by_text("accepted").wait_for()
    page.locator(".moments").get_by_text("completed").wait_for()


def test_a_run_is_started_and_its_report_opened(watched: Watched, cell: Live) -> None:
    page = signed_in(watched, cell, "Lab")
    page.get_by_label("Jobs", exact=True).fill("60")
    page.get_by_role("button", name="Start", exact=True).click()
    box = page.get_by_role("checkbox").first
    box.wait_for(timeout=120_000)
    box.check()
    page.get_by_role("region", name="Figures").get_by_role("row").nth(2).wait_for()
    page.get_by_role("region", name="Distributions").wait_for()


def test_a_connection_that_is_lost_is_told_and_found_again(watched: Watched, cell: Live) -> None:
    watched.expected = ("ERR_", "Failed to load")
    own = Dashboard(cell.system.url, cell.folder / "lab2")
    try:
        page = watched.open("/")
        page.goto(f"{own.address}/")
        page.locator('.feed[data-phase="live"]').wait_for()
        own.process.send_signal(signal.SIGSTOP)
        page.get_by_text("No news for more than 3 seconds.").wait_for()
        own.process.send_signal(signal.SIGCONT)
        page.locator('.feed[data-phase="live"]').wait_for()
        own.stop()
        page.get_by_text("Connection lost.").wait_for()
        own.start_again()
        page.locator('.feed[data-phase="live"]').wait_for()
    finally:
        watched.close()
        own.stop()
        watched.elsewhere.clear()  # the other dashboard is not this one
