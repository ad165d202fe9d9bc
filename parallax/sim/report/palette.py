"""The colours of all pictures and reports: those of the dashboard, said once more for Python.

Colours of data are Okabe and Ito's, which eyes of every kind can tell apart. A test holds these
tables against `ops/dashboard/styles/tokens.css`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "bg": "#f6f7f9", "panel": "#ffffff", "sunken": "#eef0f4", "line": "#e2e5eb",
    "line-strong": "#cbd1da", "text": "#12161d", "soft": "#48525f", "faint": "#5f6977",
    "accent": "#0067a3", "accent-soft": "#e3f0f8", "ok": "#007a59", "bad": "#b54700",
    "grid": "#eceef2", "c1": "#0072b2", "c2": "#d98c00", "c3": "#009e73", "c4": "#cc79a7",
    "c5": "#3fa3dc", "c6": "#d55e00", "c7": "#8a7f00", "c8": "#6b7480",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "bg": "#0b0e12", "panel": "#12161c", "sunken": "#0d1116", "line": "#212831",
    "line-strong": "#343d49", "text": "#e8ebf0", "soft": "#b1bac6", "faint": "#8d98a6",
    "accent": "#62bdf0", "accent-soft": "#10293a", "ok": "#3ccfa0", "bad": "#ff8a4c",
    "grid": "#1b212a", "c1": "#4aa8e0", "c2": "#eba526", "c3": "#1fbf8f", "c4": "#d98fb8",
    "c5": "#8accf2", "c6": "#f0763a", "c7": "#e6d94a", "c8": "#8d98a6",
}  # fmt: skip

#: The order in which series get their colours, and the letters of all text.
SERIES = tuple(f"var(--c{number})" for number in range(1, 9))
FONT = (
    "Inter, ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', "
    "'DejaVu Sans', Arial, sans-serif"
)

_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")


def resolved(picture: str) -> str:
    """Return a picture with light colours in the place of variables: it stands alone then."""
    return _VARIABLE.sub(lambda found: LIGHT[found[1]], picture)


def sheet() -> str:
    """Return the variables as CSS: light, and dark where the reader's machine is."""
    return f":root{{color-scheme:light dark;{_said(LIGHT)}}}" + (
        f"@media(prefers-color-scheme:dark){{:root{{{_said(DARK)}}}}}"
        # Paper is light.
        f"@media print{{:root{{{_said(LIGHT)}}}}}"
    )


def _said(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
