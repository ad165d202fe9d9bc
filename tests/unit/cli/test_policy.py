"""`parallax policy`: everything in the registry can be listed and shown."""

from __future__ import annotations

import pytest

from parallax.core.settings import Policies
from parallax.policies.registry import REGISTRIES
from tests.unit.cli.invoking import Run

REGISTERED = [(registry.kind, name) for registry in REGISTRIES for name in registry]


def test_the_list_as_json_holds_every_policy(run: Run) -> None:
    answer = run("policy", "list", "--json")
    assert answer.code == 0
    rows = answer.document
    assert [(row["kind"], row["name"]) for row in rows] == REGISTERED
    assert all(row["summary"] for row in rows)


def test_the_list_in_a_pipe_is_plain_columns(run: Run) -> None:
    lines = run("policy", "list").out.splitlines()
    assert lines[0].split()[:3] == ["kind", "name", "parameters"]
    assert len(lines) == 1 + len(REGISTERED)
    assert "\x1b" not in "".join(lines)


def test_the_defaults_are_in_the_list(run: Run) -> None:
    listed = {(row["kind"], row["name"]) for row in run("policy", "list", "--json").document}
    defaults = Policies()
    for kind in ("admission", "fairness", "ordering", "gate", "routing", "predictor"):
        assert (kind, getattr(defaults, kind).name) in listed


@pytest.mark.sampled(10)
@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_every_policy_can_be_shown_with_its_parameters(run: Run, kind: str, name: str) -> None:
    answer = run("policy", "show", name)
    assert answer.code == 0
    assert f"{name} ({kind}, from parallax-lb)" in answer.out
    (registry,) = (registry for registry in REGISTRIES if registry.kind == kind)
    for parameter, (_, default) in registry.parameters(name).items():
        assert f"  {parameter}: " in answer.out
        assert str(default) in answer.out


def test_an_unknown_policy_ends_with_2_and_the_known_ones(run: Run) -> None:
    answer = run("policy", "show", "nope")
    assert (answer.code, answer.out) == (2, "")
    assert "'nope'" in answer.err
    assert all(name in answer.err for _, name in REGISTERED)
