"""Reads rendered manifests, and says what of them is against the rules of the house."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from parallax.telemetry.metrics import METRICS
from tests.commands import parsed, unknown

Manifest = dict[str, Any]

#: The keys of the Secret that docs/deployment.md lets people make.
SECRET = {"redis-url", "redis-password", "api-key", "dashboard-token"}
#: Variables that are handed to `--from-env`.
_CARRIED = {"PARALLAX_API_KEY"}
_DEFAULT_GRACE_S, _DEFAULT_DRAIN_S = 30.0, 0.0


def rendered(folder: Path) -> list[Manifest]:
    """Return what Kustomize makes of a folder."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)],  # noqa: S607
        capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster
    return [one for one in yaml.load_all(done.stdout, loader) if one]


def named(manifest: Manifest) -> str:
    """Return KIND/NAME."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def faults(found: Sequence[Manifest]) -> list[str]:
    """Return what is wrong, one sentence each."""
    wrong = [f"{named(one)}: {told}" for one in found for told in _alone(one)]
    return [*wrong, *(told for rule in TOGETHER for told in rule(found))]


def _alone(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "Secret":
        yield "secrets do not stand in files"
    template = manifest.get("spec", {}).get("template")
    if template is None:
        return
    spec = template["spec"]
    for rule in OF_PODS:
        yield from rule(spec)
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for of_one in OF_CONTAINERS:
            yield from (f"{container['name']}: {told}" for told in of_one(spec, container))


def _pod(spec: Manifest) -> Iterator[str]:
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "it may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "it may make every system call"
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks puts addresses into its environment"
    if spec.get("automountServiceAccountToken") is not False and not spec[
        "serviceAccountName"
    ].endswith("autoscaler"):
        yield "it holds a token of the API server"
    if any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")) or any(
        "hostPath" in volume for volume in spec.get("volumes", [])
    ):
        yield "it shares the machine"


def _confined(_: Manifest, container: Manifest) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("readOnlyRootFilesystem") is not True:
        yield "its root can be written to"
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "it may gain privileges"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "it keeps capabilities"
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if not re.search(r"\d", tag) or tag == "latest":
        yield f"the image {container['image']} is not pinned to a version"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}):
        yield "its memory has no limit"
    if set(resources.get("requests", {})) != {"cpu", "memory"}:
        yield "the machine is not told what it needs"


def _mounts(spec: Manifest, container: Manifest) -> Iterator[str]:
    volumes = {volume["name"] for volume in spec.get("volumes", [])} | {"data"}
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"there is no volume {mount['name']}"
    for variable in container.get("env", []):
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        if secret and (secret["name"] != "parallax" or secret["key"] not in SECRET):
            yield f"the Secret has no {secret['key']}"


def _probes(spec: Manifest, container: Manifest) -> Iterator[str]:
    if container in spec.get("initContainers", []):
        return
    ports = {port["name"] for port in container.get("ports", [])}
    for kind in "startupProbe", "readinessProbe", "livenessProbe":
        probe = container.get(kind)
        if probe is None:
            yield f"it has no {kind}"
        elif "httpGet" in probe and probe["httpGet"]["port"] not in ports:
            yield f"{kind}: there is no port {probe['httpGet']['port']}"


def _command(spec: Manifest, container: Manifest) -> Iterator[str]:
    if "/parallax:" not in container["image"]:
        return
    given = {one["name"]: one.get("value", "x") for one in container.get("env", [])}
    yield from (f"nobody reads {name}" for name in unknown(sorted(set(given) - _CARRIED)))
    if not given.get("PARALLAX_REDIS_FILE", "").startswith("/run/secrets/"):
        yield "its URL is in no file of a Secret"
    words = [re.sub(r"\$\((\w+)\)", "x", word) for word in container["args"]]
    here = {name: value for name, value in given.items() if name != "PARALLAX_REDIS_FILE"}
    try:
        context = parsed(words, here)
    except click.UsageError as error:
        yield f"{' '.join(words)}: {error.format_message()}"
        return
    asked = context.params
    if asked.get("metrics_port") is not None and asked["metrics_host"] != "0.0.0.0":  # noqa: S104
        yield "its probes do not reach it"
    ports = {port["containerPort"] for port in container.get("ports", [])}
    if ports - {asked.get("metrics_port"), asked.get("port")}:
        yield "it does not serve all its ports"
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    patience = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_S)
    if patience <= asked.get("drain_s", _DEFAULT_DRAIN_S) + pause:
        yield f"killed after {patience:g} s, while it may still drain"


OF_PODS = (_pod,)
OF_CONTAINERS: tuple[Callable[[Manifest, Manifest], Iterator[str]], ...] = (
    _confined, _mounts, _probes, _command,
)  # fmt: skip


def _kinds(found: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    return [one for one in found if one["kind"] in kinds]


def _pods(found: Sequence[Manifest]) -> list[Manifest]:
    return _kinds(found, "Deployment", "StatefulSet")


def _labels(workload: Manifest) -> Mapping[str, str]:
    labels: Mapping[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def _chosen(selector: Mapping[str, str], found: Sequence[Manifest]) -> list[Manifest]:
    return [one for one in _pods(found) if selector.items() <= _labels(one).items()]


def _selectors(found: Sequence[Manifest]) -> Iterator[str]:
    for one in _pods(found):
        if not one["spec"]["selector"]["matchLabels"].items() <= _labels(one).items():
            yield f"{named(one)}: it does not choose its own pods"
    for service in _kinds(found, "Service"):
        chosen = _chosen(service["spec"]["selector"], found)
        served = {
            port["name"]
            for one in chosen
            for container in one["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        }
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in served:
                yield f"{named(service)}: no pod serves {port['targetPort']}"


def _budgets(found: Sequence[Manifest]) -> Iterator[str]:
    budgets = [
        one["spec"]["selector"]["matchLabels"] for one in _kinds(found, "PodDisruptionBudget")
    ]
    for selector in budgets:
        if not _chosen(selector, found):
            yield f"a budget of {selector}, whom nobody has"
    for one in _pods(found):
        many = one["spec"].get("replicas", 2) > 1 or one["kind"] == "StatefulSet"
        if many and not any(selector.items() <= _labels(one).items() for selector in budgets):
            yield f"{named(one)}: all of it may be taken away at once"


def _policies(found: Sequence[Manifest]) -> Iterator[str]:
    nobody = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    closed = {
        one["metadata"]["namespace"]
        for one in _kinds(found, "NetworkPolicy")
        if one["spec"] == nobody
    }
    for one in _pods(found):
        if one["metadata"]["namespace"] not in closed:
            yield f"{named(one)}: everybody may speak to it"
    for space in _kinds(found, "Namespace"):
        if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{named(space)}: its pods are not held to the restricted standard"


def _scaled(found: Sequence[Manifest]) -> Iterator[str]:
    known = {metric.name for metric in METRICS}
    targets = [
        (one, one["spec"]["scaleTargetRef"]["name"])
        for one in _kinds(found, "HorizontalPodAutoscaler", "ScaledObject")
    ]
    for one, target in targets:
        workloads = [pod for pod in _pods(found) if pod["metadata"]["name"] == target]
        if not workloads:
            yield f"{named(one)}: there is no {target}"
        if any("replicas" in pod["spec"] for pod in workloads):
            yield f"{target} has replicas of its own: every `apply` would undo what was scaled"
        if [name for _, name in targets].count(target) > 1:
            yield f"{target} has two autoscalers"
        for name in re.findall(r"parallax_\w+", str(one["spec"])):
            if name not in known:
                yield f"{named(one)}: nobody exports {name}"


TOGETHER: tuple[Callable[[Sequence[Manifest]], Iterator[str]], ...] = (
    _selectors, _budgets, _policies, _scaled,
)  # fmt: skip
