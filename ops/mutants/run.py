"""`python -m ops.mutants.run`: plant each bug in a copy of the source, and run the tests on it.

A mutant is caught if a test fails. The tests are those of the broker, of whole cells and of the
worker, the most likely first; the drill with real processes is not among them, for it takes
minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ops.mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("parallax", "consumers", "producers", "ops", "tests", "pyproject.toml")
TESTS = (
    "tests/contract",
    "tests/unit/broker",
    "tests/integration",
    "tests/unit/consumers",
    "tests/unit/producers",
    "tests/unit/services",
)
TIMEOUT_S = 300
LEAST = 0.95


def main() -> None:
    """Run all mutants, or those that are named; exit with 1 if too many live."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with one of these in their names")
    words = parser.parse_args().words
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="plx-mutants-") as folder:
        copy = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, symlinks=True)
            else:
                shutil.copy(source, copy / part)
        if tests_fail(copy):
            sys.exit("the tests fail without any planted bug")
        living = [mutant for mutant in chosen if not caught(mutant, copy)]
    share = 1 - len(living) / len(chosen)
    print(f"{len(chosen)} planted, {len(chosen) - len(living)} caught ({share:.0%})")
    for mutant in living:
        print(f"lives: {mutant.name}: breaks: {mutant.breaks}")
    sys.exit(0 if share >= LEAST else 1)


def caught(mutant: Mutant, copy: Path) -> bool:
    """Plant a bug, run the tests, take it out again; return whether a test failed."""
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: {mutant.file} has its text {text.count(mutant.old)} times")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        failed = tests_fail(copy)
    finally:
        path.write_text(text, encoding="utf-8")
    print(f"{'caught' if failed else 'LIVES '}  {mutant.name}", flush=True)
    return failed


def tests_fail(copy: Path) -> bool:
    """Run the tests on a copy of the source; tests that hang have noticed, too."""
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "2",
        "--dist", "loadfile", "--timeout", "60", "-m", "not slow", *TESTS,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own arguments
            command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


if __name__ == "__main__":
    main()
