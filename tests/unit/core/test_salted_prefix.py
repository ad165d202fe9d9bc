"""Names of blocks are a tenant's own: it finds what it has sent, and nothing that others have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parallax.broker.store.codec import decode_about
from parallax.broker.store.specs import spec_of, ticket_of
from parallax.core.model import MAX_HASH, Job
from parallax.core.prefix import salted

NAMES = st.lists(st.integers(0, MAX_HASH), min_size=1, max_size=50, unique=True)


@given(names=NAMES)
def test_a_tenant_finds_what_it_sent_and_nothing_of_others(names: list[int]) -> None:
    own = salted("victim", names)
    assert own == salted("victim", names)
    assert len(set(own)) == len(names)
    assert all(0 <= name <= MAX_HASH for name in own)
    assert salted("victim", names[:1]) == own[:1]  # as far as two prompts agree, they agree
    assert not set(own) & set(salted("spy", names))
    assert not set(own) & set(salted("spy", own))  # nor by sending what it might have been told
    assert not set(own) & set(names)


def job(tenant: str) -> Job:
    return Job("j", tenant, 64, 10, prefix=(1, 2, 3))


def test_a_spec_holds_them_and_one_of_a_trace_does_not() -> None:
    def prefix(tenant: str, shared: bool) -> tuple[int, ...]:
        one = job(tenant)
        text = f"1 {ticket_of(one, b'', '')} ".encode() + spec_of(one, shared)
        return decode_about(text).spec.prefix

    assert prefix("a", shared=False) == salted("a", (1, 2, 3))
    assert not set(prefix("a", shared=False)) & set(prefix("b", shared=False))
    assert prefix("a", shared=True) == prefix("b", shared=True) == (1, 2, 3)


def test_the_same_submission_has_the_same_digest_as_before() -> None:
    assert ticket_of(job("a"), b"", "") == ticket_of(job("a"), b"", "")
