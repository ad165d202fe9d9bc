"""The laboratory in the browser: one simulation at a time, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any

import msgspec

from parallax.core.clock import Clock
from parallax.dashboard.problems import Problem
from parallax.dashboard.writing import read_body
from parallax.policies.registry import REGISTRIES
from parallax.services.clock import SystemClock
from parallax.sim.workloads.made import names

#: Longest simulation (seconds), most reports that are kept, and most bytes of one that is told.
LONGEST_S, KEPT, MOST_BYTES = 120.0, 50, 8 << 20

#: Kinds of policies that a simulation may be told.
KINDS = ("admission", "fairness", "ordering", "gate", "routing", "predictor", "batching",
         "hedging", "stealing")  # fmt: skip

_NAME = re.compile(r"sim-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", re.ASCII)


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    workload: Annotated[str, msgspec.Meta(max_length=100)]
    policies: dict[str, str] = msgspec.field(default_factory=dict)
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    rate: Annotated[float, msgspec.Meta(gt=0, le=1_000)] | None = None
    jobs: Annotated[int, msgspec.Meta(ge=1, le=50_000)] = 2_000

    def arguments(self) -> list[str]:
        """Return what `parallax simulate` is told; raises Problem."""
        if self.workload not in names():
            raise Problem("invalid", f"workload: one of {', '.join(names())}", "workload")
        found = [
            self.workload, "--workers", str(self.workers), "--seed", str(self.seed),
            "--limit", str(self.jobs),
        ]  # fmt: skip
        for kind, name in self.policies.items():
            known = sorted({n for one in REGISTRIES if one.kind == kind for n in one})
            if kind not in KINDS:
                raise Problem("invalid", f"policies: kinds are {', '.join(KINDS)}", "policies")
            if name not in known:
                said = f"policies.{kind}: one of {', '.join(known)}"
                raise Problem("invalid", said, f"policies.{kind}")
            found += (f"--{kind}", name)
        if self.rate is not None:
            found += ("--rate-scale", str(self.rate))
        return found


class Lab:
    """Keeps reports in a directory, the newest `KEPT` of them."""

    def __init__(self, directory: Path | None = None, clock: Clock | None = None) -> None:
        own = Path(tempfile.gettempdir()) / f"parallax-lab-{os.getuid()}"
        self._directory, self._clock = directory or own, clock or SystemClock()
        self._running: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._error: str | None = None

    # -- looking; may block

    def listing(self) -> dict[str, Any]:
        """Return the reports, the newest first, and what goes on."""
        rows = [row for file in self._files() if (row := self._row(file)) is not None]
        return {
            "contract": 1, "rows": rows, "running": self._running, "last_error": self._error,
            "workloads": sorted(names()),
        }  # fmt: skip

    def report(self, name: str) -> bytes:
        """Return a report as it was written; raises Problem if there is none."""
        file = self._directory / f"{name}.json"
        if not _NAME.fullmatch(name) or not file.is_file():
            raise Problem("not_found", "there is no such report")
        if file.stat().st_size > MOST_BYTES:
            raise Problem("too_large", f"the report has more than {MOST_BYTES} bytes")
        return file.read_bytes()

    def _files(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        found = [one for one in self._directory.glob("sim-*.json") if _NAME.fullmatch(one.stem)]
        return sorted(found, reverse=True)

    def _row(self, file: Path) -> dict[str, Any] | None:
        try:
            record = msgspec.json.decode(self.report(file.stem))
            spec, size, at = record["spec"], file.stat().st_size, file.stat().st_mtime
        except (Problem, OSError, msgspec.DecodeError, LookupError, TypeError):
            return None
        workload = spec.get("workload", {})
        policies = spec.get("policies", {})
        return {
            "name": file.stem, "at": at,
            "workload": workload.get("path", "") if isinstance(workload, dict) else str(workload),
            "policies": {
                kind: one.get("name", "") if isinstance(one, dict) else str(one)
                for kind, one in policies.items()
                if one is not None
            },
            "seed": spec.get("seed", 0), "figures": record.get("figures", {}), "bytes": size,
        }  # fmt: skip

    # -- running

    async def simulate(self, body: bytes) -> str:
        """Begin a simulation; return its name. Raises Problem, `busy` while one runs."""
        asked = read_body(_Asked, body)
        arguments = asked.arguments()
        if self._running is not None:
            raise Problem("busy", "a simulation runs already; it ends within two minutes")
        now = self._clock.now()
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
        name = f"sim-{stamp}-{token_hex(2)}"
        self._running = {"id": name, "started_at": now, "arguments": msgspec.to_builtins(asked)}
        self._error = None
        self._task = asyncio.create_task(self._run(name, arguments))
        return name

    async def _run(self, name: str, arguments: list[str]) -> None:
        part = self._directory / f".{name}.part"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "parallax", "simulate", *arguments, "-o", str(part),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "PARALLAX_CONFIG": os.devnull},
            )  # fmt: skip
            async with asyncio.timeout(LONGEST_S):
                _, said = await process.communicate()
            if part.is_file() and process.returncode in (0, 3):
                part.rename(self._directory / f"{name}.json")
            else:
                self._error = said.decode("utf-8", "replace")[-2_000:].strip() or "it was stopped"
        except TimeoutError:
            self._error = f"it took more than {LONGEST_S:g} s and was stopped"
        except OSError as error:
            self._error = f"it could not be run: {error}"
        finally:
            await self._end()
            part.unlink(missing_ok=True)
            for old in self._files()[KEPT:]:
                old.unlink(missing_ok=True)
            self._running = None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def stop(self) -> bool:
        """Stop the simulation that runs; return whether there was one."""
        running = self._running is not None
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=5.0)
        return running

    async def close(self) -> None:
        """Stop what runs."""
        await self.stop()
