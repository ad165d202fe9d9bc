"""The OpenAPI document, made of the routes and of the shapes that bodies are read with."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from parallax import __version__
from parallax.producers.gateway.bodies import REQUESTS
from parallax.producers.gateway.routes import MEANINGS, SPECS, Spec

#: Of every path: too many headers, a gateway that is full or going, a fault.
_EVERYWHERE = (400, 500, 503)

_TEMPLATE = "#/components/schemas/{name}"
_ERROR: dict[str, Any] = {
    "type": "object", "required": ["error"], "additionalProperties": False,
    "properties": {"error": {
        "type": "object", "required": ["message", "type", "param", "code"],
        "additionalProperties": False,
        "properties": {
            "message": {"type": "string"}, "type": {"type": "string"},
            "param": {"type": ["string", "null"]}, "code": {"type": "string"},
        },
    }},
}  # fmt: skip
_HEADERS = {
    "retry-after": "whole seconds after which to come back",
    "x-should-retry": "false: it would not help",
}


@cache
def document() -> bytes:
    """Return the document, as JSON."""
    _, found = msgspec.json.schema_components(REQUESTS.values(), ref_template=_TEMPLATE)
    schemas: dict[str, Any] = {**found, "Error": _ERROR}
    for one in schemas.values():
        _tidy(one)
    paths: dict[str, Any] = {}
    for spec in SPECS:
        paths.setdefault(_path(spec), {})[spec.method.lower()] = _operation(spec)
    return msgspec.json.encode({
        "openapi": "3.1.0",
        "info": {"title": "Parallax gateway", "version": __version__,
                 "description": "OpenAI's API before a durable, fair queue."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    })  # fmt: skip


def _path(spec: Spec) -> str:
    return spec.path.replace(":path}", "}")


def _operation(spec: Spec) -> dict[str, Any]:
    kinds: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if not spec.json:
        kinds = {"text/plain": {"schema": {"type": "string"}}}
    if spec.asks:
        kinds["text/event-stream"] = {"schema": {"type": "string"}}
    statuses = sorted({*spec.statuses, *_EVERYWHERE})
    found: dict[str, Any] = {
        "operationId": spec.name,
        "summary": spec.summary,
        "responses": {
            "200": {"description": "the answer", "content": kinds},
            **{str(status): _problem(status) for status in statuses},
        },
    }
    if spec.asks:
        name = REQUESTS[spec.asks].__name__
        shape = {"schema": {"$ref": _TEMPLATE.format(name=name)}}
        found["requestBody"] = {"required": True, "content": {"application/json": shape}}
    if "{" in spec.path:
        found["parameters"] = [
            {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    return found | ({"security": [{}, {"key": []}]} if spec.keyed else {})


def _problem(status: int) -> dict[str, Any]:
    shape = {"schema": {"$ref": _TEMPLATE.format(name="Error")}}
    told: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {"application/json": shape},
    }
    if status in {429, 503}:
        told["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        }
    return told


def _tidy(schema: dict[str, Any]) -> None:
    """Say that null is as good as nothing is there only where it is; defaults are not told."""
    for one in schema.get("properties", {}).values():
        one.pop("default", None)
