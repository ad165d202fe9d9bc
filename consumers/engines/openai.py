"""`openai`: hands requests to a server that speaks OpenAI's API. See `consumers.upstream`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.consumers.engines.registry import ENGINES, Options
from parallax.core.errors import InvalidInput

if TYPE_CHECKING:
    from parallax.consumers.upstream.engine import UpstreamEngine


@ENGINES.register("openai")
def build(options: Options) -> UpstreamEngine:
    """Hands requests to a server that speaks OpenAI's API (--backend)."""
    from parallax.consumers.upstream.opening import opened

    if not options.backend:
        told = "this engine stands for a server: name it with --backend http://HOST:PORT/v1"
        raise InvalidInput("--backend", "", told)
    return opened(options.backend, options.slots, options.clock)
