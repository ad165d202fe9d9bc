"""`make compiled`: a copy of this tree whose hot modules are machine code, in `build/compiled`.

Sources stay as they are and come along, so where the code does not fit (another Python) they are
used. The tree itself never holds compiled code: an edited file is the file that runs.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click

from ops.compile.hot import ORDINARY, hot_modules
from ops.compile.prepare import prepared

ROOT = Path(__file__).parents[2]
#: The library that holds the code; each module has a small one beside it that leads there.
GROUP = "parallax.hot"
#: Two minutes on two cores; a machine that is busy takes longer.
LIMIT_S = 1800
_LEFT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "node_modules", ".next", "__pycache__", ".*_cache", "*.so"
)


def compiled_into(stage: Path, root: Path = ROOT) -> list[Path]:
    """Compile the hot modules of a tree; return the libraries, all below `stage / "parallax"`.

    Libraries that are there already stay if nothing has changed that they are made from.
    """
    sources = {
        name: prepared((root / "parallax" / name).read_text("utf-8"), f"parallax/{name}",
                       ORDINARY.get(name, frozenset()))
        for name in hot_modules(root / "parallax")
    }  # fmt: skip
    mark, seal = stage / "made-from", _seal(sources)
    if not mark.exists() or mark.read_text("utf-8") != seal:
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(root / "parallax", stage / "parallax", ignore=_LEFT)
        for name, text in sources.items():
            (stage / "parallax" / name).write_text(text, "utf-8")
        script = Path(__file__).with_name("extensions.py")
        modules = [f"parallax/{name}" for name in sources]
        command = [sys.executable, str(script), GROUP, *modules]
        subprocess.run(command, cwd=stage, check=True, timeout=LIMIT_S)  # noqa: S603
        mark.write_text(seal, "utf-8")
    return sorted((stage / "parallax").rglob("*.so"))


def _seal(sources: dict[str, str]) -> str:
    """Return what stands for everything that the libraries are made from."""
    digest = hashlib.sha256(f"{sys.version} {version('mypy')}".encode())
    for name, text in sources.items():
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


def copied(target: Path, stage: Path, root: Path = ROOT) -> int:
    """Make `target` a copy of the tree with the libraries of `stage`; return their number."""
    libraries = compiled_into(stage, root)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root, target, symlinks=True, ignore=_LEFT)
    for library in libraries:
        shutil.copy2(library, target / library.relative_to(stage))
    return len(libraries)


@click.command()
def main() -> None:
    """Build `build/compiled`."""
    target = ROOT / "build" / "compiled"
    count = copied(target, ROOT / "build" / "prepared")
    click.echo(f"{target}: {count - 1} compiled modules")


if __name__ == "__main__":
    main()
