"""Writing the two files of a new policy: the policy, which works as it is, and its test."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from parallax.core.errors import InvalidInput
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
    """Write policy and test below `root`, a checkout of Parallax; return where they are.

    Raises InvalidInput if the name cannot be, or is taken, and if a file is there already: then
    nothing is written.
    """
    _check(kind, name)
    folder = FOLDERS[kind]
    if not (root / "parallax" / "policies" / folder).is_dir():
        allowed = f"the root of a checkout: there is no parallax/policies/{folder} in it"
        raise InvalidInput("directory", str(root), allowed)
    files = {
        root / "parallax" / "policies" / folder / f"{name}.py": f"{kind}.py.txt",
        root / "tests" / "unit" / "policies" / f"test_{name}.py": f"{kind}_test.py.txt",
    }
    for path in files:
        if path.exists():
            raise InvalidInput("NAME", name, f"a new name: {path} is there already")
    words = name.split("_")
    values = {
        "name": name,
        "folder": folder,
        "cls": "".join(word.capitalize() for word in words),
        "title": " ".join(words).capitalize(),
    }
    for path, template in files.items():
        text = resources.files("parallax.cli").joinpath("templates", template).read_text("utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(values), encoding="utf-8")
    return list(files)


def _check(kind: str, name: str) -> None:
    if kind not in FOLDERS:
        raise InvalidInput("KIND", kind, f"known: {', '.join(FOLDERS)}")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        allowed = f"at most {_LONGEST} small letters and digits, with '_' between words"
        raise InvalidInput("NAME", name, allowed)
    (registry,) = (registry for registry in REGISTRIES if registry.kind == kind)
    if name in set(registry):
        raise InvalidInput("NAME", name, f"a new name; known: {', '.join(registry)}")
