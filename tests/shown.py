"""What the documents tell people to type, line by line, and how a test comes to run it.

A line is run in this process, typed into a shell, or started and told to stop; or it stands in
`NOT_RUN` with the reason. There is no fourth way: a line that nothing here knows fails a test.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    str(page.relative_to(ROOT)): page
    for page in sorted(
        [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")]
    )
}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Blocks that people type from. A command in any other is found by `unmarked`.
SHELLS = ("sh", "console", "bash")
_COMMAND = re.compile(r"(parallax|make|pip|python3?|docker|kubectl|curl|redis-cli) [a-z<*'-]")
_COMMENT = re.compile(r"(^|\s)#\s.*$")


class How(StrEnum):
    """How a line is run."""

    HERE = "in the process of the test"
    SHELL = "typed into a shell"
    SETS = "sets a variable for the lines after it"
    SERVES = "started, looked at, told to stop"
    MAKE = "by .ci/run, or because a target of it does"
    NOT = "not run"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page, its comment left out and what it continues on joined."""

    page: str
    text: str
    block: int = 0  # of its page: a shell of its own, whose variables end with it

    @property
    def named(self) -> str:
        """The page and the line, as the tables below name lines."""
        return f"{self.page}: {self.text}"


#: Beginnings of lines -> why no test and no `.ci/run` types them as they stand.
NOT_RUN = {
    r".*: pip install 'parallax-lb\[\w+\]'": "an index; test_wheel.py installs what is built",
    r"docs/extending.md: pip install -e": "changes the environment; test_wheel.py has the like",
    r"docs/extending.md: parallax policy show coolest": "needs that installation",
    r"docs/extending.md: parallax (policy show|simulate chat|up).* warmest": "test_extending_page"
    ".py runs the first two beside the page's distribution; the third is `up --routing`",
    r"docs/extending.md: parallax (trace stats|simulate) load.csv": "test_extending_page.py has it",
    r"docs/extending.md: parallax trace formats": "the same",
    r"CONTRIBUTING.md: cd build/compiled": "`make test-compiled` types it",
    r"CONTRIBUTING.md: PARALLAX_COMPILE=1 pip install": "`make test-compiled` builds that wheel",
    r".*: docker ": "no engine is here: `make manifests` reads the file, `make image` runs parts",
    r".*: WORKER_BACKEND=\S+ docker ": "the same",
    r"docs/deployment.md: curl .*v1/models": "asks what Compose started; test_image.py asks it",
    r".*: kubectl ": "no cluster is here: `make manifests` renders and checks every object",
    r".*: cd ops/dashboard && .* npm run dev": "a server for who edits pages; .ci/run builds them",
    r"docs/benchmarks.md: parallax replay": "a trace that is not ours to ship; test_commands.py "
    "replays one with the same options",
    r"README.md: parallax replay": "test_readme.py types it, with the rest of its block",
    r"README.md: printf": "the same",
    r"docs/engines.md: parallax calibrate": "measures a real engine for minutes; test_calibrate.py",
    r"docs/.*: parallax .*--profile mine.toml": "wants the file that `calibrate` writes",
    r"docs/operations.md: (redis-cli|mkdir|redis-server --dir|until redis-cli)": "test_backup.py "
    "types it, and kills the server in between",
    r".*: parallax advise": "minutes of search; tests/unit/cli/test_advise.py asks it for less",
    r".*: parallax demo --autoscale": "minutes; .ci/run has `make demo`, test_autoscaler_live.py "
    "what scales",
    r".*: parallax verify": "minutes; .ci/run has `make verify`, test_verify.py the options",
    r".*: parallax experiment run": "a quarter of an hour; the tests of tests/unit/sim have each",
}
#: Targets that `.ci/run` does not make, beside `bench-...`: those measure, some of them for hours.
NOT_MADE = {
    "check": "a part of `make coverage`, of which .ci/run makes all",
    "dashboard": "writes into the package; `make dashboard-check` does it and compares",
    "soak": "half an hour; .ci/run has `make verify`, of which it is a long one",
    "screenshots": "writes the pictures of the pages",
    "monitor": "until Ctrl-C; `make prometheus` has its test",
}
#: Commands that end when they are told to.
SERVING = (
    "up", "scheduler", "worker", "gateway", "dashboard", "exporter", "autoscaler", "lab worker",
    "lab nightly",
)  # fmt: skip
#: Lines of `parallax` that want more than one process.
_APART = (
    r".*: parallax compare .* --rq", r".*: parallax backend ", r".*: parallax up --reload",
    r".*: parallax loadgen .*--workers",
)  # fmt: skip


def lines() -> list[Line]:
    """Return every line of every block that people type from, in order."""
    return [
        Line(name, text, number)
        for name, page in PAGES.items()
        for number, (language, block) in enumerate(_FENCE.findall(page.read_text("utf-8")))
        if language in SHELLS
        for text in map(_bare, _joined(block).splitlines())
        if text
    ]


def _joined(block: str) -> str:
    return re.sub(r"\|\n\s*", "| ", re.sub(r"\\\n\s*", "", block))


def _bare(text: str) -> str:
    return _COMMENT.sub("", text).strip()


def unmarked() -> list[str]:
    """Return commands in blocks that do not say that they are for a shell."""
    return [
        f"{name}: {text}"
        for name, page in PAGES.items()
        for language, block in _FENCE.findall(page.read_text("utf-8"))
        if language in ("", "text")
        for text in block.splitlines()
        if _COMMAND.match(text)
    ]


def how(line: Line) -> How | None:
    """Return how a line is run; None for one that nobody knows."""
    head, _, _rest = line.text.partition(" ")
    if any(re.match(pattern, line.named) for pattern in NOT_RUN):
        return How.NOT
    if head == "make":
        return How.MAKE
    if head == "export":
        return How.SETS
    if any(re.match(pattern, line.named) for pattern in _APART):
        return How.SHELL
    if head == "redis-server" or (head == "parallax" and serves(line)):
        return How.SERVES
    if head == "parallax":
        return How.HERE
    known = ("parallax", "until", "curl", "printf", "eval", "cp", "redis-cli")
    return How.SHELL if head in known else None


def serves(line: Line) -> bool:
    """Whether a line starts what runs until it is told to end."""
    words = line.text.removeprefix("parallax ")
    watches = words.startswith("top") and "--once" not in words
    return watches or any(re.match(rf"{name}\b", words) for name in SERVING)


def targets(line: Line) -> list[str]:
    """Return what a line asks `make` for."""
    return [word for word in shlex.split(line.text)[1:] if "=" not in word]
