"""Processes are replaced one by one: what newer and older ones say is understood, and checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parallax.broker.store.codec import (
    VERSION,
    Report,
    decode_arrival,
    decode_registration,
    decode_report,
    encode,
)
from parallax.core.errors import InvalidInput

REPORT = Report("acme", "w1", 2, 2.5, 10, 5, 0, 0.25, 0.5, 1.5, "broke", 3.0, reason="deadline")
AT = Report.__struct_fields__.index("v")


def fields(report: Report = REPORT) -> list[Any]:
    told: list[Any] = json.loads(encode(report))
    return told


def text(told: object) -> bytes:
    return json.dumps(told).encode()


def newer(*more: object, **changes: object) -> bytes:
    """Return a report as a later version might write it."""
    told = fields()
    told[AT] = VERSION + 1
    for name, value in changes.items():
        told[Report.__struct_fields__.index(name)] = value
    return text([*told, *more])


def same(one: Report, other: Report) -> bool:
    """Whether two reports say the same but for their version."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in Report.__struct_fields__
        if name != "v"
    )


@pytest.mark.parametrize("more", [(), ("new",), (None, {"a": [1]}, 7)])
def test_what_a_newer_version_adds_to_a_report_is_passed_over(more: tuple[object, ...]) -> None:
    found = decode_report(newer(*more))
    assert found.v == VERSION + 1
    assert same(found, REPORT)
    assert same(decode_report(encode(found)), REPORT), "and it can be told on"


def test_a_report_of_the_release_without_versions_is_understood() -> None:
    assert decode_report(text(fields()[:AT])).error == "broke"
    assert decode_report(b'["acme","w1",2,2.5]').estimate == 2.5  # as scripts write it


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant", "two words"), ("tenant", 7), ("attempt", -1), ("estimate", -0.5),
        ("estimate", "1"), ("prompt_tokens", 10**9), ("output_tokens", None), ("wait_s", -1),
    ],
)  # fmt: skip
def test_what_is_paid_and_owned_is_checked_in_newer_versions_too(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=field):
        decode_report(newer("new", **{field: value}))


@pytest.mark.parametrize("version", [VERSION, 0, -1, None, "2", 1.5, True, 10**7])
def test_a_field_too_many_is_junk_in_a_version_that_is_known_or_none(version: object) -> None:
    told = fields()
    told[AT] = version
    with pytest.raises(InvalidInput):
        decode_report(text([*told, "new"]))


def test_a_newer_worker_may_register_with_an_older_scheduler() -> None:
    found = decode_registration(b'{"v":2,"slots":3,"colour":"red","role":"prefill"}')
    assert (found.slots, found.role) == (3, "prefill")
    for bad in (b'{"v":1,"slots":3,"colour":"red"}', b'{"v":2,"slots":0}', b'{"v":2}'):
        with pytest.raises(InvalidInput):
            decode_registration(bad)


def test_a_job_of_a_newer_version_is_refused_for_who_pays_hangs_on_it() -> None:
    with pytest.raises(InvalidInput, match=r"spec\.v"):
        decode_arrival([b"j", b'j1 1500 - 0 [2,"acme",10,20]'])
