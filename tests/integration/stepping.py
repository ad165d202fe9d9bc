"""A server whose clock a test can step, while the clocks of its clients stay true."""

from __future__ import annotations

from pathlib import Path

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.services.clock import SystemClock
from tests.servers import FAKETIME, wrapped
from tests.waiting import wait_until

HOUR = 3600


class SteppedServer:
    """An ephemeral server under libfaketime; its monotonic clock stays true."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self._file = folder / "step"
        self._write(0)
        environment = {
            "LD_PRELOAD": str(FAKETIME.path()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",  # look at the file each time: it is the tap of the clock
        }
        program = wrapped(folder, binary, environment=environment)
        self.server = EmbeddedServer(SystemClock(), ephemeral=True, binary=program)
        self.url = self.server.start().url

    def step(self, seconds: int) -> None:
        """Let the server's clock be so many seconds off; return when it is."""
        self._write(seconds)
        link, clock = Link.to(self.url), SystemClock()

        def stepped() -> bool:
            return abs(int(link.call("TIME")[0]) - clock.now() - seconds) < 60

        wait_until(stepped, f"a clock that is {seconds} s off")
        link.close()

    def _write(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._file)  # whole or not at all: it is read at any time
