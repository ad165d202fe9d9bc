"""A report as one HTML file: nothing is loaded from elsewhere, and no script runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from parallax.sim.report.figures import NAMES
from parallax.sim.report.record import Record
from parallax.sim.report.statistics import Interval, jain
from parallax.sim.report.svg import Series, bar_chart, cdf_chart, line_chart
from parallax.sim.report.variants import Variant, best, by_workload, flattened, variants

_CDFS = {
    "ttft_ms": "Time to first token",
    "tpot_ms": "Time per output token",
    "e2e_ms": "Time to the last token",
    "queue_ms": "Time in the queue",
}
_LINES = {
    "arrivals_per_s": ("Arrivals", "jobs/s"),
    "completed_per_s": ("Completions", "jobs/s"),
    "ttft_ms_p95": ("Time to first token, p95 by arrival", "ms"),
    "queued": ("Jobs queued, peak", "jobs"),
    "in_flight": ("Jobs in flight, peak", "jobs"),
    "workers": ("Workers", "workers"),
    "kv_used": ("KV memory in use", "share"),
}
_STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}"
    "th,td{padding:3px 9px;border-bottom:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}"
    ".scroll{overflow-x:auto}.charts{display:flex;flex-wrap:wrap;gap:1rem}"
    ".best{font-weight:bold}.ci{color:#777}code,pre{font-size:12px}"
    "pre{white-space:pre-wrap;background:#f6f6f6;padding:8px}"
)


def page(records: Sequence[Record], command: str = "") -> str:
    """Return the report on these runs. `command` is what makes it again."""
    found = variants(records)
    count = f"{_count(len(found), 'variant')}, {_count(len(records), 'run')}"
    sections = [
        f"<h1>Parallax: simulated runs</h1><p>{count}.</p>",
        _section("Figures", _figures(found)),
        _section("Goodput", _bars(found)),
        _section("Distributions", _distributions(found)),
        _section("Time lines", _timelines(found)),
        _section("Tenants", "".join(map(_tenants, found))),
        _section("What happened", "".join(map(_notes, found))),
        _section("Provenance", _provenance(found, command)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>Parallax report</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def number(value: object) -> str:
    """Write a figure with four significant digits; whole numbers as they are."""
    if value is None:
        return "-"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def with_interval(value: Interval | None) -> str:
    """Write a mean and its interval as plain text."""
    if value is None:
        return "-"
    return number(value.mean) + ("" if value.half is None else f" ± {number(value.half)}")


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; cells are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table>'
        "</div>"
    )


def _figures(found: Sequence[Variant]) -> str:
    names = [*NAMES]
    names += sorted({n for v in found for r in v.records for n in r["figures"]} - set(NAMES))
    rows = []
    groups = by_workload(found)
    for name in names:
        top = {winner for group in groups for winner in best(name, group)}
        cells = []
        for variant in found:
            text = escape(with_interval(variant.interval(name)))
            cells.append(f'<span class="best">{text}</span>' if variant.name in top else text)
        rows.append([escape(name), *cells])
    said = (
        '<p class="ci">Means over the seeds ± half of a 95 % interval (Student). Bold are the best '
        "mean of each workload and those that its seeds do not tell apart from it. Latencies are "
        "of completed jobs, in milliseconds from the intended arrival; goodput is the share of "
        "offered jobs that completed within objectives and deadline.</p>"
    )
    return said + _table(["figure", *(escape(variant.name) for variant in found)], rows)


def _bars(found: Sequence[Variant]) -> str:
    intervals = [(variant.name, variant.interval("goodput")) for variant in found]
    bars = [(name, value) for name, value in intervals if value is not None]
    if len(bars) < 2:
        return ""
    return bar_chart("Goodput, with 95 % intervals", "share of offered jobs", bars)


def _distributions(found: Sequence[Variant]) -> str:
    charts = []
    for name, title in _CDFS.items():
        series = [Series(variant.name, variant.cdf(name)) for variant in found]
        if any(line.points for line in series):
            charts.append(cdf_chart(title, "ms", series))
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def _timelines(found: Sequence[Variant]) -> str:
    charts = []
    for name, (title, unit) in _LINES.items():
        series = [Series(v.name, v.records[0]["timelines"].get(name, [])) for v in found]
        if any(line.points for line in series):
            charts.append(line_chart(title, "seconds", unit, series))
    said = '<p class="ci">The run with the smallest seed of each variant.</p>'
    return f'{said}<div class="charts">{"".join(charts)}</div>' if charts else ""


def _tenants(variant: Variant) -> str:
    """Return one variant's tenants, of its first seed, and how evenly cost was shared."""
    rows: list[Mapping[str, object]] = variant.records[0]["tenants"]
    if not rows:
        return ""
    head = list(rows[0])
    amounts = [float(str(row.get("cost") or 0.0)) for row in rows]
    index = jain(amounts)
    return (
        f"<h3>{escape(variant.name)}</h3><p>Jain's index of the cost served: {number(index)} "
        f"(1 = equal, {number(1 / len(rows))} = one tenant has all); seed {variant.seeds[0]}.</p>"
        + _table(map(escape, head), ([escape(number(row.get(n))) for n in head] for row in rows))
    )


def _notes(variant: Variant) -> str:
    blocks = []
    for seed, record in zip(variant.seeds, variant.records, strict=True):
        if record["notes"]:
            lines = "".join(f"<li>{escape(str(note))}</li>" for note in record["notes"])
            blocks.append(f"<p>seed {escape(str(seed))}</p><ul>{lines}</ul>")
    return f"<h3>{escape(variant.name)}</h3>{''.join(blocks)}" if blocks else ""


def _provenance(found: Sequence[Variant], command: str) -> str:
    parts = []
    if command:
        parts.append(f"<p>This report: <code>{escape(command)}</code></p>")
    origins: dict[tuple[str, str], None] = {}  # in order, each once
    for variant in found:
        seeds = ", ".join(map(str, variant.seeds))
        spec = "\n".join(
            f"{path} = {value}"
            for path, value in flattened(variant.records[0]["spec"]).items()
            if path != "seed"
        )
        parts.append(
            f"<details><summary>{escape(variant.name)}; seeds {escape(seeds)}</summary>"
            f"<pre>{escape(spec)}</pre></details>"
        )
        for record in variant.records:
            origins |= dict.fromkeys(_origins(record["provenance"]))
    rows = [[escape(name), f"<code>{escape(text)}</code>"] for name, text in origins]
    return "".join(parts) + (_table(["what", "which"], rows) if rows else "")


def _origins(provenance: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what a run depends on besides its spec, as (what, which)."""
    found = []
    for key, label in (("versions", ""), ("inputs", "SHA-256 of ")):
        part = provenance.get(key)
        if isinstance(part, Mapping):
            found += [(f"{label}{name}", str(value)) for name, value in part.items()]
    if provenance.get("source_sha256"):
        found.append(("SHA-256 of the code", str(provenance["source_sha256"])))
    return found
