"""Workers as containers of a Compose service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.core.model import NAME, NAME_RULE
from parallax.services.capacity.interface import CapacityFault

#: A container may take its `stop_grace_period` to end what it has (seconds).
_PATIENCE_S = 180.0
_LOOK_S = 20.0
_MOST_SHOWN = 300


class ComposeCapacity:
    """`docker compose up --scale SERVICE=N`: Compose chooses which container goes.

    It ends a container with SIGTERM, which drains the worker; its `stop_grace_period` must be
    longer than the worker's `--drain`.
    """

    name = "compose"

    def __init__(self, service: str, file: Path | None = None, project: str = "") -> None:
        for where, text in (("--target", service), ("--project", project or "x")):
            if not NAME.fullmatch(text):
                raise InvalidInput(where, text, NAME_RULE)
        docker = shutil.which("docker")
        if docker is None:
            raise CapacityFault("there is no `docker` on the PATH; --capacity compose needs it")
        self._service = service
        self._command = [docker, "compose"]
        self._command += ["--file", str(file)] if file is not None else []
        self._command += ["--project-name", project] if project else []

    def size(self) -> int:
        """See `Capacity`."""
        running = self._run(_LOOK_S, "ps", "--quiet", "--status", "running", self._service)
        return len(running.split())

    def owns(self, worker: str) -> bool:
        """All of them are taken for containers of the service."""
        return True

    def stays(self, worker: str) -> bool:
        """Compose does not tell."""
        return True

    def start(self, count: int) -> None:
        """See `Capacity`."""
        self._scale(self.size() + count)

    def drain(self, workers: Sequence[str]) -> None:
        """See `Capacity`: as many as these."""
        self._scale(max(0, self.size() - len(workers)))

    def tend(self) -> None:
        """Nothing: Compose restarts what ends, if its file says so."""

    def close(self) -> None:
        """Nothing: containers stay."""

    def _scale(self, count: int) -> None:
        self._run(
            _PATIENCE_S, "up", "--detach", "--no-deps", "--no-recreate",
            "--scale", f"{self._service}={count}", self._service,
        )  # fmt: skip

    def _run(self, patience_s: float, *arguments: str) -> str:
        command = [*self._command, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - a list of arguments; names were checked
                command, capture_output=True, text=True, timeout=patience_s, check=False,
                stdin=subprocess.DEVNULL, errors="replace",
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CapacityFault(f"docker compose {arguments[0]}: {error}") from None
        if done.returncode:
            told = done.stderr.strip()[-_MOST_SHOWN:]
            what = f"docker compose {arguments[0]} ended with {done.returncode}"
            raise CapacityFault(f"{what}: {told}")
        return done.stdout
