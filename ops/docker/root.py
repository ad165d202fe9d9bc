"""A clean root directory, and processes in it: by `unshare`, so as root on Linux, without Docker.

Of the machine it has /usr and /etc, read-only, and the Python that runs this: what a base image
brings. All else is empty: there is no checkout, no home and no other environment.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
_PLACES = ("usr", "etc", "proc", "dev", "tmp", "opt")
_PROGRAMS = ("unshare", "setpriv", "chroot", "env", "mount")


def missing() -> str:
    """Return why no root can be made here; '' if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may make namespaces and mounts"
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not here"
    tried = subprocess.run(
        [*_unshare(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return tried.stderr.strip()


def _unshare() -> list[str]:
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]


@dataclass(frozen=True, slots=True)
class Root:
    """A directory that processes see as /."""

    path: Path

    @classmethod
    def made(cls, path: Path) -> Root:
        """Make one in a new directory."""
        for name in _PLACES:
            (path / name).mkdir(parents=True)
        for name, target in _LINKS.items():
            (path / name).symlink_to(target)
        (path / sys.base_prefix.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return cls(path)

    def command(
        self, words: Sequence[str], environment: Mapping[str, str], where: str,
        ids: str = "0:0", read_only: bool = False,
    ) -> list[str]:  # fmt: skip
        """Return what to start. The process is number 1 of a namespace of its own.

        Whatever the root is, /tmp can be written to, and is empty.
        """
        uid, _, gid = ids.partition(":")
        here, python = (shlex.quote(str(path)) for path in (self.path, sys.base_prefix))
        given = shlex.join(f"{name}={value}" for name, value in environment.items())
        lines = [
            "set -e",
            f"mount --bind {here} {here}",
            f"cd {here}",
            "for name in usr etc dev; do mount --rbind /$name $name; done",
            f"mount --bind {python} ./{python}",
            f"for name in usr etc ./{python}; do mount -o remount,bind,ro $name; done",
            "mount -t proc proc proc",
            "mount -t tmpfs -o mode=1777,size=64m tmpfs tmp",
            "mount -o remount,bind,ro ." if read_only else ":",
            f"exec chroot . setpriv --reuid {uid} --regid {gid or uid} --clear-groups"
            f" --no-new-privs env -i -C {shlex.quote(where)} {given} {shlex.join(words)}",
        ]
        return [*_unshare(), "sh", "-c", "\n".join(lines)]
