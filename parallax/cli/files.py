"""Files that commands read and write."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.sim.files import written

#: In the directory of a comparison: the findings, and the cells they were found in.
SUMMARY = "summary.json"


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; devices and pipes are written to."""
    try:
        with written(path) as file:
            file.write(text)
    except OSError as error:
        raise InvalidInput("output", str(path), f"must be writable ({error.strerror})") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write the same way what is no text."""
    try:
        with written(path) as file:
            file.buffer.write(data)
    except OSError as error:
        raise InvalidInput("output", str(path), f"must be writable ({error.strerror})") from None


def read_json(path: Path) -> object:
    """Return what a JSON file says; raises InvalidInput."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput("file", str(path), f"must be readable JSON ({error})") from None


def read_document(option: str, path: Path) -> object:
    """Return what a TOML or JSON file says; an error names the option that names the file."""
    if path.suffix != ".toml":
        return read_json(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InvalidInput(option, str(path), f"must be readable TOML ({error})") from None
