"""What the pages let an admin do: drain a worker, try a canary, offer a dead job again."""

from __future__ import annotations

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import Report
from parallax.broker.store.intake import Ending, Intake
from parallax.broker.store.keys import Keys
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from tests.browser.conftest import Watched
from tests.browser.live import Live
from tests.browser.test_life import api, signed_in
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]


def test_a_canary_is_started_and_rolled_back(watched: Watched, cell: Live) -> None:
    page = signed_in(watched, cell, "Policies")
    page.get_by_label("Routing policy").select_option("round_robin")
    page.get_by_label("Sessions, per cent").fill("20")
    page.get_by_role("button", name="Start the canary").click()
    page.get_by_role("button", name="Roll back").wait_for()
    canary = api(page, cell, "policies")["canary"]
    assert (canary["candidate"]["name"], canary["percent"]) == ("round_robin", 20)
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("button", name="Start the canary").wait_for()
    assert api(page, cell, "policies")["canary"] is None


def test_a_dead_job_is_offered_again(watched: Watched, cell: Live) -> None:
    link, keys = Link.to(cell.system.url), Keys()
    intake = Intake(link, keys)
    intake.submit([Job("dead-one", "gold", 10, 5, model="nobody-serves-it")])
    intake.terminate([Ending("dead-one", "gold", Outcome.DEAD, Report(error="<b>too bad</b>"))])
    page = signed_in(watched, cell, "Jobs")
    row = page.locator("tr", has_text="dead-one").filter(
        has=page.get_by_role("button", name="Offer again")
    )
    row.get_by_role("button", name="Offer again").click()
    said = page.get_by_text("Offered again as").inner_text()
    row.wait_for(state="detached")
    again = api(page, cell, f"jobs/{said.rpartition(' ')[2].strip()}")
    assert (again["tenant"], again["prompt_tokens"]) == ("gold", 10)
    assert again["id"] != "dead-one"
    link.close()


def test_a_worker_is_drained_after_a_second_click(watched: Watched, cell: Live) -> None:
    page = signed_in(watched, cell, "Workers")
    alive = [one["name"] for one in api(page, cell, "workers?state=alive")["rows"]]
    victim = max(alive)
    page.get_by_role("button", name=f"Drain {victim}", exact=True).click()
    assert victim in [one["name"] for one in api(page, cell, "workers?state=alive")["rows"]]
    page.get_by_role("button", name=f"Yes, drain {victim}").click()
    page.get_by_text(f"{victim} ends what it runs, and leaves").wait_for()

    def gone() -> bool:
        rows = api(page, cell, "workers")["rows"]
        return victim not in [one["name"] for one in rows if one["state"] == "alive"]

    wait_until(gone, "the worker to take no more", 60.0)
    page.locator(f'tr[data-row="{victim}"]', has_text="alive").wait_for(state="detached")
