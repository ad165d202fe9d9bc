"""`parallax policy list | show | new`: what there is to choose from, and a place for more."""

from __future__ import annotations

import inspect
from pathlib import Path

import click

from parallax.cli.output import show
from parallax.cli.policy_new import write_policy
from parallax.core.errors import UnknownPolicy
from parallax.policies.registry import REGISTRIES


@click.group()
def policy() -> None:
    """List policies and their parameters, or begin a new one."""


@policy.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(as_json: bool) -> None:
    """List all policies."""
    rows = []
    for registry in REGISTRIES:
        for name in registry:
            parameters = ", ".join(
                f"{key}={default}" for key, (_, default) in registry.parameters(name).items()
            )
            first = (inspect.getdoc(registry[name]) or "").partition("\n")[0]
            rows.append((registry.kind, name, parameters or "-", first))
    head = ("kind", "name", "parameters", "what it does")
    document = [dict(zip(head, row, strict=True)) for row in rows]
    show(document, as_json=as_json, title="Policies", head=head, rows=rows)


@policy.command("show")
@click.argument("name")
def show_(name: str) -> None:
    """Show what a policy does, where it comes from, and its parameters."""
    found = False
    for registry in REGISTRIES:
        if name in set(registry):
            found = True
            click.echo(f"{name} ({registry.kind})\n")
            click.echo(inspect.getdoc(registry[name]))
            for key, (kind, default) in registry.parameters(name).items():
                click.echo(f"\n  {key}: {kind.__name__} = {default}")
    if not found:
        known = sorted({known for registry in REGISTRIES for known in registry})
        raise UnknownPolicy("policy", name, f"known: {', '.join(known)}")


@policy.command("new")
@click.argument("kind")
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write the file of a new policy, and its test, into the checkout in this directory.

    KIND is one of admission, fairness, ordering, gate, routing, predictor, batching, hedging,
    stealing, rollout and scaling. What is written works, and passes the conformance suite: change
    it bit by bit.
    """
    for path in write_policy(kind, name, Path()):
        click.echo(path)
