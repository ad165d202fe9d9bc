"""How long the pages take in a large cell, as a browser counts it: `make bench-dashboard`.

Ten thousand tenants with weights and five hundred workers are registered; nobody asks them for
anything. Each page is opened anew with an empty cache; then it is looked at, scrolled, turned and
searched while frames are counted.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration, encode
from parallax.broker.store.keys import Keys
from parallax.broker.store.tenancy import Tenancy
from tests.browser.live import Live, chromium, live

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TENANTS, WORKERS = 10_000, 500
PAGES = ("/", "/flow/", "/tenants/", "/workers/", "/jobs/", "/policies/")
LOOK_MS = 3_000

#: Counts frames: how long each took, from the one before it.
FRAMES = """
window.__frames = [];
let last = performance.now();
const count = (now) => {
  window.__frames.push(now - last);
  last = now;
  requestAnimationFrame(count);
};
requestAnimationFrame((now) => { last = now; requestAnimationFrame(count); });
"""
TIMES = """
() => {
  const [load] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const parts = performance.getEntriesByType("resource");
  const sent = parts.reduce((sum, one) => sum + one.transferSize, 0);
  return { interactive: load.domInteractive, painted: paint ? paint.startTime : null,
           kilobytes: (sent + load.transferSize) / 1024 };
}
"""


def fill(cell: Live) -> None:
    """Register tenants and workers. Their heartbeats last as long as this does."""
    link, keys = Link.to(cell.system.url), Keys()
    Tenancy(link, keys).set_weights({f"tenant-{n:05}": 1.0 + n % 7 for n in range(TENANTS)})
    registration = encode(Registration(VERSION, 8, "echo", 100_000))
    for n in range(WORKERS):
        name = f"worker-{n:03}"
        link.calls(
            [
                ("HSET", keys.workers, name, registration),
                ("SET", keys.heartbeat(name), "f" * 16, "PX", 900_000),
                ("HSET", keys.status(name), "heartbeat_ms", 900_000, "kv_used", "0.3"),
            ]
        )
    link.close()


def measured(browser: Browser, cell: Live, path: str) -> dict[str, Any]:
    """Open a page, use it for a while, and return what was counted."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(cell.dashboard.address + path)
    page.locator('.feed[data-phase="live"]').wait_for()
    times = page.evaluate(TIMES)
    times["live"] = page.evaluate("performance.now()")
    if path in ("/tenants/", "/workers/"):
        page.locator("tbody tr").nth(5).wait_for()
    page.evaluate(FRAMES)
    _use(page)
    frames = sorted(page.evaluate("window.__frames"))
    context.close()
    shown = {name: None if value is None else round(value) for name, value in times.items()}
    return {"page": path, **shown, **_spread(frames)}


def _use(page: Page) -> None:
    """Scroll, turn a page, search; and look on."""
    page.mouse.wheel(0, 2_000)
    following = page.get_by_role("button", name="Next", exact=True)
    if following.count() and following.first.is_enabled():
        following.first.click()
    field = page.get_by_role("searchbox")
    if field.count():
        field.first.fill("9")
    page.wait_for_timeout(LOOK_MS)


def _spread(frames: list[float]) -> dict[str, float]:
    if not frames:
        return {}
    return {
        "frames": len(frames),
        "frame_p50_ms": round(frames[len(frames) // 2], 1),
        "frame_p99_ms": round(frames[len(frames) * 99 // 100], 1),
        "frame_max_ms": round(frames[-1], 1),
        "frames_over_100_ms": sum(1 for one in frames if one > 100),
    }


def main() -> None:
    """Measure every page, or those that are named, a line of JSON each."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, live(workers=1) as cell:
        fill(cell)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for path in sys.argv[1:] or PAGES:
            print(json.dumps(measured(browser, cell, path)), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
