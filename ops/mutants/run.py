"""`python -m ops.mutants.run`: plant each bug in a copy of the source, and run the tests on it.

A mutant is caught if a test fails that passes without it. The test that saw it last time
(`seen_by.json`) is run first; if that does not see it, the scenes of a script, and those that saw
other bugs of the same file; and only then all the fast tests of the broker, of whole cells, of the
worker and the clients, the usual ones for the mutated file before the others. The drill with real
processes is not among them, for it takes minutes.

Several copies are at work at once, each with one test process. A bug that cannot be planted counts
as not caught, and stops nothing. A run that is broken off goes on with `--record`.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue

from ops.mutants.further import FURTHER
from ops.mutants.further_services import SERVING
from ops.mutants.payloads import PAYLOADS
from ops.mutants.planted import MUTANTS, Mutant
from ops.mutants.record import Record
from ops.mutants.trial import ROOT, Clean, Copy, Verdict, tried
from parallax.services.clock import SystemClock

ALL: tuple[Mutant, ...] = (*MUTANTS, *PAYLOADS, *FURTHER, *SERVING)
LEAST = 0.95
SEEN_BY = Path(__file__).with_name("seen_by.json")


def main() -> None:
    """Run all mutants, or those that are named; exit with 1 if too many live."""
    options = _options()
    clock = SystemClock()
    started = clock.monotonic()
    chosen = [m for m in options.planted if _named(m, options.words)]
    if not chosen:
        sys.exit("no mutant has such a name")
    record = Record(options.record, ROOT)
    verdicts = [verdict for verdict in map(record.caught, chosen) if verdict]
    before = {verdict.mutant.name for verdict in verdicts}
    verdicts += _all_tried([m for m in chosen if m.name not in before], record, options.jobs)
    if options.learn:
        _learn(verdicts)
    _tell(verdicts, len(before), clock.monotonic() - started)
    share = sum(v.caught for v in verdicts) / len(verdicts)
    sys.exit(0 if share >= LEAST else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with one of these in their names")
    parser.add_argument(
        "-j", "--jobs", type=int, default=os.cpu_count() or 1, help="copies at work at once"
    )
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="a Python file whose MUTANTS are planted instead"
    )
    parser.add_argument(
        "--learn", action="store_true", help="note which test saw which mutant, for the next time"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE",
        help="add each verdict to this file at once; what it says is caught, by a test and in a "
        "file that have not changed since, is not tried again",
    )  # fmt: skip
    options = parser.parse_args()
    options.planted = ALL
    if options.list is not None:
        options.planted = runpy.run_path(str(options.list))["MUTANTS"]
    return options


def _named(mutant: Mutant, words: Sequence[str]) -> bool:
    return not words or any(word in mutant.name for word in words)


def _seen_by() -> dict[str, str]:
    """Return which test saw which mutant when it was tried last."""
    seen: dict[str, str] = json.loads(SEEN_BY.read_text(encoding="utf-8"))
    return seen


def _is_there(test: str) -> bool:
    """Whether there still is a test of this name."""
    file, _, name = test.partition("[")[0].partition("::")
    path = ROOT / file
    return path.exists() and f"def {name.rpartition('::')[2]}(" in path.read_text(encoding="utf-8")


def _learn(verdicts: Sequence[Verdict]) -> None:
    seen = _seen_by() | {v.mutant.name: v.by for v in verdicts if v.caught and v.by}
    kept = {name: seen[name] for name in sorted(seen) if _is_there(seen[name])}
    SEEN_BY.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _all_tried(chosen: Sequence[Mutant], record: Record, jobs: int) -> list[Verdict]:
    """Try every mutant, several at once; each copy is used by one of them at a time."""
    if not chosen:
        return []
    first = {name: test for name, test in _seen_by().items() if _is_there(test)}
    copies: SimpleQueue[Copy] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="plx-mutants-") as folder, ExitStack() as stack:
        clean = Clean(stack.enter_context(Copy(Path(folder) / "clean")))
        for number in range(max(1, jobs)):
            copies.put(stack.enter_context(Copy(Path(folder) / f"copy-{number}", clean.copy)))

        def one(mutant: Mutant, last: bool) -> Verdict:
            copy = copies.get()
            try:
                near = _near(mutant, first)
                verdict = tried(mutant, copy, clean, first.get(mutant.name, ""), near, last)
            finally:
                copies.put(copy)
            if verdict.caught or last:
                print(verdict, flush=True)
                record.add(verdict)
            else:
                print(f"later   {mutant.name}", flush=True)
            return verdict

        with ThreadPoolExecutor(max(1, jobs)) as pool:
            soon = list(pool.map(one, chosen, repeat(False)))
            # To run all tests takes so long that nobody waits for it behind another.
            rest = [verdict.mutant for verdict in soon if not verdict.caught]
            return [v for v in soon if v.caught] + list(pool.map(one, rest, repeat(True)))


def _near(mutant: Mutant, first: Mapping[str, str]) -> list[str]:
    """Return the tests that saw other bugs of the same file, those that saw most before others."""
    saw = Counter(first[m.name] for m in ALL if m.file == mutant.file and m.name in first)
    del saw[first.get(mutant.name, "")]
    return [test for test, _ in saw.most_common()]


def _tell(verdicts: Sequence[Verdict], before: int, seconds: float) -> None:
    there = Counter(verdict.mutant.file for verdict in verdicts)
    seen = Counter(verdict.mutant.file for verdict in verdicts if verdict.caught)
    print()
    for name, count in sorted(there.items()):
        print(f"{seen[name]:>3} of {count:<3} {name}")
    for verdict in verdicts:
        if not verdict.caught:
            print(f"{verdict}: breaks: {verdict.mutant.breaks}")
    caught = seen.total()
    print(
        f"{len(verdicts)} planted, {caught} caught ({caught / len(verdicts):.1%}), "
        f"{len(verdicts) - caught} live, in {seconds:.0f} s"
        + (f"; {before} of them were caught before" if before else "")
    )


if __name__ == "__main__":
    main()
