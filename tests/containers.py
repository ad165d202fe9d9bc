"""Containers without Docker: processes of an image that was built by the steps of its file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.docker.image import Image
from tests.waiting import wait_until


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Container:
    """A process of an image: number 1 of its namespace. What it writes goes into a file."""

    def __init__(
        self, image: Image, words: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._log = log
        command = image.command(words, environment)
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self._log.read_text("utf-8", "replace")

    def pid(self) -> int:
        """Return the process's number on this machine, once there is one."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        wait_until(lambda: self.ended or children.read_text().split(), "a process has begun")
        assert not self.ended, self.said
        return int(children.read_text().split()[0])

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def status(self, name: str) -> list[str]:
        """Return a line of what the kernel says of it."""
        lines = Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))

    def waited(self, text: str) -> None:
        """Wait until it has written a text."""
        wait_until(lambda: self.ended or text in self.said, f"{text!r} in {self._log}", 60.0)
        assert text in self.said, self.said

    def stop(self) -> int:
        """Send SIGTERM to it, as an engine does; return its exit code."""
        os.kill(self.pid(), signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Return its exit code."""
        return self._process.wait(timeout=90)

    def kill(self) -> None:
        """End it, however it is."""
        self._process.kill()
        self._process.wait(timeout=30)


def renumbered(words: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Give free ports to a call: the processes of a test share a network, containers do not."""
    changed, ports = list(words), {}
    for at, word in enumerate(words):
        if word.endswith("port"):
            ports[word] = free_port()
            changed[at + 1] = str(ports[word])
    return changed, ports
