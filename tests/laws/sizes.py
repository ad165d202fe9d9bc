"""How much everything that hangs on an object holds, whatever it is called."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

#: These are looked into, but are not what is kept of jobs, tenants or workers.
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type)


def sizes(root: object) -> Counter[str]:
    """Return how many items all containers under `root` hold, by the attributes they are in.

    What can hold a fixed number only (a deque with a length) is left out.
    """
    found: Counter[str] = Counter()
    seen: set[int] = set()
    left: list[tuple[str, object]] = [(type(root).__name__, root)]
    while left:
        path, item = left.pop()
        if isinstance(item, _PLAIN) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            found[path] += len(item)
            left += [(path, part) for pair in item.items() for part in pair]
        elif isinstance(item, list | set | frozenset | tuple | deque):
            if not (isinstance(item, deque) and item.maxlen is not None):
                found[path] += len(item) * (not isinstance(item, tuple))
                left += [(path, part) for part in item]
        elif type(item).__module__.startswith(("parallax", "tests")):
            name = type(item).__name__
            left += [(f"{name}.{attribute}", value) for attribute, value in _attributes(item)]
    return found


def _attributes(item: object) -> Iterator[tuple[str, Any]]:
    names = {name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())}
    for name in sorted(names | set(getattr(item, "__dict__", {}))):
        if hasattr(item, name):
            yield name, getattr(item, name)
