"""`parallax calibrate`: from a running engine to a profile that simulations use."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parallax.cli.files import write
from parallax.cli.lab_documents import Calibration, FitCurve
from parallax.cli.main import EXIT_FAILED
from parallax.cli.names import Number
from parallax.cli.output import say, show, show_one, write_json
from parallax.cli.progress import progress
from parallax.consumers.upstream.backend import METAVAR, Backend
from parallax.consumers.upstream.failure import Failure
from parallax.consumers.upstream.opening import checked, key_of
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.core.model import check_name
from parallax.core.text import printable
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders
from parallax.sim.calibration.profiles import ENDINGS, document_of, toml_text
from parallax.sim.calibration.rounds import LEAST_LONGEST, Calibrated, calibrated
from parallax.sim.report.writers import json_text

if TYPE_CHECKING:
    from parallax.consumers.upstream.calibrating import Found, Wanted

#: KV cache of a server that does not tell its own (tokens for each slot).
USUAL_KV = 8_192
#: From so many slots on they were not counted to the end.
MOST_COUNTED = 32


@click.command()
@click.argument("server", metavar=METAVAR)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the profile: FILE.toml or FILE.json.")  # fmt: skip
@click.option("--name", help="Name of the profile [default: the model's].")
@click.option("--seconds", type=Number(5.0, 3_600.0), default=90.0, show_default=True,
              help="Measure no longer than this.")  # fmt: skip
@click.option("--passes", type=click.IntRange(1, 100), default=3, show_default=True,
              help="Measure each point so often; medians count.")  # fmt: skip
@click.option("--slots", type=click.IntRange(1, 512),
              help="Requests it runs at once [default: asked of it, else counted].")  # fmt: skip
@click.option("--longest", type=click.IntRange(LEAST_LONGEST, 1_000_000), help="Tokens of the "
              "longest prompt [default: half of its context, at most 1024].")  # fmt: skip
@click.option("--output-tokens", type=click.IntRange(4, 4_096), default=32, show_default=True,
              help="Tokens of the answers whose speed is measured.")  # fmt: skip
@click.option("--token-budget", type=click.IntRange(1, 10**7), default=2_048, show_default=True,
              help="Tokens it computes in one step at most (it does not tell).")  # fmt: skip
@click.option("--kv-capacity", type=click.IntRange(64, 10**9), help="Tokens of its KV cache "
              f"[default: asked of it, else {USUAL_KV} for each slot].")  # fmt: skip
@click.option("--seed", type=int, help="Seed of the prompts [default: drawn; the server's cache "
              "knows those of a seed that it was asked before].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def calibrate(
    server: str,
    output: Path | None,
    name: str | None,
    seconds: float,
    passes: int,
    slots: int | None,
    longest: int | None,
    output_tokens: int,
    token_budget: int,
    kv_capacity: int | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Measure a running server that speaks OpenAI's API, and fit a profile to it.

    Prompts of many lengths, prompts asked again, answers side by side: every text is new, answers
    are thrown away, and the server should have nothing else to do. `parallax simulate --profile
    FILE` then imitates it. Ctrl-C ends the measuring; what is known by then is fitted and shown.
    """
    backend = checked(server)
    if output is not None and output.suffix not in ENDINGS:
        raise InvalidInput("-o", str(output), f"a file that ends with {' or '.join(ENDINGS)}")
    if name is not None:
        check_name("--name", name)
    from parallax.consumers.upstream.calibrating import Wanted

    drawn = secrets.randbelow(2**32) if seed is None else seed
    wanted = Wanted(seconds, passes, slots, longest, output_tokens, drawn)
    with Orders() as orders:
        found = _measured(backend, wanted, orders)
        fit = _fitted(found, backend, name, token_budget, kv_capacity, orders)
    document = _document(fit, found, backend, output, _notes(found, kv_capacity))
    if output is not None:
        profile = document_of(fit.profile, _rests_on(document))
        write(output, toml_text(profile) if output.suffix == ".toml" else json_text(profile))
    _show(document, as_json=as_json)
    sys.exit(orders.code)


def _measured(backend: Backend, wanted: Wanted, orders: Orders) -> Found:
    """Measure the server; exits where it cannot be asked."""
    from parallax.consumers.upstream.calibrating import Measuring

    key = key_of(backend, os.environ)
    with progress() as told:
        measuring = Measuring(backend, key, wanted, SystemClock(), orders, told)
        try:
            return asyncio.run(measuring.run())
        except Failure as failure:
            say(f"parallax: {backend.root}: {failure}", err=True)
            sys.exit(EXIT_FAILED)


def _fitted(
    found: Found, backend: Backend, name: str | None, budget: int, kv_capacity: int | None,
    orders: Orders,
) -> Calibrated:  # fmt: skip
    facts = found.facts
    kv = kv_capacity or facts.kv_capacity or USUAL_KV * found.slots
    model = backend.model or next(iter(facts.models), "") or facts.kind
    try:
        return calibrated(found.measured, name or _named(model), found.slots, kv, budget)
    except InvalidInput as error:
        orders.check()  # whoever ended it at once wants to hear nothing of it
        raise ParallaxError(f"{error} (--seconds)") from None


def _named(text: str) -> str:
    """Return a text as a name: what may not stand in one becomes a dash."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:60] or "engine"


def _document(
    fit: Calibrated, found: Found, backend: Backend, output: Path | None, notes: list[str]
) -> Calibration:
    profile, cost = fit.profile, fit.profile.cost
    return Calibration(
        file=None if output is None else str(output),
        profile=profile.name,
        server=backend.root,
        kind=found.facts.kind,
        slots=profile.max_seqs,
        kv_capacity_tokens=profile.kv_capacity,
        token_budget=profile.token_budget,
        prefix_caching=profile.prefix_caching,
        request_ms=profile.request_ms,
        base_ms=cost.base_ms,
        prefill_ms=cost.prefill_ms,
        decode_ms=cost.decode_ms,
        kv_us=cost.kv_us,
        quad_ms=cost.quad_ms,
        rounds=found.rounds,
        planned_rounds=found.planned,
        curves=[FitCurve(one.name, one.points, one.rms, one.worst) for one in fit.curves],
        notes=notes,
    )


def _notes(found: Found, kv_capacity: int | None) -> list[str]:
    """Return what whoever reads the figures should know."""
    notes = []
    if found.rounds < found.planned or not found.planned:
        notes.append("ended early: some points were measured less often, or not at all")
    if not found.slots_told:
        most = " or more" if found.slots >= MOST_COUNTED else ""
        notes.append(f"slots were counted: {found.slots}{most}")
    if not (kv_capacity or found.facts.kv_capacity):
        notes.append("the size of the KV cache is a guess: --kv-capacity")
    if not found.measured.caches:
        notes.append("it found no prompt again that it had just computed")
    return notes


def _rests_on(document: Calibration) -> dict[str, object]:
    """Return what a file says of the fit."""
    told: dict[str, object] = {
        "server": printable(document.server),
        "kind": document.kind,
        "measured": SystemClock().now(),
        "rounds": document.rounds,
        "planned_rounds": document.planned_rounds,
    }
    for one in document.curves:
        told[one.curve] = {"points": one.points, "rms": one.rms, "worst": one.worst}
    return told


def _show(document: Calibration, *, as_json: bool) -> None:
    if as_json:
        write_json(document)
        return
    show_one(document, as_json=False, title="Calibrated", without=("curves", "notes", "file"))
    rows = [
        (one.curve, one.points, f"{one.rms:.1%}", f"{one.worst:+.1%}") for one in document.curves
    ]
    click.echo("")
    head = ("curve", "points", "rms error", "worst")
    show(None, as_json=False, title="How far the profile is from them", head=head, rows=rows)
    for note in document.notes:
        say(f"note: {note}", err=True)
    if document.file is None:
        say("note: nothing is written without -o FILE.toml", err=True)
    else:
        say(f"written: {document.file}; parallax simulate chat --profile {document.file}", err=True)
