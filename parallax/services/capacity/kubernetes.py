"""Workers as pods: the scale subresource of a deployment or a stateful set."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from parallax.core.errors import InvalidInput
from parallax.core.model import NAME, NAME_RULE
from parallax.services.capacity.interface import CapacityFault

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KINDS = {"deployment": "deployments", "statefulset": "statefulsets"}
_TIMEOUT_S = 5.0
_MOST_BYTES = 1_000_000
_COST = "controller.kubernetes.io/pod-deletion-cost"
_NO_SUCCESS, _FORBIDDEN, _NOT_FOUND = 300, 403, 404


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is, and who we are there: a pod's service account, unless told."""

    url: str
    namespace: str
    token_file: Path
    ca_file: Path

    @classmethod
    def of_the_pod(
        cls, url: str = "", namespace: str = "", account: Path = _ACCOUNT,
        environment: Mapping[str, str] = os.environ,
    ) -> ApiServer:  # fmt: skip
        """Return what a pod is told by its environment and its service account."""
        host = environment.get("KUBERNETES_SERVICE_HOST", "")
        if not url and not host:
            allowed = "https://HOST:PORT: this is no pod of a cluster, which is told"
            raise InvalidInput("--kube-server", url, allowed)
        if ":" in host:
            host = f"[{host}]"
        url = url or f"https://{host}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"
        named = account / "namespace"
        if not namespace:
            namespace = named.read_text().strip() if named.is_file() else "default"
        return cls(url, namespace, account / "token", account / "ca.crt")


class KubernetesCapacity:
    """Sets the number of replicas; pods end by SIGTERM, which drains the worker.

    Before a deployment shrinks, the pods that are to go are given the least deletion cost, which
    its controller follows; a stateful set always lets the last ones go. The service account needs
    `get` and `patch` on the scale subresource and, for the choice, `patch` on pods; nothing else.
    A worker's name must be that of its pod: `--name $(POD_NAME)`.
    """

    name = "kubernetes"

    def __init__(self, target: str, server: ApiServer) -> None:
        kind, slash, name = target.lower().partition("/")
        if not slash or kind not in _KINDS:
            raise InvalidInput("--target", target, "deployment/NAME or statefulset/NAME")
        for where, text in (("--target", name), ("--namespace", server.namespace)):
            if not NAME.fullmatch(text):
                raise InvalidInput(where, text, NAME_RULE)
        parts = urlsplit(server.url)
        if parts.scheme != "https" or not parts.hostname:
            raise InvalidInput("--kube-server", server.url, "https://HOST:PORT")
        self._kind, self._server = kind, server
        self._host, self._port = parts.hostname, parts.port or 443
        place = f"namespaces/{server.namespace}"
        self._scale = f"/apis/apps/v1/{place}/{_KINDS[kind]}/{name}/scale"
        self._pods = f"/api/v1/{place}/pods/"

    def size(self) -> int:
        """See `Capacity`."""
        return self._replicas()[0]

    def owns(self, worker: str) -> bool:
        """All of them are taken for pods of the target."""
        return True

    def stays(self, worker: str) -> bool:
        """Only the controller knows."""
        return True

    def start(self, count: int) -> None:
        """See `Capacity`."""
        self._resize(count)

    def drain(self, workers: Sequence[str]) -> None:
        """See `Capacity`."""
        if self._kind == "deployment":
            for worker in workers:
                self._cheapen(worker.rpartition("-")[0])
        self._resize(-len(workers))

    def tend(self) -> None:
        """Nothing: the controller does."""

    def close(self) -> None:
        """Nothing: pods stay."""

    def _replicas(self) -> tuple[int, str]:
        """Return the number of replicas that is wanted, and the version of that wish."""
        found = self._ask("GET", self._scale)
        try:
            spec, meta = found.get("spec") or {}, found.get("metadata") or {}
            return max(0, int(spec.get("replicas", 0))), str(meta.get("resourceVersion", ""))
        except (AttributeError, TypeError, ValueError):
            raise CapacityFault("the API server's answer is no Scale") from None

    def _resize(self, by: int) -> None:
        """Change the number; if somebody else did meanwhile, it fails, and the next look sees."""
        now, version = self._replicas()
        wish: dict[str, Any] = {"spec": {"replicas": max(0, now + by)}}
        if version:
            wish["metadata"] = {"resourceVersion": version}
        self._ask("PATCH", self._scale, wish)

    def _cheapen(self, pod: str) -> None:
        if NAME.fullmatch(pod):
            wish = {"metadata": {"annotations": {_COST: "-1000"}}}
            self._ask("PATCH", f"{self._pods}{pod}", wish, passed=(_NOT_FOUND, _FORBIDDEN))

    def _ask(
        self, method: str, path: str, wish: Mapping[str, Any] | None = None,
        passed: Sequence[int] = (),
    ) -> dict[str, Any]:  # fmt: skip
        try:
            token = self._server.token_file.read_text().strip()  # it is renewed now and then
            context = ssl.create_default_context(cafile=str(self._server.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise CapacityFault(f"the service account cannot be read: {error}") from None
        link = http.client.HTTPSConnection(
            self._host, self._port, timeout=_TIMEOUT_S, context=context
        )
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if wish is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            link.request(method, path, None if wish is None else json.dumps(wish), headers)
            reply = link.getresponse()
            status, body = reply.status, reply.read(_MOST_BYTES)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise CapacityFault(f"the API server: {error}") from None
        finally:
            link.close()
        if status in passed:
            return {}
        if status >= _NO_SUCCESS:
            raise CapacityFault(f"{status} of the API server to {method} {path}: {_told(body)}")
        return _object(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CapacityFault("the API server's answer is no JSON object")
    return found


def _told(body: bytes) -> str:
    try:
        message = json.loads(body).get("message", "")
    except (ValueError, AttributeError):
        message = ""
    return str(message)[:200]
