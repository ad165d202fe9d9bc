"""`parallax validate`: the simulator held against what others have measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import click

from parallax.cli.lab_documents import Held
from parallax.cli.output import show
from parallax.sim.validation.check import Check, Order

CASES = ("steps", "vtc", "mooncake", "llmd")


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice(CASES))
@click.option(
    "--traces", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
    help="Directory of the traces (vtc_arena_trace.csv, mooncake_conversation_trace.jsonl).",
)  # fmt: skip
@click.option(
    "--published", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
    help="Directory of the published results (vtc_real_*.jsonl, llmd_73-capacity.md).",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Seed of the simulated loads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def validate(
    cases: tuple[str, ...], traces: Path, published: Path, seed: int, as_json: bool
) -> None:
    """Predict published measurements and print the errors.

    CASES: steps (rows of steps against single ones), vtc (fairness on one A10G), mooncake (prefill
    nodes and cache-aware routing), llmd (four routers, eight pods); all by default. Exits with 3 if
    a number is further off than its bound.
    """
    from parallax.cli.main import EXIT_MISSED

    rows, document, missed = [], [], 0
    for check in _checks(cases or CASES, traces, published, seed):
        missed += not check.holds
        word: Literal["holds", "MISSES"] = "holds" if check.holds else "MISSES"
        if isinstance(check, Check):
            shown = (f"{check.predicted:.4g}", f"{check.measured:.4g}", f"{check.error:+.1%}")
            rows.append((check.case, check.what, *shown, f"{100 * check.tolerance:g}%", word))
            document.append(Held(check.case, check.what, word, check.predicted, check.measured))
        else:
            order = " > ".join(
                f"{name} {value:.0f}"
                for name, value in zip(check.names, check.predicted, strict=True)
            )
            rows.append((check.case, "order as measured", order, "", "", "", word))
            document.append(Held(check.case, "order", word, found=order))
    head = ("case", "what", "predicted", "measured", "error", "bound", "verdict")
    show(document, as_json=as_json, title="Held against measurements", head=head, rows=rows)
    sys.exit(EXIT_MISSED if missed else 0)


def _checks(
    cases: tuple[str, ...], traces: Path, published: Path, seed: int
) -> Iterator[Check | Order]:
    from parallax.sim.validation import llmd, macro, mooncake, vtc

    sources: dict[str, Callable[[], Iterator[Check | Order]]] = {
        "steps": lambda: macro.checks(traces, seed),
        "vtc": lambda: vtc.checks(traces, published, seed),
        "mooncake": lambda: mooncake.checks(traces, seed),
        "llmd": lambda: llmd.checks(published, seed),
    }
    for case in dict.fromkeys(cases):
        yield from sources[case]()
