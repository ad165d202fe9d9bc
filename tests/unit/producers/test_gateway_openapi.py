"""The OpenAPI document says what there is: every route, every shape it names, every status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parallax.producers.gateway.bodies import REQUESTS
from parallax.producers.gateway.openapi import document
from parallax.producers.gateway.routes import MEANINGS, SPECS

DOCUMENT: dict[str, Any] = json.loads(document())


def references(found: Any) -> set[str]:
    """Return what a part of the document refers to."""
    if isinstance(found, dict):
        own = {found["$ref"]} if isinstance(found.get("$ref"), str) else set()
        return own.union(*(references(one) for one in found.values()))
    return set().union(*(references(one) for one in found)) if isinstance(found, list) else set()


def test_every_route_is_described() -> None:
    described = {
        (method.upper(), path) for path, one in DOCUMENT["paths"].items() for method in one
    }
    assert described == {(one.method, one.path.replace(":path", "")) for one in SPECS}


def test_every_shape_that_is_named_is_there() -> None:
    names = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    assert names <= set(DOCUMENT["components"]["schemas"])
    assert {kind.__name__ for kind in REQUESTS.values()} | {"Error"} <= names


def test_the_control_a_dangling_reference_is_found() -> None:
    assert references({"a": [{"$ref": "#/components/schemas/Nothing"}]})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_status_means_something(spec: Any) -> None:
    assert set(spec.statuses) <= set(MEANINGS)


def test_what_a_chat_must_say_is_told() -> None:
    chat = DOCUMENT["components"]["schemas"]["ChatRequest"]
    assert chat["required"] == ["messages"]
    assert chat["properties"]["messages"]["minItems"] == 1
