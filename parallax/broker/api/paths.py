"""Which path of the API a body was sent to.

A body usually tells by itself: a chat has `messages`, a completion has `prompt`. Where it does not
(`input` is a response's and an embedding's) a gateway writes the path into the body, and whoever
serves it takes it out again.
"""

from __future__ import annotations

from collections.abc import Collection

CHAT, COMPLETIONS, EMBEDDINGS = "/chat/completions", "/completions", "/embeddings"
RESPONSES, TOKENIZE = "/responses", "/tokenize"
PATHS = (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, TOKENIZE)

#: Those whose answers can be streamed.
STREAMING = frozenset({CHAT, COMPLETIONS, RESPONSES})

#: The field that names the path, where a body does not tell it.
FIELD = "parallax_path"

#: A field of a body -> the path that takes bodies with it. The first that is there decides.
TELLING = {"messages": CHAT, "prompt": COMPLETIONS, "input": EMBEDDINGS}


def addressed(body: bytes, path: str) -> bytes:
    """Return a JSON object with the path in it. It must have a field."""
    opened = body.index(b"{") + 1
    return b'%s"%s":"%s",%s' % (body[:opened], FIELD.encode(), path.encode(), body[opened:])


def path_of(named: str | None, fields: Collection[str]) -> str | None:
    """Return the path of a body: that which it names, else what its fields tell; None: neither."""
    if named is not None:
        return named if named in PATHS else None
    return next((path for field, path in TELLING.items() if field in fields), None)
