"""Looking at a server: is it well, what kind is it, what does it serve, how loaded is it?"""

from __future__ import annotations

from typing import Any

from parallax.consumers.upstream.backend import Backend
from parallax.consumers.upstream.door import Door
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.kinds import (
    KINDS,
    Facts,
    Load,
    facts_of,
    kind_of,
    kv_of_slots,
    load_of,
)


async def look(door: Door, backend: Backend) -> Facts:
    """Return what a server says of itself; raises Failure if it is not well."""
    models: Any = None
    try:
        models = await door.look_json("/v1/models")
    except Failure as failure:
        if failure.untouched or failure.busy or failure.locked or not backend.kind:
            raise
    kind = backend.kind or kind_of(models) or await _guessed(door)
    await door.look(KINDS[kind].health)
    about = await _or_nothing(door, KINDS[kind].about)
    return facts_of(kind, models, about, await _metrics(door, kind))


async def load(door: Door, kind: str) -> Load:
    """Return the load of a server that is well; raises Failure if it is not."""
    await door.look(KINDS[kind].health)
    found = load_of(kind, await _metrics(door, kind))
    if kind == "llamacpp" and found.kv_used is None:  # newer ones say it of their slots alone
        slots = await _or_nothing(door, "/slots")
        return Load(found.running, found.waiting, kv_of_slots(slots))
    return found


async def _guessed(door: Door) -> str:
    """Tell the kind by a path that only one kind has."""
    for kind, path, field in (
        ("llamacpp", "/props", "total_slots"),
        ("sglang", "/get_server_info", "max_total_num_tokens"),
        ("tgi", "/info", "max_total_tokens"),
    ):
        about = await _or_nothing(door, path)
        if isinstance(about, dict) and field in about:
            return kind
    return "openai"


async def _metrics(door: Door, kind: str) -> str:
    path = KINDS[kind].metrics
    if not path:
        return ""
    try:
        return (await door.look(path)).decode("utf-8", "replace")
    except Failure:  # they may be turned off
        return ""


async def _or_nothing(door: Door, path: str) -> Any:
    if not path:
        return None
    try:
        return await door.look_json(path)
    except Failure:
        return None
