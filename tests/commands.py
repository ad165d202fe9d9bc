"""Command lines and variables in manifests, read by the real command line; nothing is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import click

from parallax.cli.main import COMMANDS, parallax
from parallax.cli.options import FILE_VARIABLE
from parallax.policies.registry import REGISTRIES

#: What is read from the environment without an option of that name.
_OTHERS = {FILE_VARIABLE, "PARALLAX_CONFIG", "PARALLAX_DASHBOARD_TOKEN", "PARALLAX_SERVER_BINARY"}


def parsed(words: Sequence[str], environment: Mapping[str, str] = {}) -> click.Context:
    """Let click read the words of a call, down to its last command; return that one's context.

    Options that are not among the words come from `environment`. Raises click.UsageError.
    """
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PARALLAX_")]:
        del os.environ[name]
    os.environ.update(environment)
    try:
        with parallax.make_context("parallax", ["version"]) as root:
            return _innermost(parallax, list(words), root)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _innermost(group: click.Group, words: list[str], parent: click.Context) -> click.Context:
    name, inner, rest = group.resolve_command(parent, words)
    assert inner is not None, words
    context = inner.make_context(name, rest, parent=parent)
    if isinstance(inner, click.Group):
        return _innermost(inner, [*context._protected_args, *context.args], context)
    _policies_are_known(context)
    return context


def _policies_are_known(context: click.Context) -> None:
    for registry in REGISTRIES:
        name = context.params.get(registry.kind)
        if isinstance(name, str) and name.partition(":")[0] not in registry:
            raise click.BadParameter(f"{registry.kind}: {name}", context)


def variables() -> set[str]:
    """Return every variable that some command reads."""
    with click.Context(parallax) as context:
        commands = [parallax.get_command(context, name) for name in COMMANDS]
    return _OTHERS.union(*(_of(command) for command in commands if command))


def _of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        told = parameter.envvar
        yield from [told] if isinstance(told, str) else told or []
    for child in getattr(command, "commands", {}).values():
        yield from _of(child)


def unknown(names: Sequence[str]) -> list[str]:
    """Return those of our variables that nobody reads."""
    known = variables()
    return sorted(name for name in names if name.startswith("PARALLAX_") and name not in known)
