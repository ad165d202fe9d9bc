"""What the documents tell people to type is understood: commands, options, policies, targets."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from parallax.cli import configuration
from parallax.cli.main import COMMANDS, _load, parallax
from parallax.cli.names import PolicyName
from parallax.policies.registry import REGISTRIES

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
#: Policies that a page itself tells how to write.
WRITTEN = {"warmest", "coolest"}
KNOWN = {name for registry in REGISTRIES for name in registry} | WRITTEN


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def typed(block: str) -> Iterator[list[str]]:
    """Yield the words of every call of `parallax` or `make` in a block."""
    joined = block.replace("\\\n", " ")
    for line in joined.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, "|"]:
            if set(word) <= set("|&;"):
                if words and words[0] in ("parallax", "make"):
                    yield words
                words = []
            else:
                words.append(word)


CALLS = [
    (page.name, words)
    for page in PAGES
    for block in blocks(page, "sh")
    for words in typed(block)
]  # fmt: skip


def parse(command: click.Command, words: list[str], parent: click.Context) -> None:
    """Let click read the words, down to the last command of a group; run nothing."""
    if isinstance(command, click.Group):
        name, inner, rest = command.resolve_command(parent, words)
        assert inner is not None, words
        with inner.make_context(name, rest, parent=parent) as context:
            if isinstance(inner, click.Group):
                parse(inner, [*context._protected_args, *context.args], context)
            else:
                policies_are_known(inner, context)


def policies_are_known(command: click.Command, context: click.Context) -> None:
    for parameter in command.params:
        value = context.params.get(parameter.name or "")
        if isinstance(parameter.type, PolicyName) and isinstance(value, str):
            names = {part.partition(":")[0] for part in re.split(r"[,+]", value)}
            assert names <= KNOWN, f"{names - KNOWN} of {value}"


@pytest.mark.parametrize(("page", "words"), CALLS, ids=lambda v: " ".join(v)[:60])
def test_what_is_printed_is_understood(
    page: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *arguments = [word for word in words if word != "..."]
    if program == "make":
        targets = re.findall(r"^## ([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets), page
        return
    with parallax.make_context("parallax", ["version"]) as root:
        parse(parallax, arguments, root)


def test_there_is_much_to_read() -> None:
    assert len(CALLS) > 60
    assert {page for page, _ in CALLS} >= {"README.md", "operations.md", "laboratory.md"}


@pytest.mark.parametrize(
    "words", [["up", "--policy", "round_robin"], ["compare", "t", "--vary", "x", "-o", "g"],
              ["nope"], ["up", "--routing", "no_such"]], ids=" ".join,
)  # fmt: skip
def test_the_control_what_is_wrong_is_found(words: list[str]) -> None:
    with (
        pytest.raises((click.UsageError, AssertionError)),
        parallax.make_context("parallax", ["version"]) as root,
    ):
        parse(parallax, words, root)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_files_are_understood(page: Path) -> None:
    for block in blocks(page, "toml"):
        configuration.check(page, tomllib.loads(block), COMMANDS, _load)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_python_and_imports_what_there_is(page: Path) -> None:
    for block in blocks(page, "python"):
        body = ast.parse(block).body
        imports: list[ast.stmt] = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), str(page), "exec"), {})  # noqa: S102


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not link.startswith(("http:", "https:")):
            assert (page.parent / link).exists(), link
