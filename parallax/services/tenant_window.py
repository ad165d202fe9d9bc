"""Which tenants' streams the leader reads, and how much of each may be in memory.

The truth is the set `active`: who is in it has, or had lately, jobs in its stream. The bell is a
hint that makes a new one known at once, and it can be lost: it is trimmed when ten thousand tenants
ring within a turn, and anybody can delete it. So `active` is read again and again, a page at each
poll; and by a page at each turn at take-over, and whenever the bell had more than was read of it.

A turn costs the same however many tenants there are: the first ones of a line are looked at and go
to its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from parallax.broker.store.dispatch import Dispatching
from parallax.core.settings import SchedulerSettings

#: Most streams in one read; more active tenants than that take turns.
MAX_STREAMS = 512

#: Most tenants that are looked at for a turn, and most that are let go at one poll.
LOOKS = 4 * MAX_STREAMS

_START = "0"


class TenantWindow:
    """See the module's docstring.

    `held` says how many jobs of a tenant are in memory; `byte_room` says how many more bytes of its
    prefixes may be, if so many tenants share the room.
    """

    def __init__(
        self,
        dispatching: Dispatching,
        settings: SchedulerSettings,
        held: Callable[[str], int],
        byte_room: Callable[[str, int], int],
    ) -> None:
        self._dispatching, self._settings = dispatching, settings
        self._held, self._byte_room = held, byte_room
        self._line: OrderedDict[str, float] = OrderedDict()  # tenant -> time of its last arrival
        self._fresh: dict[str, None] = {}  # nobody has read these yet
        self._full: dict[str, None] = {}  # met without room since they were last measured
        self._quiet: dict[str, None] = {}  # met without jobs and without arrivals
        self._cursor, self._behind, self._again = _START, False, False

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._line

    def add(self, tenant: str, now: float) -> None:
        """Something of this tenant was heard: read its stream, and soon if it is new."""
        if tenant not in self._line:
            self._fresh[tenant] = None
        self._line[tenant] = now

    # -- a turn ---------------------------------------------------------------------------------

    @property
    def share(self) -> int:
        """How many jobs of one tenant may be in memory."""
        share = self._settings.max_held // max(1, len(self._line))
        return max(1, min(self._settings.window, share))

    @property
    def crowded(self) -> bool:
        """Whether tenants take turns in being read."""
        return len(self._line) > MAX_STREAMS

    @property
    def news(self) -> bool:
        """Whether there are tenants whom nobody has read yet."""
        return bool(self._fresh)

    def page(self, now: float) -> list[str]:
        """Return the tenants to read in this turn. O(page), whatever the number of tenants."""
        share = self.share
        if not self.crowded:
            self._fresh.clear()
            return [tenant for tenant in self._line if self._wanted(tenant, share, now)]
        page = dict.fromkeys(islice(self._fresh, MAX_STREAMS))
        for tenant in page:
            del self._fresh[tenant]
        for tenant in list(islice(self._line, LOOKS)):
            if len(page) >= MAX_STREAMS:
                break
            self._line.move_to_end(tenant)
            if self._wanted(tenant, share, now):
                page[tenant] = None
        return list(page)

    def byte_room(self, tenant: str) -> int:
        """Return how many more bytes of prefixes of this tenant may be read into memory."""
        return self._byte_room(tenant, max(1, len(self._line)))

    def _wanted(self, tenant: str, share: int, now: float) -> bool:
        """Whether there is room for more of this tenant's jobs."""
        held = self._held(tenant)
        if held >= share or (held and self.byte_room(tenant) <= 0):
            if len(self._full) < MAX_STREAMS:
                self._full[tenant] = None
            return False
        if not held and len(self._quiet) < LOOKS and self._is_idle(tenant, now):
            self._quiet[tenant] = None
        return True

    def _is_idle(self, tenant: str, now: float) -> bool:
        return now - self._line[tenant] >= self._settings.idle_s

    # -- the truth ------------------------------------------------------------------------------

    def fell_behind(self) -> None:
        """The bell had more than was read of it: skip it, and read all of `active` at once."""
        self._dispatching.bell_cursor = self._dispatching.bell_end()
        self._again = self._behind  # who rang meanwhile may be missing on the pages read so far
        if not self._behind:
            self._behind, self._cursor = True, _START

    @property
    def behind(self) -> bool:
        """Whether a page of `active` is to be read at each turn."""
        return self._behind

    def survey(self, now: float) -> None:
        """Read the next page of `active`. One round trip."""
        self._cursor, names = self._dispatching.active(self._cursor)
        for tenant in names:
            if tenant not in self._line:
                self.add(tenant, now)
        if self._cursor == _START:
            self._behind, self._again = self._again, False

    # -- now and then ---------------------------------------------------------------------------

    def let_go(self, now: float) -> None:
        """Read no more of tenants that are idle and have nothing left. One round trip."""
        quiet = [
            tenant
            for tenant in self._quiet
            if tenant in self._line and not self._held(tenant) and self._is_idle(tenant, now)
        ]
        self._quiet.clear()
        for tenant in self._dispatching.retire(quiet):
            del self._line[tenant]
            self._fresh.pop(tenant, None)

    def backlogs(self) -> dict[str, int]:
        """Return how many jobs wait beyond those in memory, for tenants met without room.

        For a part of them at a time. One round trip.
        """
        full = [tenant for tenant in self._full if self._held(tenant)]
        self._full.clear()
        lengths = self._dispatching.unread(full)
        return {tenant: max(0, n - self._held(tenant)) for tenant, n in lengths.items()}
