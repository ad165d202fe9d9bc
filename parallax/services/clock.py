"""The one place that asks the machine for the time."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock. See `parallax.core.clock.Clock` for what each method promises."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary origin."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after that many seconds."""
        time.sleep(seconds)
