"""Which document each command prints with `--json`: what scripts may rest on."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import click

from parallax.cli.cell_documents import CellsStatus, CellStatus, CellView, TenantRow, WorkerRow
from parallax.cli.documents import (
    AclDocument,
    BackendFacts,
    BackendRow,
    CanaryChange,
    CanaryStatus,
    Cancelled,
    CellRow,
    Dead,
    Document,
    Drained,
    Files,
    Home,
    JobLine,
    JobRecord,
    KeyMade,
    KeyRevoked,
    KeyRow,
    LiveReport,
    ModelRow,
    PolicyChange,
    PolicyInForce,
    PolicyPage,
    PolicyRow,
    Purged,
    Requeued,
    TenantWeight,
    UpLine,
    UrlDocument,
)
from parallax.cli.lab_documents import (
    Advice,
    Calibration,
    Candidate,
    DoctorFinding,
    Drills,
    ExperimentRow,
    Finding,
    Gap,
    Held,
    RecordingCheck,
    TraceFormat,
    Variant,
    Versions,
    Written,
)

#: command -> what its `--json` prints. A list is one document; of a tuple, one of several.
DOCUMENTS: dict[str, Any] = {
    "demo": LiveReport,
    "up": UpLine,
    "doctor": list[DoctorFinding],
    "url": UrlDocument,
    "version": Versions,
    "submit": JobLine,
    "status": (CellStatus, CellsStatus),
    "top": CellView,
    "get": JobRecord,
    "cancel": list[Cancelled],
    "workers": list[WorkerRow],
    "models": list[ModelRow],
    "backend list": list[BackendRow],
    "backend drain": Drained,
    "backend undrain": Drained,
    "backend probe": BackendFacts,
    "tenants list": list[TenantRow],
    "tenants set": TenantWeight,
    "policy list": list[PolicyRow],
    "policy show": list[PolicyPage],
    "policy new": Files,
    "policy set": PolicyChange,
    "policy reset": PolicyChange,
    "policy current": list[PolicyInForce],
    "canary start": CanaryChange,
    "canary status": CanaryStatus,
    "canary promote": CanaryChange,
    "canary rollback": CanaryChange,
    "dead list": list[Dead],
    "dead show": list[Dead],
    "dead requeue": list[Requeued],
    "dead purge": Purged,
    "cells": (list[CellRow], list[Home]),
    "acl": AclDocument,
    "keys create": KeyMade,
    "keys list": list[KeyRow],
    "keys revoke": list[KeyRevoked],
    "keys rotate": KeyMade,
    "loadgen": LiveReport,
    "replay": LiveReport,
    "record save": Written,
    "record check": RecordingCheck,
    "record trace": Written,
    "explain": list[Candidate],
    "simulate": dict[str, float | None],
    "compare": list[Variant],
    "calibrate": Calibration,
    "advise": Advice,
    "report": Written,
    "trace formats": list[TraceFormat],
    "trace stats": dict[str, float | None],
    "experiment list": list[ExperimentRow],
    "experiment run": list[Finding],
    "verify": Drills,
    "bench": list[Gap],
    "validate": list[Held],
}
#: Commands whose `--json` prints many documents, each on a line of its own.
LINES = ("submit", "up")
#: Commands without `--json`: their standard output is JSON lines already, or they have none.
WITHOUT = (
    "scheduler",
    "worker",
    "gateway",
    "dashboard",
    "autoscaler",
    "exporter",
    "lab digests",
    "lab nightly",
    "lab worker",
    "trace convert",
    "trace sample",
)


def kinds(command: str) -> tuple[Any, ...]:
    """Return the documents that a command may print: most have one kind."""
    found = DOCUMENTS[command]
    return found if isinstance(found, tuple) else (found,)


def page() -> str:
    """Return `docs/json.md`."""
    rows = [
        f"| `{name}` | {' or '.join(map(_worded, kinds(name)))}{_LINE if name in LINES else ''} |"
        for name in DOCUMENTS
    ]
    tables = [_table(kind) for kind in _all_kinds()]
    return "\n".join([_INTRODUCTION, "| command | document |", "|---|---|", *rows, "", *tables])


_LINE = ", one a line"
_INTRODUCTION = f"""# JSON

Every command prints JSON with `--json`: one document on standard output, and nothing else there;
{" and ".join(f"`{name}`" for name in LINES)} print one a line. `trace convert` and `trace sample`
write JSON lines as they are; `scheduler` and `worker` print nothing, `gateway` and `exporter` their
addresses (their logs are JSON lines on standard error, unless that is a terminal).

Scripts may rest on it: keys are snake_case, keep their meaning, and are all listed here; a release
may add some. A unit ends a key: `_s` seconds, `_ms` milliseconds, `_tokens`, `_jobs`, `_per_s`;
`at` is seconds since the epoch. Unknown values are `null`. Exit codes say the same as without.

This page is made by `python -m parallax.cli.contract > docs/json.md`; a test holds both, and what
commands print, together.
"""


def _worded(kind: Any) -> str:
    arguments = getattr(kind, "__args__", ())
    if not arguments:
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if kind.__origin__ is list:
        return f"a list of {_worded(arguments[0])}"
    return "an object: figure -> number or null"


def _all_kinds() -> list[type[Document]]:
    """Return every type of document that is printed, or is part of one, each once."""
    found: dict[str, type[Document]] = {}

    def add(kind: Any) -> None:
        for argument in getattr(kind, "__args__", ()):
            add(argument)
        if isinstance(kind, type) and issubclass(kind, Document) and kind.__name__ not in found:
            found[kind.__name__] = kind
            for hint in get_type_hints(kind).values():
                add(hint)

    for name in DOCUMENTS:
        for kind in kinds(name):
            add(kind)
    return list(found.values())


def _table(kind: type[Document]) -> str:
    lines = [f"## {kind.__name__}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
    lines += ["| key | type |", "|---|---|"]
    for field, name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        hint = kind.__annotations__[field].partition(" = ")[0].replace("|", "or")
        hint = hint.replace("None", "null")
        lines.append(f"| `{name}` | {hint} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    click.echo(page(), nl=False)
