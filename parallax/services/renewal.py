"""Replaces the processes of a machine one by one, while the others serve.

    begin -> [next] -> asked to end -> ended, started again -> serves -> [next] ... done
                            |                    |
                            +---- not in time ---+--> given up: the others run on as they are

So a new release, or new settings in the environment, come without a pause. A process drains as it
does at the end of everything, and nothing that it held is lost. One that does not serve again in
time ends the renewal: a release that does not work takes one process and not all of them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from parallax.core.clock import Clock
from parallax.services.processes import STOP_S, Processes

log = logging.getLogger(__name__)

#: How long a replaced process may take to serve after it was asked to end (seconds).
PATIENCE_S = STOP_S + 30.0


class Renewal:
    """See the module's docstring. `step` is called again and again, after `Processes.watch`."""

    def __init__(self, processes: Processes, serves: Callable[[str], bool], clock: Clock) -> None:
        """`serves` tells whether the new process of that name does its work by now."""
        self._processes, self._serves, self._clock = processes, serves, clock
        self._left = deque[str]()
        self._current: str | None = None
        self._deadline = 0.0

    @property
    def under_way(self) -> bool:
        """Whether there are processes left to replace."""
        return self._current is not None or bool(self._left)

    def begin(self) -> None:
        """Replace all processes that run now, in the order in which they were started.

        Schedulers come first and gateways last, so that whoever reads a message is never older
        than its writer. A second call while it is under way begins anew.
        """
        self._left = deque(self._processes.staying())
        log.warning("replacing %d processes, one by one", len(self._left))

    def step(self) -> None:
        """Go on as far as it goes without waiting."""
        if self._current is None:
            self._next()
        elif self._current not in self._processes.children:
            self._current = None  # an autoscaler let it go meanwhile
        elif self._processes.renewed(self._current) and self._serves(self._current):
            log.warning("%s was replaced", self._current)
            self._current = None
            if not self._left:
                log.warning("all processes were replaced")
        elif self._clock.monotonic() > self._deadline:
            log.error(
                "%s does not serve %g s after it was asked to end: %d others are not replaced",
                self._current, PATIENCE_S, len(self._left),
            )  # fmt: skip
            self._current = None
            self._left.clear()

    def _next(self) -> None:
        while self._left and self._current is None:
            name = self._left.popleft()
            if self._processes.renew(name):
                self._current = name
                self._deadline = self._clock.monotonic() + PATIENCE_S
