"""`python -m ops.grafana`: write dashboards, rules of Prometheus, and the page of all metrics."""

from __future__ import annotations

import sys
from pathlib import Path

from ops.grafana import json_files, metrics_page
from ops.prometheus import files as prometheus_files


def made() -> dict[Path, str]:
    """Return every file that is made from Python, and what must stand in it."""
    return {**json_files.files(), **metrics_page.files(), **prometheus_files.files()}


def main() -> None:
    """Write the outdated files; print their names."""
    for path in prometheus_files.write(made()):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
