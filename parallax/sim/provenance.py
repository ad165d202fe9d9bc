"""Where figures come from: what must be the same to get them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.sim.traces.files import opened

_CHUNK = 1 << 20


def provenance(
    spec: Mapping[str, object],
    versions: Mapping[str, str],
    inputs: Mapping[str, str],
    source: str = "",
) -> dict[str, object]:
    """Return what a run depends on. It names no time and no machine: it is the same everywhere.

    `inputs` are files and their SHA-256, `source` is one over the code that ran.
    """
    return {
        "seed": spec.get("seed"),
        "spec_sha256": spec_hash(spec),
        "inputs": dict(sorted(inputs.items())),
        "versions": dict(sorted(versions.items())),
        "source_sha256": source,
    }


def spec_hash(spec: Mapping[str, object]) -> str:
    """Return the SHA-256 of a spec, whatever the order of its keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; raises InvalidInput if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with opened(path) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InvalidInput("file", str(path), f"must be readable ({error.strerror})") from None
    return digest.hexdigest()


def tree_hash(root: Path) -> str:
    """Return one SHA-256 over the Python and TOML files below a directory, names included."""
    digest = hashlib.sha256()
    paths = (path for path in root.rglob("*") if path.suffix in {".py", ".toml"})
    for path in sorted(paths, key=lambda path: path.relative_to(root).as_posix()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()
