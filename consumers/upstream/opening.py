"""From what the user says of a server to what stands for it: its key found, its facts asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from parallax.consumers.upstream.backend import Backend, parsed_backend
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.kinds import Facts, Load
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError

if TYPE_CHECKING:
    from parallax.consumers.upstream.engine import UpstreamEngine

#: What to type where the HTTP client is missing.
INSTALL = "pip install 'parallax-lb[engines]'"


def opened(text: str, slots: int | None, clock: Clock) -> UpstreamEngine:
    """Return an engine for a server; `slots` count where the text names none.

    What it serves is asked for now. A server that does not answer yet is looked at again and again
    once the engine lives. Raises InvalidInput.
    """
    backend = checked(text)
    if backend.slots is None and slots is not None:
        backend = replace(backend, slots=slots)
    key = key_of(backend, os.environ)
    from parallax.consumers.upstream.engine import UpstreamEngine

    try:
        facts: Facts | None = asyncio.run(_facts(backend, key))
    except Failure:
        facts = None
    return UpstreamEngine(backend, clock, key, facts)


def checked(text: str) -> Backend:
    """Read what the user says of a server; raises a clear error if a worker could not use it."""
    backend = parsed_backend(text)
    check_client()
    key_of(backend, os.environ)
    return backend


def check_client() -> None:
    """Raise ParallaxError, saying what to install, where the HTTP client is missing."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise ParallaxError(f"--backend needs an HTTP client that is not here: {INSTALL}") from None


def key_of(backend: Backend, environment: Mapping[str, str]) -> str:
    """Return the key of a server; raises InvalidInput where its variable is not set."""
    if not backend.key_env:
        return ""
    key = environment.get(backend.key_env, "").strip()
    if not key:
        raise InvalidInput("--backend key-env", backend.key_env, "set that variable to the key")
    if not (key.isascii() and key.isprintable()):
        raise InvalidInput("--backend key-env", backend.key_env, "a key of printable ASCII in it")
    return key


def probed(backend: Backend, key: str) -> tuple[Facts, Load]:
    """Return what a server says of itself, and its load; raises Failure."""
    return asyncio.run(_probed(backend, key))


async def _facts(backend: Backend, key: str) -> Facts:
    from parallax.consumers.upstream.door import Door
    from parallax.consumers.upstream.probing import look

    async with Door(backend, key) as door:
        return await look(door, backend)


async def _probed(backend: Backend, key: str) -> tuple[Facts, Load]:
    from parallax.consumers.upstream.door import Door
    from parallax.consumers.upstream.probing import load, look

    async with Door(backend, key) as door:
        facts = await look(door, backend)
        return facts, await load(door, facts.kind)
