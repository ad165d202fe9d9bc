"""A gateway that is told to stop, and is not done when its time is over."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from parallax.producers.gateway.settings import GatewaySettings
from tests.integration.cells import StuckEngine
from tests.integration.gateways import a_cell, events_of, fronted, problem
from tests.waiting import wait_until

pytestmark = pytest.mark.dear


def test_who_is_not_answered_in_time_is_told_so_and_its_jobs_are_cancelled(
    embedded_url: str,
) -> None:
    settings = GatewaySettings(head_s=0.0, comment_s=0.05, drain_s=0.0)
    cell = a_cell(embedded_url, StuckEngine(2))
    with fronted(embedded_url, cell, settings) as front, ThreadPoolExecutor() as clients:
        whole = clients.submit(front.chat, model="")
        stream = clients.submit(front.chat, model="", stream=True)
        wait_until(lambda: len(front.jobs()) == 2, "both to be accepted")
        front.serving.stop()
        assert problem(whole.result(60)) == (503, "shutting_down", None)
        assert whole.result().headers["retry-after"] == "1"
        events = events_of(stream.result(60).text)
        assert [json.loads(event)["error"]["code"] for event in events] == ["shutting_down"]
        wait_until(lambda: not front.jobs(), "their jobs to be cancelled")
