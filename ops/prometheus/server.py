"""A real Prometheus, started and asked: for `make monitor`, for tests, for pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from parallax.core.clock import Clock

READY_S, ANSWER_S = 30.0, 10.0


class Refused(Exception):
    """Prometheus did not understand a query; the text says why."""


def missing() -> str:
    """Return why there is no Prometheus here; '' if there is one."""
    gone = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"{' and '.join(gone)} not found; `make prometheus` installs it" if gone else ""


class Prometheus:
    """A server on the loopback address with a configuration of its own. `with` starts and ends it.

    What it has scraped lies in `data`.
    """

    def __init__(self, config: Path, data: Path, port: int, clock: Clock) -> None:
        self._clock, self.url = clock, f"http://127.0.0.1:{port}"
        self._command = [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={config}", f"--storage.tsdb.path={data / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        self._log = data / "prometheus.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - found on PATH, paths of ours
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._await_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself or not."""
        return self._process is None or self._process.poll() is not None

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _await_ready(self) -> None:
        deadline = self._clock.monotonic() + READY_S
        while self._clock.monotonic() < deadline and not self.ended:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1.0):  # noqa: S310
                    return
            except OSError:
                self._clock.wait(0.1)
        raise Refused(
            f"prometheus did not start: {self._log.read_text('utf-8', 'replace')[-2000:]}"
        )

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now. Raises Refused."""
        return self._asked("query", {"query": expr})

    def over(self, expr: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        """Return the series that an expression had in a time. Raises Refused."""
        asked = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        return self._asked("query_range", asked)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the rules that are alerts, as the server holds them."""
        found = self._get("rules?type=alert")
        return [rule for group in found["groups"] for rule in group["rules"]]

    def _asked(self, path: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        found = self._get(f"{path}?{urllib.parse.urlencode(asked)}")
        return list(found["result"])

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=ANSWER_S) as answer:  # noqa: S310
                return dict(json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode("utf-8", "replace")) from error
