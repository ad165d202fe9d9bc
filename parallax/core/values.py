"""Values: dataclasses that are made for every job and that nobody changes.

To the type checker, and so to authors, `value` is `dataclass`, and with `frozen=True`
it refuses every change. At run time nothing looks: to make a value whose every field is guarded
costs five times as much as the fields do. A value that is handed to foreign policies and lives on
(`JobView`) is guarded all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots):
        """Return a decorator that makes a class one of values."""
        return dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["value"]
