"""A small disk for the server of a drill, which can be filled and emptied: where this is allowed.

It is a file system in memory of a size that can be changed while it is mounted; that takes root. A
drill without root leaves this fault out, and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from parallax.core.errors import StoreFault

#: Bytes of the disk while it is not full: more than any drill writes.
ROOM = 8 << 30
_MOUNT, _UNMOUNT = shutil.which("mount"), shutil.which("umount")


class SmallDisk:
    """A file system at `folder`, mounted by the constructor; raises StoreFault where it cannot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self._run(_MOUNT, "-t", "tmpfs", "-o", f"size={ROOM},mode=700", "parallax-drill")
        # The process that unmounts it waits for the end of a pipe, and so for our end of any kind.
        self._keeper = subprocess.Popen(  # noqa: S603 - a program of the system
            ["/bin/sh", "-c", 'cat >/dev/null; umount -l "$1"', "sh", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True,
        )  # fmt: skip

    @staticmethod
    def possible() -> bool:
        """Whether this process may mount one, as far as can be told without trying."""
        return sys.platform == "linux" and os.geteuid() == 0 and bool(_MOUNT and _UNMOUNT)

    def fill(self) -> None:
        """Let no further byte fit: the disk shrinks to its content."""
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        self._run(_MOUNT, "-o", f"remount,size={max(used, found.f_frsize)}")

    def empty(self) -> None:
        """Let everything fit again."""
        self._run(_MOUNT, "-o", f"remount,size={ROOM}")

    def close(self) -> None:
        """Unmount it; its content is gone."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait()

    def _run(self, program: str | None, *arguments: str) -> None:
        command = [program or "mount", *arguments, str(self.folder)]
        try:
            done = subprocess.run(  # noqa: S603 - a program of the system and our own arguments
                command, capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreFault(f"{' '.join(command)}: {error}") from None
        if done.returncode != 0:
            raise StoreFault(f"{' '.join(command)}: {done.stderr.strip()[-200:]}")
