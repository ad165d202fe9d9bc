"""`parallax policy`: what there is to choose from, a place for more, and what a cell is to use."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from parallax.broker.store.policies import PolicyDocument
from parallax.cli.cell_view import values
from parallax.cli.documents import Files, PolicyChange, PolicyInForce, PolicyPage, PolicyRow
from parallax.cli.names import PolicyName
from parallax.cli.options import redis_options
from parallax.cli.output import show_all, write_json
from parallax.cli.policy_new import FOLDERS, project_of, write_policy
from parallax.core.errors import InvalidInput, UnknownPolicy
from parallax.core.settings import Policies
from parallax.core.suggest import among
from parallax.policies.registry import REGISTRIES, Registry
from parallax.services.choices import CHANGEABLE, built, in_force


@click.group()
def policy() -> None:
    """List policies, begin a new one, or change those of a running cell."""


@policy.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(as_json: bool) -> None:
    """List all policies."""
    found = [
        PolicyRow(registry.kind, name, _defaults(registry, name), _about(registry, name)[0],
                  registry.source(name))
        for registry in REGISTRIES
        for name in registry
    ]  # fmt: skip
    show_all(found, as_json=as_json, title="Policies")


def _defaults(registry: Registry[Any], name: str) -> dict[str, Any]:
    return {key: default for key, (_, default) in registry.parameters(name).items()}


def _about(registry: Registry[Any], name: str) -> tuple[str, str]:
    text = inspect.getdoc(registry[name]) or ""
    return text.partition("\n")[0], text


@policy.command("show")
@click.argument("name", type=PolicyName())
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show_(name: str, as_json: bool) -> None:
    """Show what a policy does, where it comes from, and its parameters."""
    registries = [registry for registry in REGISTRIES if name in set(registry)]
    if not registries:
        known = sorted({known for registry in REGISTRIES for known in registry})
        raise UnknownPolicy("policy", name, among(name, known))
    pages = [
        PolicyPage(one.kind, name, _defaults(one, name), _about(one, name)[1], one.source(name))
        for one in registries
    ]
    if as_json:
        write_json(pages)
        return
    for registry, page in zip(registries, pages, strict=True):
        click.echo(f"{name} ({page.kind}, from {page.source})\n\n{page.text}")
        for key, (kind, default) in registry.parameters(name).items():
            click.echo(f"\n  {key}: {kind.__name__} = {default}")


@policy.command("new")
@click.argument("kind", type=click.Choice(list(FOLDERS)))
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def new(kind: str, name: str, as_json: bool) -> None:
    """Write the file of a new policy, and its test.

    In a checkout of Parallax they go where such policies are. Anywhere else a small distribution
    is written into a directory of its own: `pip install -e` it, and the policy is known. What is
    written works, and passes the conformance suite: change it bit by bit.
    """
    found = write_policy(kind, name, Path())
    if as_json:
        write_json(Files([str(path) for path in found]))
        return
    for path in found:
        click.echo(path)
    if project := project_of(found):
        click.echo(f"next: pip install -e {project} && parallax policy show {name}", err=True)


@policy.command("set")
@redis_options
@click.argument("name", type=PolicyName())
@click.option("--kind", type=click.Choice(CHANGEABLE),
              help="Kind of policy, where several have one of this name.")  # fmt: skip
@click.option("--set", "parameters", multiple=True, metavar="KEY=VALUE", help="Set a parameter.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def set_(
    redis: str | None,
    cell: str,
    home: Path | None,
    name: str,
    kind: str | None,
    parameters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Let a running cell use another policy.

    The leader changes within a second, as a new leader would: it reads everything from Redis again,
    so nothing that waits or runs is lost, moved or charged anew. Standbys know it, too.
    """
    from parallax.cli.canary import choice_of, store_of

    kind = kind or _kind_of(name)
    choice = choice_of("NAME", ":".join((name, *parameters)))
    built(Policies(), PolicyDocument(overrides={kind: choice}), 0)  # refused now, if it is wrong
    with store_of(redis, home, cell) as store:
        document = store.read()
        store.replace(document, overrides=document.overrides | {kind: choice})
    if as_json:
        write_json(PolicyChange(cell, kind, name))
    else:
        click.echo(f"{kind} policy of cell {cell}: {name}")


@policy.command("reset")
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def reset(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """Let a running cell use the policies again that its scheduler was started with."""
    from parallax.cli.canary import store_of

    with store_of(redis, home, cell) as store:
        store.replace(store.read(), overrides={})
    if as_json:
        write_json(PolicyChange(cell, None, None))
    else:
        click.echo(f"cell {cell} uses the policies that its scheduler was started with")


@policy.command("current")
@redis_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def current(redis: str | None, cell: str, home: Path | None, as_json: bool) -> None:
    """Show which policies a running cell uses, and where each choice was made.

    Sources: `default`; `scheduler` (an option, variable or setting that the leader's process was
    started with); `policy set`; `canary` (one that runs, or was promoted).
    """
    from parallax.cli.canary import store_of

    with store_of(redis, home, cell) as store:
        document, started = store.read(), store.started()
    if not started:
        click.echo(f"parallax: no scheduler has led cell {cell} yet", err=True)
    found = [
        PolicyInForce(kind, choice.name, values(kind, choice), source)
        for kind, (choice, source) in sorted(in_force(started, document).items())
    ]
    show_all(found, as_json=as_json, title=f"Policies of cell {cell}")


def _kind_of(name: str) -> str:
    kinds = [r.kind for r in REGISTRIES if name in set(r) and r.kind in CHANGEABLE]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise InvalidInput("--kind", None, f"{name} may be one of {', '.join(kinds)}: say which")
    known = sorted({known for r in REGISTRIES if r.kind in CHANGEABLE for known in r})
    raise UnknownPolicy("policy", name, among(name, known))
