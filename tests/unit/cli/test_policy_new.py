"""`parallax policy new`: what is written is clean, typed, tested, and passes the conformance."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from parallax.cli.policy_new import FOLDERS, write_policy
from parallax.policies.registry import REGISTRIES
from tests.unit.cli.invoking import Run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(run: Run, tmp_path: Path) -> Path:
    """Return an empty checkout, which is the current directory."""
    for folder in FOLDERS.values():
        (tmp_path / "parallax" / "policies" / folder).mkdir(parents=True)
    return tmp_path


def names(kind: str) -> tuple[str, str]:
    """Return a short name and the longest there may be: lines of both must have the right form."""
    return f"z{kind[:3]}", f"abcdefgh_klmnopqr_{kind[:4]}"


def test_every_kind_has_a_place() -> None:
    assert set(FOLDERS) == {registry.kind for registry in REGISTRIES}
    for folder in FOLDERS.values():
        assert (ROOT / "parallax" / "policies" / folder / "__init__.py").exists()


@pytest.mark.parametrize("kind", FOLDERS)
def test_two_files_are_written_and_named(run: Run, checkout: Path, kind: str) -> None:
    answer = run("policy", "new", kind, "my_own")
    assert answer.code == 0, answer.err
    policy, test = (Path(line) for line in answer.out.splitlines())
    assert policy == Path("parallax/policies", FOLDERS[kind], "my_own.py")
    assert test == Path("tests/unit/policies/test_my_own.py")
    for path in (policy, test):
        assert "$" not in path.read_text()
        ast.parse(path.read_text())
    assert "class MyOwn:" in policy.read_text()


@pytest.mark.parametrize("there", [0, 1], ids=["policy", "test"])
def test_a_file_that_is_there_is_not_touched_and_nothing_is_written(
    run: Run, checkout: Path, there: int
) -> None:
    files = [
        checkout / "parallax" / "policies" / "gating" / "my_own.py",
        checkout / "tests" / "unit" / "policies" / "test_my_own.py",
    ]
    files[there].parent.mkdir(parents=True, exist_ok=True)
    files[there].write_text("mine")
    answer = run("policy", "new", "gate", "my_own")
    assert (answer.code, answer.out) == (2, "")
    assert "is there already" in answer.err
    assert files[there].read_text() == "mine"
    assert not files[1 - there].exists()


@pytest.mark.parametrize(
    ("kind", "name", "named"),
    [
        ("nope", "my_own", "'nope' is not one of 'admission'"),
        ("routing", "least_loaded", "known: "),
        ("routing", "My_own", "small letters"),
        ("routing", "my-own", "small letters"),
        ("routing", "../x", "small letters"),
        ("routing", "my__own", "small letters"),
        ("routing", "class", "small letters"),
        ("routing", "9lives", "small letters"),
        ("routing", "a" * 23, "at most 22"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    run: Run, checkout: Path, kind: str, name: str, named: str
) -> None:
    answer = run("policy", "new", kind, name)
    assert (answer.code, answer.out) == (2, "")
    assert named in answer.err
    assert not list(checkout.rglob("*.py"))


def test_outside_of_a_checkout_a_distribution_is_written(run: Run) -> None:
    answer = run("policy", "new", "routing", "my_own")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "parallax-my-own/parallax_my_own.py", "parallax-my-own/tests/test_my_own.py",
        "parallax-my-own/pyproject.toml",
    ]  # fmt: skip
    assert "pip install -e parallax-my-own" in answer.err
    settings = tomllib.loads(Path("parallax-my-own/pyproject.toml").read_text())
    assert settings["project"]["entry-points"]["parallax.policies"] == {"my_own": "parallax_my_own"}
    assert run("policy", "new", "routing", "my_own").code == 2  # it is there already


@pytest.mark.dear
def test_a_policy_may_be_called_like_a_module_of_python(run: Run) -> None:
    assert run("policy", "new", "routing", "queue").code == 0
    code = (
        "import queue, parallax_queue; from parallax.policies.registry import ROUTING; "
        "print(queue.Queue.__name__, type(ROUTING.build('queue', {})).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="parallax-queue", capture_output=True, text=True,
        timeout=60, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout == "Queue Queue\n"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of distributions outside of a checkout: a policy of each kind."""
    root = tmp_path_factory.mktemp("projects")
    for kind in FOLDERS:
        write_policy(kind, f"z{kind[:3]}", root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_distribution_passes_its_own_tests(foreign: Path, kind: str) -> None:
    tool(foreign / f"parallax-z{kind[:3]}", "pytest", "-q", "-p", "no:cacheprovider", "tests")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this checkout with two new policies of each kind."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "parallax", root / "parallax", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "conformance", root / "tests" / "conformance", ignore=ignored)
    (root / "tests" / "unit" / "policies").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", root / "pyproject.toml")
    for kind in FOLDERS:
        for name in names(kind):
            write_policy(kind, name, root)
    return root


def written(root: Path) -> list[str]:
    """Return the files of the new policies."""
    stems = {name for kind in FOLDERS for name in names(kind)}
    found = [path for path in root.rglob("*.py") if path.stem.removeprefix("test_") in stems]
    assert len(found) == 4 * len(FOLDERS)
    return [str(path) for path in sorted(found)]


def tool(root: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=root, env=environment, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.dear
def test_what_is_written_is_formatted_and_free_of_lint(grown: Path) -> None:
    tool(grown, "ruff", "check", *written(grown))
    tool(grown, "ruff", "format", "--check", *written(grown))


@pytest.mark.slow
def test_what_is_written_is_typed(grown: Path) -> None:
    tool(grown, "mypy", "--config-file", "pyproject.toml", *written(grown))


@pytest.mark.slow
def test_what_is_written_passes_its_own_tests_and_the_conformance(grown: Path) -> None:
    chosen = " or ".join(name for kind in FOLDERS for name in names(kind))
    clients = "--ignore=tests/conformance/test_clients.py"  # they have no policies
    tool(grown, "pytest", "-q", "-p", "no:cacheprovider", "tests", clients, "-k", chosen)
