"""A job as it is stored: the scheduler's part of it, and the parts for others."""

from __future__ import annotations

import hashlib

from parallax.broker.store.codec import VERSION, encode
from parallax.core.model import Job
from parallax.core.prefix import salted

#: A spec longer than this leaves its prefix to a field of its own in the record (bytes): a reader
#: of arrivals or records by count must know how much that is at the most.
MOST_INLINE = 1_024


def spec_of(job: Job, shared_prefixes: bool = True) -> bytes:
    """Encode what the scheduler may know of a job: a `Spec`, without an empty prefix.

    Unless prefixes are shared, what its blocks are called is for its tenant alone.
    """
    head = [VERSION, job.tenant, job.prompt_tokens, job.max_tokens, job.session, job.priority]
    if not job.prefix and not job.model:
        return encode(head)
    prefix = job.prefix
    if prefix and not shared_prefixes:
        prefix = salted(job.tenant, prefix)
    model = (0, job.model) if job.model else ()
    return encode([*head, prefix, job.prefix_block, *model])


def parts_of(job: Job, shared_prefixes: bool = True) -> tuple[bytes, bytes]:
    """Encode a job's spec as it is stored: what rides in its arrival, and a long prefix apart.

    The second is empty where all of it rides. `joined` puts them together again.
    """
    spec = spec_of(job, shared_prefixes)
    if len(spec) <= MOST_INLINE:
        return spec, b""
    names = job.prefix if shared_prefixes else salted(job.tenant, job.prefix)
    prefix = encode([names, job.prefix_block])[1:-1]
    head = [VERSION, job.tenant, job.prompt_tokens, job.max_tokens, job.session, job.priority]
    model = (job.model,) if job.model else ()
    return encode([*head, (), job.prefix_block, len(prefix), *model]), prefix


def joined(text: bytes, prefix: bytes | None) -> bytes:
    """Return a text that ends with a spec (`about`, an arrival) with the prefix in its place.

    A model has no brackets in its name: the last ones stand for the prefix.
    """
    if not prefix:
        return text
    place = text.rindex(b"[]")
    model = text.rfind(b',"', place)
    return text[:place] + prefix + (b"]" if model < 0 else b",0" + text[model:])


def ticket_of(job: Job, body: bytes, reply: str) -> str:
    """Encode what a job carries for others than the scheduler: the middle of `About`.

    Its digest is over all that must be equal for two submissions of one id to be the same job.
    """
    text = f"{job.tenant}|{job.session}|{job.prompt_tokens}|{job.max_tokens}|{job.output_tokens}"
    text += f"|{job.deadline_s}|{job.priority}"
    if job.prefix:
        text += f"|{job.prefix}|{job.prefix_block}"
    if job.model:
        text += f"|model {job.model}"
    letters = "s" * job.stream + "k" * job.keep
    if letters:
        text += f"|{letters}"
    digest = hashlib.blake2b(text.encode() + body, digest_size=8).hexdigest()
    length = "-" if job.output_tokens is None else job.output_tokens
    return f"{digest} {length} {len(body)}{letters} {reply or '-'}"
