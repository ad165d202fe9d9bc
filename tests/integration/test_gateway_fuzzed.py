"""Requests drawn from the gateway's own OpenAPI document: answered as it says, whatever they are.

`make fuzz` installs what draws them. Half of them are of the shapes of the document, half are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings

schemathesis: Any = pytest.importorskip("schemathesis", reason="`make fuzz` installs schemathesis")

from parallax.producers.gateway.settings import GatewaySettings  # noqa: E402
from tests.examples import examples  # noqa: E402
from tests.integration.gateways import Front, a_cell, fronted  # noqa: E402
from tests.servers import EMBEDDED, Running  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.fuzzed, pytest.mark.timeout(1800)]

#: Of each operation.
EXAMPLES = examples(300)


@pytest.fixture(scope="module")
def front(servers: Running) -> Iterator[Front]:
    """Yield a gateway before a cell without workers, which waits for none."""
    url = servers.emptied(EMBEDDED.name)
    limits = GatewaySettings(hold_s=0.0, max_body=20_000)
    with fronted(url, a_cell(url), limits) as front:
        yield front


@pytest.fixture(scope="module")
def document(front: Front) -> Any:
    return front.asking.get("/openapi.json").json()


OPERATIONS = (
    "chat", "completions", "responses", "embeddings", "tokenize", "models", "model", "health",
    "ready", "metrics", "openapi",
)  # fmt: skip


def test_every_operation_is_asked(document: Any) -> None:
    told = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert told == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_law_every_answer_is_as_documented(front: Front, document: Any, operation: str) -> None:
    schema = schemathesis.openapi.from_dict(document)
    found = next(
        one.ok() for one in schema.get_all_operations()
        if one.ok().definition.raw["operationId"] == operation
    )  # fmt: skip
    modes = list(schemathesis.GenerationMode)
    if "requestBody" not in found.definition.raw:
        modes = [schemathesis.GenerationMode.POSITIVE]  # there is nothing to get wrong
    statuses = {int(status) for status in found.definition.raw["responses"]}

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: Any) -> None:
        try:
            answer = case.call(base_url=front.base, timeout=60)
        except (UnicodeError, ValueError):
            return  # what cannot be sent at all is nobody's answer
        # What is sent with another method, or to a path that is no path, is answered so.
        assert answer.status_code in statuses | {404, 405}, (answer.status_code, answer.text)
        assert b"Traceback" not in answer.content
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}

    for mode in modes:
        strategy = found.as_strategy(generation_mode=mode)
        _given(strategy, ask)


def _given(strategy: Any, ask: Any) -> None:
    from hypothesis import given

    given(case=strategy)(ask)()


def test_it_is_still_well_afterwards(front: Front) -> None:
    assert httpx.get(f"{front.base}/health", timeout=60).status_code == 200
    assert 'result="500"' not in front.asking.get("/metrics").text
