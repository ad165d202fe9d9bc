"""Bounds of everything that is kept in Redis: nothing grows for ever."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import check_int


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be kept, and for how long."""

    max_depth: int = 100_000  # jobs waiting in one tenant's stream; beyond, submit is refused
    max_active: int = 100_000  # tenants with waiting jobs; beyond, new ones are refused
    max_bytes: int = 1 << 20  # bytes of one job: spec, truth and body together
    record_ttl_ms: int = 3_600_000  # how long a finished job's record can be read
    out_ttl_ms: int = 3_600_000  # how long its progress and result can be followed
    out_entries: int = 10_000  # entries of one `out` stream
    log_entries: int = 100_000  # entries of `events` and of the dead letters
    control_entries: int = 1_000  # orders to one worker that it has not read

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            check_int(name, getattr(self, name), 1, 10**12)
