"""Pictures of the dashboard for the docs, of a real system at work: `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallax.producers.client.client import Client
from tests.browser.live import Live, chromium, live, loaded
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDE = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
#: Name, page, theme, window, and how long it is looked at before (seconds).
PICTURES: tuple[tuple[str, str, str, dict[str, int], float], ...] = (
    ("overview-dark", "/", "dark", WIDE, 30.0),
    ("overview-light", "/", "light", WIDE, 4.0),
    ("tenants-light", "/tenants/", "light", WIDE, 4.0),
    ("phone-dark", "/", "dark", PHONE, 4.0),
    ("flow-dark", "/flow/", "dark", WIDE, 6.0),
    ("workers-light", "/workers/", "light", WIDE, 4.0),
)
WEIGHTS = {"gold": 4.0, "silver": 2.0, "bronze": 1.0}


def take(browser: Browser, cell: Live, folder: Path) -> None:
    """Take all pictures; a worker is killed before those of the flow and of the workers."""
    for name, path, theme, size, look_s in PICTURES:
        options: dict[str, Any] = {"viewport": size, "color_scheme": theme}
        context = browser.new_context(**options)
        page = context.new_page()
        page.goto(cell.dashboard.signed_in)
        page.get_by_label("Changes are unlocked: sign out").wait_for()
        page.goto(cell.dashboard.address + path)
        page.locator('.feed[data-phase="live"]').wait_for()
        if name.startswith("flow"):
            cell.system.processes.kill("worker-3")
            page.locator('[data-worker][data-state="dead"]').wait_for(timeout=60_000)
        page.wait_for_timeout(look_s * 1_000)
        page.screenshot(path=folder / f"dashboard-{name}.png")
        context.close()


def main(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with live(5, "echo", 0.03) as cell, loaded(cell, 50.0, "gold:2,silver:2,bronze:2"):
        with Client(cell.system.url) as client:
            client.set_weights(WEIGHTS)
            wait_until(lambda: client.counts().get("completed", 0) > 50, "jobs to end", 60.0)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--hide-scrollbars"]
            )
            take(browser, cell, folder)
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
