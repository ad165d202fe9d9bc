"""The wheel: one top-level package, its metadata, its types, and policies that others bring."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = '''
from collections.abc import Sequence
from dataclasses import dataclass

from parallax import Client, Job
from parallax.core.model import ClusterView, JobView
from parallax.policies.registry import ROUTING
from parallax.policies.testing import cluster, worker


@ROUTING.register("first")
@dataclass(slots=True)
class First:
    """Choose the first worker."""

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        return [cluster.workers[0].id for _ in jobs]


def ends(url: str) -> dict[str, str]:
    client = Client(url)
    receipt = client.submit(Job("q1", "acme", prompt_tokens=300, max_tokens=80))
    assert receipt.job_id == "q1"
    return {ended.job_id: ended.outcome.value for ended in client.wait(["q1"], timeout_s=60)}


reveal_type(Client("").cancel("q1"))
reveal_type(cluster(worker()).workers[0].free)
'''


def python(executable: str, *words: str, cwd: Path, code: int = 0) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PARALLAX", "PYTHON"))}
    done = subprocess.run(
        [executable, *words], cwd=cwd, env=environment, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    python(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
           "--wheel-dir", str(folder), str(ROOT), cwd=folder)  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the wheel, a distribution `ops`, and a policy.

    What Parallax needs is borrowed from this environment; its editable install is not.
    """
    folder = tmp_path_factory.mktemp("environment")
    python(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ops = dummy(folder, "ops", {"ops/__init__.py": "WHOSE = 'another'\n"})
    plug = dummy(
        folder, "parallax_first", {"first.py": SCRIPT.partition("def ends")[0]},
        "[parallax.policies]\nfirst = first\n",
    )  # fmt: skip
    broken = dummy(folder, "parallax_broken", {"torn.py": "import nowhere\n"},
                   "[parallax.policies]\ntorn = torn\n")  # fmt: skip
    for one in (ops, wheel, plug, broken):
        with zipfile.ZipFile(one) as archive:
            archive.extractall(site)
    return folder / "bin" / "python"


def dummy(folder: Path, name: str, files: dict[str, str], points: str = "") -> Path:
    """Write a wheel of another distribution."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    named = name.replace("_", "-")
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {named}\nVersion: 1\n")
        archive.writestr(f"{about}/entry_points.txt", points)
    return path


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_it_has_one_top_level_package_with_everything_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"parallax"}
    for wanted in (
        "py.typed", "producers/client/client.py", "consumers/worker.py", "drills/cli.py",
        "lab/cli.py", "broker/lua/submit.lua", "cli/templates/routing.py.txt",
        "sim/workloads/specs/chat.toml", "dashboard/static/index.html",
        "dashboard/static/404.html", "dashboard/static/flow/index.html",
    ):  # fmt: skip
        assert f"parallax/{wanted}" in names
    assert [n for n in names if re.match("parallax/dashboard/static/_next/.*[.]js", n)]
    assert not [n for n in names if "node_modules" in n]


def test_it_stands_beside_another_distribution_called_ops(installed: Path, tmp_path: Path) -> None:
    code = "import ops, parallax.drills.cli; print(ops.WHOSE, parallax.__file__)"
    whose, where = python(str(installed), "-c", code, cwd=tmp_path).split()
    assert whose == "another"
    assert Path(where).is_relative_to(installed.parents[1])


def test_its_page_on_an_index_has_links_that_work(wheel: Path) -> None:
    about = metadata(wheel)
    urls = dict(text.split(", ", 1) for text in about.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= set(urls)
    page = str(about.get_payload())
    assert about["Description-Content-Type"] == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links)


def test_a_users_script_is_typed_by_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    told = python(sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed),
                  "script.py", cwd=tmp_path)  # fmt: skip
    assert 'Revealed type is "parallax.core.words.Cancelled"' in told
    assert 'Revealed type is "int"' in told or 'Revealed type is "float"' in told


def test_the_control_a_wrong_script_is_told(installed: Path, tmp_path: Path) -> None:
    wrong = "from parallax.producers.client.client import Client\nClient(1).cancel(2)\n"
    (tmp_path / "script.py").write_text(wrong)
    python(sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed),
           "script.py", cwd=tmp_path, code=1)  # fmt: skip


def test_a_policy_of_another_distribution_is_known_and_a_torn_one_stops_nobody(
    installed: Path, tmp_path: Path
) -> None:
    def parallax(*words: str, code: int = 0) -> str:
        return python(str(installed), "-m", "parallax", *words, cwd=tmp_path, code=code)

    (page,) = json.loads(parallax("policy", "show", "first", "--json"))
    assert (page["kind"], page["source"]) == ("routing", "parallax-first")
    listed = {
        row["name"]: row["source"] for row in json.loads(parallax("policy", "list", "--json"))
    }
    assert listed["first"] == "parallax-first"
    assert listed["least_loaded"] == "parallax-lb"
    parallax("simulate", "chat", "--limit", "50", "--routing", "first")
    checks = json.loads(parallax("doctor", "--json"))
    assert any("torn" in one["note"] and one["finding"] == "warning" for one in checks)
