"""Carries out the steps of a Dockerfile in clean roots, and starts what the image would start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from ops.docker.dockerfile import copied, exec_form, stages, variables
from ops.docker.root import Root

#: How the package index is reached is this machine's affair, as it is that of Docker's builder.
_HANDED_ON = ("PIP_INDEX_URL", "PIP_CERT", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "NO_PROXY")
_STEP_S = 600.0


class StepFailed(Exception):
    """A step of the Dockerfile ended badly."""


@dataclass(slots=True)
class Image:
    """A root, and what the Dockerfile says of processes in it."""

    root: Root
    environment: dict[str, str] = field(default_factory=dict)
    where: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def command(self, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """Return what starts a container: a read-only root, no home, the image's own user."""
        called = [*self.entrypoint, *(words or self.arguments)]
        given = {**self.environment, **environment}
        return self.root.command(called, given, self.where, self.user, read_only=True)


def built(
    dockerfile: Path, context: Path, place: Path, tell: Callable[[str], object] = lambda _: None
) -> Image:
    """Carry out a Dockerfile in directories below `place`; return its last stage.

    Every step is told before it begins.
    """
    made: dict[str, Image] = {}
    image = None
    for number, stage in enumerate(stages(dockerfile)):
        path = place / (stage.name or str(number))
        image = Image(Root.made(path), {"PATH": _path()})
        for word, rest in stage.steps:
            tell(f"{stage.name or number}: {word} {rest}")
            _carry_out(word, rest, image, context, made)
        made[stage.name or str(number)] = image
    if image is None:
        raise StepFailed(f"{dockerfile}: no FROM")
    return image


def _path() -> str:
    """Return the search path of the base image: its Python comes first."""
    return f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def _carry_out(
    word: str, rest: str, image: Image, context: Path, made: Mapping[str, Image]
) -> None:
    if word == "WORKDIR":
        image.where = rest
        _inside(image, rest).mkdir(parents=True, exist_ok=True)
    elif word == "COPY":
        _copy(rest, image, context, made)
    elif word == "RUN":
        _run(rest, image)
    elif word == "ENV":
        image.environment |= variables(rest)
    elif word == "USER":
        image.user = rest
    elif word == "ENTRYPOINT":
        image.entrypoint = exec_form(rest)
    else:
        image.arguments = exec_form(rest)


def _inside(image: Image, path: str) -> Path:
    """Return where a path of the image is on this machine."""
    return image.root.path / os.path.join(image.where, path).lstrip("/")


def _copy(rest: str, image: Image, context: Path, made: Mapping[str, Image]) -> None:
    said = copied(rest)
    admitted = Admitted(context)
    for source in said.sources:
        target = _inside(image, said.target)
        if said.target.endswith("/"):
            target /= Path(source).name
        target.parent.mkdir(parents=True, exist_ok=True)
        if said.stage:
            origin, left_out = _inside(made[said.stage], source), None
        else:
            origin, left_out = context / source, admitted.left_out
        if not said.stage and not admitted.has(Path(source)):
            raise StepFailed(f"COPY {rest}: .dockerignore leaves {source} out")
        if origin.is_dir():
            shutil.copytree(origin, target, symlinks=True, dirs_exist_ok=True, ignore=left_out)
        else:
            shutil.copy2(origin, target, follow_symlinks=False)


def _run(rest: str, image: Image) -> None:
    given = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    command = image.root.command(
        ["sh", "-c", rest], {**image.environment, **given, "HOME": "/root"}, image.where
    )
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_STEP_S, check=False
    )  # fmt: skip
    if done.returncode:
        raise StepFailed(
            f"RUN {rest}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


class Admitted:
    """Filter a context for the builder: the last matching line of `.dockerignore` counts."""

    def __init__(self, context: Path) -> None:
        self._context = context
        lines = (context / ".dockerignore").read_text("utf-8").splitlines()
        self._rules = [line.strip() for line in lines if line.strip() and line[0] != "#"]

    def has(self, path: Path) -> bool:
        """Whether a path relative to the context is sent: a rule for a directory holds below it."""
        sent = True
        for rule in self._rules:
            pattern = rule.removeprefix("!")
            if any(_fits(part, pattern) for part in (path, *path.parents)):
                sent = rule.startswith("!")
        return sent

    def left_out(self, folder: str, names: Sequence[str]) -> set[str]:
        """Return what `shutil.copytree` is to leave out."""
        inner = Path(folder).relative_to(self._context)
        return {name for name in names if not self.has(inner / name)}


def _fits(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.name, pattern.removeprefix("**/"))
    return str(path) != "." and fnmatch(str(path), pattern)
