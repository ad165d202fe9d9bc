"""What the tests of the pages share: one system, one browser, and pages that are watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.live import Live, chromium, live, loaded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Keeps every state that the page was told, so that a test can hold one beside what is drawn.
LISTENER = """
window.__told = [];
const Plain = window.EventSource;
window.EventSource = class extends Plain {
  constructor(...given) {
    super(...given);
    super.addEventListener("overview", (event) => {
      window.__told.push(JSON.parse(event.data));
      window.__told = window.__told.slice(-5);
    });
  }
};
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a Chromium that has no window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright: make browser")
    path = chromium()
    if path is None:
        pytest.skip("chromium is not here: make browser")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def cell(browser: Browser) -> Iterator[Live]:
    """Return a system at work: three tenants, three workers, a load that goes on."""
    with live() as system, loaded(system):
        yield system


class Watched:
    """Pages of which it is noted what they complain about, and whom else they ask."""

    def __init__(self, browser: Browser, address: str) -> None:
        self._browser, self._address = browser, address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.expected: tuple[str, ...] = ()
        self._contexts: list[Any] = []

    def open(self, path: str = "/", *, ready: bool = True, **options: Any) -> Page:
        """Open a page of the dashboard in a context of its own; wait until it is live."""
        options.setdefault("viewport", {"width": 1360, "height": 900})
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        context.set_default_timeout(45_000)
        context.add_init_script(LISTENER)
        page = context.new_page()
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.goto(self._address + path)
        if ready:
            page.locator('.feed[data-phase="live"]').wait_for()
        return page

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(part in text for part in self.expected):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self._address, "data:", "blob:")):
            self.elsewhere.append(url)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()


@pytest.fixture
def watched(browser: Browser, cell: Live) -> Iterator[Watched]:
    """Return pages that must neither complain nor ask another host."""
    pages = Watched(browser, cell.dashboard.address)
    yield pages
    pages.close()
    assert pages.complaints == []
    assert pages.elsewhere == []
