"""Pods, through a small API server that speaks TLS and knows one deployment."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from parallax.core.errors import InvalidInput
from parallax.services.capacity.interface import CapacityFault
from parallax.services.capacity.kubernetes import ApiServer, KubernetesCapacity

TOKEN = "of-the-account"  # noqa: S105 - of a server that lives for one test
SCALE = "/apis/apps/v1/namespaces/llm/deployments/worker/scale"


@dataclass
class Cluster:
    """What the API server knows, and what it was asked."""

    account: Path
    url: str = ""
    replicas: int = 2
    version: int = 7
    asked: list[tuple[str, str]] = field(default_factory=list)
    annotated: dict[str, Any] = field(default_factory=dict)

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path))
        if token != "Bearer " + TOKEN:
            return 401, {"message": "Unauthorized"}
        if path.startswith("/api/v1/namespaces/llm/pods/"):
            self.annotated[path.rpartition("/")[2]] = body["metadata"]["annotations"]
            return 200, {}
        if path != SCALE:
            return 404, {"message": "not found"}
        if method == "PATCH":
            if body["metadata"]["resourceVersion"] != str(self.version):
                return 409, {"message": "the object has been modified"}
            self.replicas, self.version = body["spec"]["replicas"], self.version + 1
        return 200, {
            "metadata": {"resourceVersion": str(self.version)}, "spec": {"replicas": self.replicas}
        }  # fmt: skip

    def server(self, namespace: str = "llm") -> ApiServer:
        return ApiServer.of_the_pod(self.url, namespace, self.account)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    found = Cluster(tmp_path)

    class Answers(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("Authorization", "")
            status, answer = found.answer(self.command, self.path, token, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_PATCH = do_GET  # noqa: N815 - the base's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found.url = f"https://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def test_replicas_are_read_and_changed(cluster: Cluster) -> None:
    capacity = KubernetesCapacity("deployment/worker", cluster.server())
    assert capacity.size() == 2
    capacity.start(3)
    assert cluster.replicas == 5
    assert not cluster.annotated


def test_pods_that_are_to_go_are_the_cheapest_to_delete(cluster: Cluster) -> None:
    KubernetesCapacity("deployment/worker", cluster.server()).drain(["worker-7f-abc-00ff00"])
    assert cluster.replicas == 1
    cost = cluster.annotated["worker-7f-abc"]["controller.kubernetes.io/pod-deletion-cost"]
    assert int(cost) < 0


def test_a_change_by_somebody_else_is_not_written_over(cluster: Cluster) -> None:
    capacity = KubernetesCapacity("deployment/worker", cluster.server())
    read = capacity._replicas
    seen = read()
    capacity._replicas = lambda: seen  # type: ignore[method-assign]
    cluster.version += 1
    with pytest.raises(CapacityFault, match=r"409.*modified"):
        capacity.start(1)
    assert cluster.replicas == 2


def test_a_token_that_is_not_good_and_a_stranger_are_told_of(
    cluster: Cluster, tmp_path: Path
) -> None:
    capacity = KubernetesCapacity("deployment/worker", cluster.server())
    (cluster.account / "token").write_text("renewed")
    with pytest.raises(CapacityFault, match=r"401.*Unauthorized") as refused:
        capacity.size()
    assert "renewed" not in str(refused.value)
    trustme.CA().cert_pem.write_to_path(cluster.account / "ca.crt")
    with pytest.raises(CapacityFault, match="API server"):
        capacity.size()


def test_a_pod_is_told_where_its_api_server_is(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("llm")
    pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = ApiServer.of_the_pod(account=tmp_path, environment=pod)
    assert (found.url, found.namespace) == ("https://[fd00::1]:6443", "llm")
    with pytest.raises(InvalidInput, match="--kube-server"):
        ApiServer.of_the_pod(account=tmp_path, environment={})


@pytest.mark.parametrize("target", ["worker", "pod/worker", "deployment/", "deployment/a b"])
def test_a_target_that_cannot_be_scaled_is_refused(tmp_path: Path, target: str) -> None:
    server = ApiServer("https://127.0.0.1:1", "llm", tmp_path / "token", tmp_path / "ca.crt")
    with pytest.raises(InvalidInput, match="--target"):
        KubernetesCapacity(target, server)


def test_the_token_never_goes_over_a_line_that_others_can_read(tmp_path: Path) -> None:
    server = ApiServer("http://127.0.0.1:1", "llm", tmp_path / "token", tmp_path / "ca.crt")
    with pytest.raises(InvalidInput, match="--kube-server"):
        KubernetesCapacity("deployment/worker", server)
