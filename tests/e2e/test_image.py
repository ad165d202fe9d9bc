"""The image: its steps carried out in a clean root, and the services of docker-compose.yml in it.

Each is process 1, has a user that nobody knows, no home, and a root that it cannot write to.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ops.docker.dockerfile import NotRehearsed, exec_form, stages
from ops.docker.image import Admitted, Image, StepFailed, built
from ops.docker.root import missing
from parallax.broker.link.connection import Link
from parallax.broker.server.binary import find_binary
from parallax.core.errors import ParallaxError
from tests.compose import Service, services
from tests.containers import Container, free_port, renumbered
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "ops" / "docker" / "Dockerfile"
KEY = f"plx-{'0a' * 6}-{'k' * 43}"
PASSWORD = "of-the-server"  # noqa: S105

TMP = "/tmp"  # noqa: S108

WHY_NOT = missing()
in_a_root = pytest.mark.skipif(bool(WHY_NOT), reason=f"no clean root can be made here: {WHY_NOT}")
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    place = tmp_path_factory.mktemp("image")
    for folder in (place, *place.parents[:2]):
        folder.chmod(0o755)
    return built(DOCKERFILE, ROOT, place)


@pytest.fixture(scope="module")
def composed() -> dict[str, Service]:
    secrets = {"REDIS_PASSWORD": PASSWORD, "GRAFANA_PASSWORD": "x", "PARALLAX_API_KEY": KEY}
    return services(ROOT / "docker-compose.yml", secrets)


@pytest.fixture(scope="module")
def server(composed: dict[str, Service], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the server as the service `redis` does, but for its directory and its port."""
    (script,) = composed["redis"]["command"]
    place, port = tmp_path_factory.mktemp("redis"), free_port()
    here = script.replace("dir /data", f"dir {place}").replace(
        "valkey-server", str(find_binary()[0])
    )
    assert here.count(str(place)) == 1
    here = here.replace("hz 100", f"hz 100\nport {port}\nbind 127.0.0.1")
    words = [*composed["redis"]["entrypoint"], here]
    running = subprocess.Popen(
        words, env=os.environ | composed["redis"]["environment"], stdout=subprocess.DEVNULL
    )
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    try:
        wait_until(lambda: answers(url), "the server answers")
        yield url
    finally:
        running.terminate()
        assert running.wait(timeout=30) == 0, "the server itself was told, and left in order"


def answers(url: str) -> bool:
    link = Link.to(url)
    try:
        return bool(link.call("PING"))
    except ParallaxError:
        return False
    finally:
        link.close()


class Composed:
    """Starts services of the file; their server is the test's own."""

    def __init__(self, image: Image, found: dict[str, Service], url: str, place: Path) -> None:
        self._image, self._found, self._url, self._place = image, found, url, place
        self._running: list[Container] = []

    def start(self, name: str, *more: str) -> tuple[Container, dict[str, int]]:
        service = self._found[name]
        words, ports = renumbered([*service["command"], *more])
        given = {key: value for key, value in service["environment"].items() if value}
        given["PARALLAX_REDIS"] = self._url
        log = self._place / f"{name}-{len(self._running)}.log"
        self._running.append(Container(self._image, words, given, log))
        return self._running[-1], ports

    def end(self) -> None:
        for one in self._running:
            one.kill()


@pytest.fixture
def compose(
    image: Image, composed: dict[str, Service], server: str, tmp_path: Path
) -> Iterator[Composed]:
    found = Composed(image, composed, server, tmp_path)
    yield found
    found.end()


@in_a_root
def test_the_services_answer_drain_and_leave(compose: Composed, server: str) -> None:
    scheduler, seen = compose.start("scheduler")
    key, _ = compose.start("key")
    assert key.wait() == 0, key.said
    assert KEY not in key.said
    worker, _ = compose.start("worker")
    gateway, ports = compose.start("gateway")
    gateway.waited("gateway of cell main")
    for one in (scheduler, worker, gateway):
        assert one.status("NSpid")[-1] == "1"
        assert one.status("Uid") == ["65532"] * 4
        assert set(one.status("CapEff")[0]) == {"0"}
        assert one.status("NoNewPrivs") == ["1"]

    asked = {"model": "echo", "messages": [{"role": "user", "content": "Say hello"}]}
    with httpx.Client(base_url=f"http://127.0.0.1:{ports['--port']}", timeout=60) as client:
        assert client.get("/v1/models").status_code == 401
        client.headers["Authorization"] = f"Bearer {KEY}"
        wait_until(lambda: client.get("/ready").status_code == 200, "a worker is there", 60.0)
        told = client.post("/v1/chat/completions", json={**asked, "max_tokens": 6})
        assert told.json()["choices"][0]["message"]["content"] == "Say hello Say hello Say hello"
        measured = httpx.get(f"http://127.0.0.1:{seen['--metrics-port']}/metrics").text
        assert "parallax_leader" in measured

        # What runs when the worker is told to leave is answered whole.
        long = {**asked, "max_tokens": 60, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=long) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert worker.stop() == 0, worker.said
            assert list(lines)[-2:] == ["data: [DONE]", ""]
    assert gateway.stop() == 0, gateway.said
    assert scheduler.stop() == 0, scheduler.said
    for one in (scheduler, worker, gateway):
        assert "Traceback" not in one.said
        assert PASSWORD not in one.said


@in_a_root
def test_exit_codes_are_those_of_the_page(image: Image, compose: Composed, tmp_path: Path) -> None:
    def code(words: list[str], **environment: str) -> int:
        return Container(image, words, environment, tmp_path / "log").wait()

    assert code([]) == 0
    assert "Usage: parallax" in (tmp_path / "log").read_text()
    assert code(["worker", "--nope"]) == 2
    assert code(["worker"], PARALLAX_REDIS="redis://127.0.0.1:1") == 4
    assert code(["doctor"]) == 2
    assert "this user has no home directory" in (tmp_path / "log").read_text()


@in_a_root
def test_the_control_nothing_but_tmp_can_be_written_to(image: Image, tmp_path: Path) -> None:
    probe = (
        "import os, pathlib, sys\n"
        "for place in sys.argv[1:]:\n"
        "    try: pathlib.Path(place, 'probe').write_text('x'); print(place)\n"
        "    except OSError: pass\n"
        "print(os.getuid(), os.environ.get('HOME'), os.path.exists('/work'))"
    )
    shell = Image(image.root, image.environment, image.where, image.user, ["python", "-c", probe])
    one = Container(shell, ["/", "/opt/parallax", "/parallax", "/etc", TMP], {}, tmp_path / "l")
    assert one.wait() == 0
    assert one.said.split() == [TMP, "65532", "None", "False"]


@in_a_root
def test_healthy_asks_and_says_why_not(image: Image, tmp_path: Path) -> None:
    asking = Image(image.root, image.environment, image.where, image.user, ["healthy"])
    one = Container(asking, [str(free_port())], {}, tmp_path / "log")
    assert one.wait() == 1
    assert "refused" in one.said


@in_a_root
def test_a_step_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nRUN echo why >&2; exit 3\n")
    with pytest.raises(StepFailed, match=r"exit 3: 3\nwhy"):
        built(tmp_path / "Dockerfile", ROOT, tmp_path / "place")


def test_the_builder_is_sent_what_is_copied_and_no_more() -> None:
    admitted = Admitted(ROOT)
    for path in "parallax/cli/main.py", "producers/client/client.py", "ops/docker/healthy":
        assert admitted.has(Path(path))
    for path in ".env", ".git", "tests", "ops/docker/Dockerfile", "parallax/__pycache__/x.pyc":
        assert not admitted.has(Path(path))


def test_releases_in_the_image_are_pinned() -> None:
    lines = (DOCKERFILE.parent / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["engines"]]
    assert {re.split(r"[\[>=; ]", line)[0] for line in wanted} - pinned == set()


@pytest.mark.parametrize(
    "text", ["ADD x y", "HEALTHCHECK NONE", "RUN early", "FROM x\nARG y"], ids=lambda t: t[:12]
)
def test_what_is_not_rehearsed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "Dockerfile").write_text(text + "\n")
    with pytest.raises(NotRehearsed):
        stages(tmp_path / "Dockerfile")
    with pytest.raises(NotRehearsed):
        exec_form("parallax worker")
