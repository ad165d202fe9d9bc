"""A report as one HTML file: nothing is loaded from elsewhere, and no script runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from parallax.sim.report import charts
from parallax.sim.report.figures import NAMES
from parallax.sim.report.palette import FONT, sheet
from parallax.sim.report.record import Record
from parallax.sim.report.statistics import Interval, jain
from parallax.sim.report.variants import Variant, best, by_workload, flattened, variants

_FIRST_SEED = "The run with the smallest seed of each variant."

#: The dashboard's components: its scale of type, its panels, figures and tables.
_STYLE = (
    sheet()
    + f"body{{margin:0;background:var(--bg);color:var(--text);font:400 13px/1.45 {FONT}}}"
    + "main{max-width:1240px;margin:0 auto;padding:24px 16px 64px}"
    "h1{font-size:20px;font-weight:600;letter-spacing:-.015em;margin:0}"
    "h2{font-size:13px;font-weight:600;margin:0;padding:12px 16px}"
    "h3{font-size:13px;font-weight:600;margin:16px 0 4px}"
    "header p,.note,.ci{color:var(--faint);font-size:12px}header p{margin:2px 0 16px}"
    ".panel{background:var(--panel);border:1px solid var(--line);border-radius:12px;"
    "margin:0 0 16px;overflow:hidden}.panel>.body{padding:0 16px 16px}.note{margin:0 0 12px}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:1px;"
    "background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;"
    "margin:0 0 16px}.figures div{background:var(--panel);padding:12px 16px;min-width:0}"
    ".figures dt{color:var(--faint);font-size:12px}.figures dd{margin:2px 0 0;font-size:26px;"
    "font-weight:580;letter-spacing:-.025em;line-height:1.2}"
    ".figures dd small{font-size:13px;color:var(--faint);margin-left:3px;letter-spacing:0}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:6px 12px;border-bottom:1px solid var(--line);text-align:right;"
    "white-space:nowrap}th{font-size:12px;font-weight:520;color:var(--faint)}"
    "th:first-child,td:first-child{text-align:left}tbody tr:last-child td{border-bottom:0}"
    ".scroll{overflow-x:auto;border-top:1px solid var(--line);margin:0 -16px}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));"
    "gap:16px}figure{margin:0;min-width:0}figure svg{width:100%;height:auto;display:block}"
    ".best{font-weight:650;color:var(--accent)}"
    "code,pre{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
    "pre{white-space:pre-wrap;background:var(--sunken);border:1px solid var(--line);"
    "border-radius:8px;padding:12px}summary{cursor:pointer;padding:4px 0}"
    "code{overflow-wrap:anywhere;white-space:normal}"
)
#: What stands at the top of a report on one variant.
_FIRST = {
    "goodput": ("Goodput", "%"),
    "throughput_per_s": ("Completed", "jobs/s"),
    "ttft_ms_p95": ("TTFT p95", "ms"),
    "tpot_ms_p95": ("TPOT p95", "ms"),
    "e2e_ms_p95": ("E2E p95", "ms"),
    "prefix_hit_ratio": ("Prefix hits", "%"),
    "utilisation_mean": ("Busy", "%"),
    "jain_fairness": ("Jain's index", ""),
}


def page(records: Sequence[Record], command: str = "") -> str:
    """Return the report on these runs. `command` is what makes it again."""
    found = variants(records)
    count = f"{_count(len(found), 'variant')}, {_count(len(records), 'run')}"
    sections = [
        f"<header><h1>Parallax: simulated runs</h1><p>{count}.</p></header>",
        _first_look(found),
        _section("Goodput", _charts(charts.bars(found, themed=True))),
        _section("Against load", _charts(charts.against_load(found, themed=True))),
        _section("Distributions", _charts(charts.distributions(found, themed=True))),
        _section("Time lines", _charts(charts.timelines(found, themed=True), _FIRST_SEED)),
        _section("Figures", _figures(found)),
        _section("Tenants", "".join(map(_tenants, found))),
        _section("What happened", "".join(map(_notes, found))),
        _section("Provenance", _provenance(found, command)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>Parallax report</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
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
    if not body:
        return ""
    named = f'<section class="panel" aria-label="{escape(title)}">'
    return f'{named}<h2>{escape(title)}</h2><div class="body">{body}</div></section>'


def _first_look(found: Sequence[Variant]) -> str:
    """Return the figures that matter most, large; of several variants a table says it better."""
    if len(found) != 1:
        return ""
    means, cells = found[0].means(), []
    for name, (title, unit) in _FIRST.items():
        value = means.get(name)
        if value is None:
            continue
        shown = f"{value:.1%}".removesuffix("%") if unit == "%" else number(value)
        cells.append(f"<div><dt>{escape(title)}</dt><dd>{shown}<small>{unit}</small></dd></div>")
    return f'<dl class="figures">{"".join(cells)}</dl>' if cells else ""


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
        '<p class="note">Means over the seeds ± half of a 95 % interval (Student). Bold are the '
        "best mean of each workload and those that its seeds do not tell apart from it. Latencies "
        "are of completed jobs, in milliseconds from the intended arrival; goodput is the share "
        "of offered jobs that completed within objectives and deadline.</p>"
    )
    return said + _table(["figure", *(escape(variant.name) for variant in found)], rows)


def _charts(charts: Sequence[str], said: str = "") -> str:
    if not charts:
        return ""
    note = f'<p class="note">{escape(said)}</p>' if said else ""
    shown = "".join(f"<figure>{chart}</figure>" for chart in charts)
    return f'{note}<div class="charts">{shown}</div>'


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
