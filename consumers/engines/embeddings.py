"""Answers of `/v1/embeddings` without a model: texts with words in common are near each other.

Each word falls, by its hash, on one direction with one sign; their sum is brought to length 1. So
the same text has the same embedding everywhere, and programs that look for neighbours can be tried.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parallax.consumers.engines.writing import End

#: How long an embedding is, where a request does not say it.
DIMENSIONS = 256


@dataclass(frozen=True, slots=True)
class EmbeddingsWriter:
    """Writes the embeddings of texts; nothing of it can be streamed."""

    model: str
    texts: Sequence[str]
    dimensions: int
    base64: bool

    def more(self, text: str, *, first: bool) -> list[bytes]:
        """See `writing.Writer`."""
        return []

    def last(self, end: End) -> list[bytes]:
        """See `writing.Writer`."""
        return []

    def whole(self, end: End) -> bytes:
        """See `writing.Writer`."""
        data = [
            {"object": "embedding", "index": index, "embedding": self._shown(text)}
            for index, text in enumerate(self.texts)
        ]
        tokens = end.usage.prompt_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        document = {"object": "list", "data": data, "model": self.model, "usage": usage}
        return msgspec.json.encode(document)

    def _shown(self, text: str) -> Any:
        found = embedded(text, self.dimensions)
        return b64encode(found.tobytes()).decode("ascii") if self.base64 else found.tolist()


def embedded(text: str, dimensions: int) -> NDArray[np.float32]:
    """Return the embedding of a text: little-endian floats, as the API has them."""
    found = np.zeros(dimensions, "<f4")
    for word in text.lower().split() or [""]:
        drawn = int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())
        found[(drawn >> 1) % dimensions] += 1.0 if drawn & 1 else -1.0
    length = float(np.linalg.norm(found))
    if not length:  # two words may cancel each other out
        found[0], length = 1.0, 1.0
    return (found / length).astype("<f4")
