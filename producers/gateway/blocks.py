"""Names the blocks with which a prompt begins: equal beginnings have equal names.

There is no tokenizer here, so a block is the bytes that a block of tokens usually has. Names are
chained, as `Job.prefix` wants them, and begin with the model, whose caches hold no other's. They
are salted by tenant where the job is submitted (`core.prefix.salted`).
"""

from __future__ import annotations

from hashlib import blake2b

from parallax.producers.client.chat import TOKEN_BYTES

#: Tokens of a block, as engines have them, and most blocks that are named: what two prompts share
#: beyond so many is worth no more bytes in the store.
BLOCK_TOKENS, MOST_BLOCKS = 16, 1_024

_BLOCK = BLOCK_TOKENS * TOKEN_BYTES


def prefix_of(model: str, prompt: bytes) -> tuple[int, ...]:
    """Return the names of the whole blocks that a prompt begins with. O(length), 1 us a block."""
    name = blake2b(model.encode(), digest_size=8).digest()
    found = []
    for start in range(0, min(len(prompt), MOST_BLOCKS * _BLOCK) - _BLOCK + 1, _BLOCK):
        name = blake2b(prompt[start : start + _BLOCK], digest_size=8, key=name).digest()
        found.append(int.from_bytes(name, "big") >> 1)
    return tuple(found)
