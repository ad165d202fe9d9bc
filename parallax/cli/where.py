"""How commands are told which cells to work on, and for whom they speak."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from parallax.broker.store.confirming import wanted
from parallax.cli.options import redis_options, server_url, warn_of_password
from parallax.core.cells import CellAddress, parsed_places
from parallax.core.errors import InvalidInput
from parallax.producers.client.cells import Cells
from parallax.producers.client.client import Client
from parallax.producers.client.interface import Jobs, Producer
from parallax.producers.client.tenant_client import TenantClient
from parallax.telemetry.tracing import configured

F = TypeVar("F", bound=Callable[..., Any])

#: Whose word counts, the strongest first.
_SOURCES = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


@dataclass(frozen=True, slots=True)
class Where:
    """The cells that a command was told to work on: one or several."""

    named: tuple[CellAddress, ...]  # as they were written
    redis: str | None  # where those are that came without a URL
    home: Path | None

    def places(self) -> tuple[CellAddress, ...]:
        """Return the cells, each with its URL; raises Unreachable if there is none for one."""
        usual = "" if all(p.url for p in self.named) else server_url(self.redis, self.home)
        return tuple(replace(place, url=place.url or usual) for place in self.named)

    def connect(self, replicas: int = 0) -> Producer:
        """Return a client of these cells; what it submits is traced, where somebody wants that.

        Its receipts say whether so many replicas hold what was accepted; 0: nobody asks.
        """
        configured("client")
        first, *others = places = self.places()
        asked = wanted(replicas)
        if others:
            return Cells.to(places, replicated=asked)
        return Client(first.url, first.name, replicated=asked)


def _named(cell: str, cells: str | None) -> tuple[CellAddress, ...]:
    """Take `--cells`, unless `--cell` was said in a stronger place, as a flag is."""
    if not cells:
        return (CellAddress(cell),)
    context = click.get_current_context()
    one, many = (_strength(context, name) for name in ("cell", "cells"))
    if one == many == 0:
        raise InvalidInput("--cell", cell, "either --cell or --cells")
    return (CellAddress(cell),) if one < many else parsed_places(cells)


def _strength(context: click.Context, name: str) -> int:
    source = context.get_parameter_source(name)
    return _SOURCES.index(source) if source in _SOURCES else len(_SOURCES)


def _warned(
    context: click.Context, parameter: click.Parameter, cells: str | None
) -> str | None:  # fmt: skip
    warn_of_password(context, parameter, cells, "PARALLAX_CELLS, or `cells` in parallax.toml")
    return cells


def cells_options(command: F) -> F:
    """Add `--redis`, `--home`, `--cell` and `--cells`; the command gets one argument, `where`."""

    @functools.wraps(command)
    def told(
        redis: str | None, cell: str, cells: str | None, home: Path | None, **options: Any
    ) -> Any:
        return command(where=Where(_named(cell, cells), redis, home), **options)

    click.option(
        "--cells", envvar="PARALLAX_CELLS", metavar="NAME[=URL],...", callback=_warned,
        help="Several cells, each with a server of its own or on that of --redis; every tenant has "
        "its home in one of them. NAME:WEIGHT gives a cell more tenants.",
    )(told)  # fmt: skip
    return cast("F", redis_options(told))


def as_option(command: F) -> F:
    """Add `--as`: speak for a tenant, as a gateway does."""
    return click.option(
        "--as", "speaker", metavar="TENANT",
        help="Speak for this tenant: ids of jobs are its own, and no others are seen.",
    )(command)  # fmt: skip


def speaking_for(tenant: str | None, client: Producer) -> Jobs:
    """Return the client itself, or one tenant's view of it."""
    return TenantClient(client, tenant) if tenant is not None else client
