"""`parallax policy`: what there is to choose from, a place for more, and what a cell is to use."""

from __future__ import annotations

import inspect
from pathlib import Path

import click

from parallax.cli.options import redis_options
from parallax.cli.output import show
from parallax.cli.policy_new import write_policy
from parallax.core.errors import InvalidInput, UnknownPolicy
from parallax.policies.registry import REGISTRIES


@click.group()
def policy() -> None:
    """List policies, begin a new one, or change those of a running cell."""


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


@policy.command("set")
@redis_options
@click.argument("name")
@click.option("--kind", help="Kind of policy, where several have one of this name.")
@click.option("--set", "parameters", multiple=True, metavar="KEY=VALUE", help="Set a parameter.")
def set_(
    redis: str | None,
    cell: str,
    home: Path | None,
    name: str,
    kind: str | None,
    parameters: tuple[str, ...],
) -> None:
    """Let a running cell use another policy.

    The leader changes within a second, as a new leader would: it reads everything from Redis again,
    so nothing that waits or runs is lost, moved or charged anew. Standbys know it, too.
    """
    from parallax.broker.policy_store import PolicyDocument
    from parallax.cli.canary import choice_of, store_of
    from parallax.core.settings import Policies
    from parallax.services.choices import built

    kind = kind or _kind_of(name)
    choice = choice_of("NAME", ":".join((name, *parameters)))
    built(Policies(), PolicyDocument(overrides={kind: choice}), 0)  # refused now, if it is wrong
    with store_of(redis, home, cell) as store:
        document = store.read()
        store.replace(document, overrides=document.overrides | {kind: choice})
    click.echo(f"{kind} policy of cell {cell}: {name}")


@policy.command("reset")
@redis_options
def reset(redis: str | None, cell: str, home: Path | None) -> None:
    """Let a running cell use the policies again that its scheduler was started with."""
    from parallax.cli.canary import store_of

    with store_of(redis, home, cell) as store:
        store.replace(store.read(), overrides={})
    click.echo(f"cell {cell} uses the policies that its scheduler was started with")


@policy.command("current")
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def current(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """Show what was chosen for a running cell since its scheduler was started."""
    from parallax.cli.canary import store_of

    with store_of(redis, home, cell) as store:
        overrides = store.read().overrides
    rows = [
        (kind, choice.name, " ".join(f"{k}={v}" for k, v in choice.parameters.items()) or "-")
        for kind, choice in sorted(overrides.items())
    ]
    head = ("kind", "name", "parameters")
    document = [dict(zip(head, row, strict=True)) for row in rows]
    show(document, as_json=as_json, title=f"Policies of cell {cell}", head=head, rows=rows)


def _kind_of(name: str) -> str:
    from parallax.services.choices import CHANGEABLE

    kinds = [r.kind for r in REGISTRIES if name in set(r) and r.kind in CHANGEABLE]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise InvalidInput("--kind", None, f"{name} may be one of {', '.join(kinds)}: say which")
    known = sorted({known for r in REGISTRIES if r.kind in CHANGEABLE for known in r})
    raise UnknownPolicy("policy", name, f"known: {', '.join(known)}")
