"""Writing the files of a new policy: the policy, which works as it is, and its test."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from parallax import __version__
from parallax.core.errors import InvalidInput
from parallax.core.suggest import among
from parallax.policies.registry import REGISTRIES

#: Kind -> the folder below `parallax/policies` where such policies live.
FOLDERS = {
    "admission": "admission",
    "fairness": "fairness",
    "ordering": "ordering",
    "gate": "gating",
    "routing": "routing",
    "predictor": "prediction",
    "batching": "batching",
    "hedging": "hedging",
    "stealing": "stealing",
    "rollout": "rollout",
    "scaling": "scaling",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_LONGEST = 22  # so that no line of a template becomes too long


def write_policy(kind: str, name: str, root: Path) -> list[Path]:
    """Write policy and test below `root`; return where they are.

    In a checkout of Parallax they go into its folders. Elsewhere they become a distribution of
    their own, in a new directory. Raises InvalidInput if the name cannot be, or is taken, and if a
    file is there already: then nothing is written.
    """
    _check(kind, name)
    words = name.split("_")
    values = {
        "name": name,
        "module": f"parallax.policies.{FOLDERS[kind]}.{name}",
        "cls": "".join(word.capitalize() for word in words),
        "title": " ".join(words).capitalize(),
        "version": __version__,
    }
    files = _in_checkout(kind, name, root)
    if files is None:
        values["module"] = _module(name)
        files = _in_project(kind, name, root)
    for path in files:
        if path.exists():
            raise InvalidInput("NAME", name, f"a new name: {path} is there already")
    for path, template in files.items():
        text = resources.files("parallax.cli").joinpath("templates", template).read_text("utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(values), encoding="utf-8")
    return list(files)


def _in_checkout(kind: str, name: str, root: Path) -> dict[Path, str] | None:
    """Return the files and their templates; None if `root` is no checkout."""
    folder = root / "parallax" / "policies" / FOLDERS[kind]
    if not folder.is_dir():
        return None
    return {
        folder / f"{name}.py": f"{kind}.py.txt",
        root / "tests" / "unit" / "policies" / f"test_{name}.py": f"{kind}_test.py.txt",
    }


def _module(name: str) -> str:
    """Return the module of a distribution: no policy shall hide one such as `queue`, or miss it."""
    return f"parallax_{name}"


def _in_project(kind: str, name: str, root: Path) -> dict[Path, str]:
    project = root / f"parallax-{name.replace('_', '-')}"
    return {
        project / f"{_module(name)}.py": f"{kind}.py.txt",
        project / "tests" / f"test_{name}.py": f"{kind}_test.py.txt",
        project / "pyproject.toml": "pyproject.toml.txt",
    }


def project_of(files: list[Path]) -> Path | None:
    """Return the directory of a distribution that was written; None for files of a checkout."""
    return next((path.parent for path in files if path.name == "pyproject.toml"), None)


def _check(kind: str, name: str) -> None:
    if kind not in FOLDERS:
        raise InvalidInput("KIND", kind, among(kind, FOLDERS))
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        allowed = f"at most {_LONGEST} small letters and digits, with '_' between words"
        raise InvalidInput("NAME", name, allowed)
    (registry,) = (registry for registry in REGISTRIES if registry.kind == kind)
    if name in set(registry):
        raise InvalidInput("NAME", name, f"a new name; known: {', '.join(registry)}")
