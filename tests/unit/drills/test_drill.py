"""What a seed decides, and the page about drills."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from parallax.core.errors import InvalidInput
from parallax.drills import cli
from parallax.drills.disk import SmallDisk
from parallax.drills.drill import DrillResult, DrillSpec
from parallax.drills.faults import FAULTS
from parallax.drills.report import page
from parallax.drills.shape import Shape
from parallax.drills.stage import Cast
from parallax.services.orders import Interrupted, Orders


def result(seed: int, **broken: list[str]) -> DrillResult:
    counts = Counter({"kill a worker": 3, "write junk": 1})
    return DrillResult(DrillSpec(seed), counts, 100, 120, Counter(completed=99), {}, 1.5, broken)


def test_odd_seeds_destroy_nothing_and_even_ones_do() -> None:
    assert not any(fault.destroys for fault in DrillSpec(11).faults)
    assert any(fault.destroys for fault in DrillSpec(12).faults)
    everywhere = {name for name, fault in FAULTS.items() if not fault.needs}
    assert {fault.name for fault in DrillSpec(12).faults} == everywhere


def test_what_a_shape_has_can_be_broken() -> None:
    crowd = DrillSpec(12, shape=Shape(workers=50))
    assert "kill the crew" in {fault.name for fault in crowd.faults}
    assert "kill the crew" not in {fault.name for fault in DrillSpec(12).faults}


def test_disks_are_filled_where_that_is_allowed_and_else_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = DrillSpec(12, shape=Shape(disk=1))
    for allowed in (True, False):
        monkeypatch.setattr(SmallDisk, "possible", lambda allowed=allowed: allowed)
        assert ("fill the disk" in {fault.name for fault in spec.faults}) is allowed
        assert ("takes root" in spec.left_out) is not allowed


def test_a_kind_that_is_not_known_or_not_left_is_refused() -> None:
    with pytest.raises(InvalidInput, match="kill a worker"):
        DrillSpec(1, kinds=("kill a wrker",))
    with pytest.raises(InvalidInput, match="odd seed"):
        DrillSpec(1, kinds=("delete entries",))
    assert [fault.name for fault in DrillSpec(2, kinds=("delete entries",)).faults]


def test_the_page_tells_runs_promises_and_faults() -> None:
    text = page([result(11), result(12, I1=["j1 was accepted and has no record"])])
    assert "| 11 | no | 4 | 100 | 120 |" in text
    assert "| 12 | yes | 4 |" in text
    assert "| all |  | 8 | 200 | 240 |  |  |  | 1.5 | 1 |" in text
    assert "| I1 | every accepted job has a terminal record | 1 |" in text
    assert "| kill a worker | 6 |" in text
    assert "| 11 | small | 0 | 0 | 0 | 0 | 0 |" in text


def test_the_page_says_how_to_repeat_a_drill_with_all_that_was_chosen() -> None:
    spec = DrillSpec(
        12, 5.0, 20.0, 0.5, ("kill a worker",), Cast(durability="everysec", gateways=3)
    )
    text = page([replace(result(12), spec=spec)], ["wide", "workers=50"])
    assert (
        "`parallax verify --seed SEED --duration 5 --rate 20 --pause 0.5 --durability everysec "
        "--gateways 3 --fault 'kill a worker' --shape wide --shape workers=50`"
    ) in text


def test_the_page_tells_what_came_of_requests_if_there_were_any() -> None:
    asked = Counter(whole=7, error=2, cut=1)
    text = page([replace(result(11), asked=asked), result(13)])
    assert "| 11 | 10 | 7 | 2 | 1 | 0 | 0 |" in text
    assert "answered whole" not in page([result(11)])


def test_faults_of_gateways_need_some_and_change_no_others() -> None:
    with_some, without = DrillSpec(12, cast=Cast(gateways=2)), DrillSpec(12)
    assert [one.name for one in with_some.faults] == [one.name for one in without.faults]
    names = [one.name for one in with_some.faults_of_gateways]
    assert names == ["kill a gateway", "pause a gateway", "stop a gateway"]
    assert not without.faults_of_gateways
    only = DrillSpec(11, kinds=("kill a gateway",), cast=Cast(gateways=1))
    assert (only.faults, len(only.faults_of_gateways)) == ([], 1)
    with pytest.raises(InvalidInput, match="if there are any"):
        DrillSpec(11, kinds=("kill a gateway",))


def test_a_page_is_not_written_where_the_first_drill_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> DrillResult:
        orders = args[-1]
        assert isinstance(orders, Orders)
        orders.code = 130
        raise Interrupted(130)

    monkeypatch.setattr(cli, "run_drill", interrupted)
    monkeypatch.setattr(cli, "start_logging", lambda: None)
    told = CliRunner().invoke(cli.verify, ["--seed", "1", "-o", str(tmp_path / "page.md")])
    assert told.exit_code == 130, told.exception
    assert not list(tmp_path.iterdir())


def test_what_broke_may_be_excused_only_where_the_store_may_forget() -> None:
    assert result(1).passed
    assert not result(1, I1=["lost"]).passed
