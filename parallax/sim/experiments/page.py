"""An experiment as a page of Markdown, its charts beside it as SVG files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from parallax.sim.experiments.experiment import Experiment, Table, Verdict
from parallax.sim.report.svg import line_chart


def files(experiment: Experiment, verdict: Verdict, seeds: int) -> Iterator[tuple[str, str]]:
    """Yield the files of a page, name and text; the same for the same numbers."""
    names = []
    for number, chart in enumerate(verdict.charts, 1):
        names.append(f"{experiment.name}-{number}.svg")
        yield names[-1], line_chart(chart.title, chart.x_label, chart.y_label, chart.series) + "\n"
    yield f"{experiment.name}.md", page(experiment, verdict, names, seeds)


def page(experiment: Experiment, verdict: Verdict, charts: Sequence[str], seeds: int) -> str:
    """Return the page; `charts` are the names of the files that hold them."""
    titles = [chart.title for chart in verdict.charts]
    pictures = [f"![{t}]({name})" for t, name in zip(titles, charts, strict=True)]
    command = f"parallax experiment run {experiment.name}"
    count = "one seed" if seeds == 1 else f"{seeds} seeds"
    parts = [
        f"# {experiment.name.upper()}: {experiment.title}",
        "## Question",
        experiment.question.strip(),
        "## Set-up",
        experiment.setup.strip(),
        f"Means over {count}. `{command}` runs it again and checks every number below.",
        "## What came of it",
        *pictures,
        _findings(verdict),
        *(f"**{table.title}**\n\n{_table(table)}" for table in verdict.tables),
        "## What theory says",
        experiment.theory.strip(),
        "## What it means in production",
        experiment.practice.strip(),
    ]
    return "\n\n".join(parts) + "\n"


def _findings(verdict: Verdict) -> str:
    rows = [
        (one.what, number(one.value), one.bounds, "yes" if one.holds else "**no**")
        for one in verdict.findings
    ]
    return _table(Table("", ("", "measured", "expected", "holds"), rows))


def _table(table: Table) -> str:
    head = f"| {' | '.join(table.head)} |"
    rule = f"|{'---|' * len(table.head)}"
    rows = [
        f"| {' | '.join(number(c) if isinstance(c, int | float) else str(c) for c in row)} |"
        for row in table.rows
    ]
    return "\n".join([head, rule, *rows])


def number(value: float) -> str:
    """Write a number with three digits, without an exponent where people would not use one."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return re.sub(r"^-0$", "0", text)
