"""The options of commands that start a dashboard beside other processes, and where it is."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import click

from parallax.cli.engine_options import PORT
from parallax.core.model import check_int
from parallax.services.system import Plan, free_port

F = TypeVar("F", bound=Callable[..., Any])

#: Where a dashboard listens if nobody says otherwise.
DASHBOARD_PORT = 8090


def dashboard_options(command: F) -> F:
    """Add `--dashboard` and `--dashboard-port`."""
    command = click.option(
        "--dashboard-port", type=PORT, help="Port of the dashboard, of other cells those after it; "
        f"implies --dashboard [default: {DASHBOARD_PORT}, or a free one].",
    )(command)  # fmt: skip
    return click.option(
        "--dashboard", is_flag=True, help="Serve the web dashboard on this machine; its address is "
        "printed.",
    )(command)  # fmt: skip


def dashboard_ports(wanted: bool, port: int | None, cells: int) -> list[int | None]:
    """Return the port of each cell's dashboard; None where none is wanted."""
    if port is None and not wanted:
        return [None] * cells
    if port is None:
        port = free_port(DASHBOARD_PORT) if cells == 1 else DASHBOARD_PORT
    check_int("--dashboard-port", port, 1, 65_536 - cells)
    return [port + number for number in range(cells)]


def new_token() -> str:
    """Return the token that a dashboard's user shows to be allowed to change something."""
    return secrets.token_urlsafe(24)


def dashboard_address(plan: Plan) -> str | None:
    """Return the address of the dashboard that a plan has, with its token."""
    port = plan.dashboard_port
    return None if port is None else f"http://127.0.0.1:{port}/#token={plan.dashboard_token}"
