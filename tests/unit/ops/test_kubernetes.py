"""ops/k8s: every overlay is rendered and held against schemas and rules; each finds its breach."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from parallax.broker.store.keys import Keys
from tests.kubernetes import SECRET, Manifest, faults, named, rendered

ROOT = Path(__file__).parents[3]
K8S = ROOT / "ops" / "k8s"
FOLDERS = sorted(path.parent for path in K8S.rglob("kustomization.yaml"))
VERSION = "1.32"

pytestmark = [
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here"),
    pytest.mark.timeout(300),
]
with_schemas = pytest.mark.skipif(
    find_spec("kubernetes_validate") is None, reason="`make manifests` installs the schemas"
)


@cache
def made(name: str) -> list[Manifest]:
    return rendered(K8S / name)


def labels(path: Path) -> str:
    return str(path.relative_to(K8S))


def schema_faults(found: list[Manifest]) -> list[str]:
    """Hold objects against the schemas of Kubernetes, and against our own of KEDA's kinds."""
    kubernetes, jsonschema = import_module("kubernetes_validate"), import_module("jsonschema")
    keda = jsonschema.Draft202012Validator(json.loads((K8S / "schemas" / "keda.json").read_text()))
    wrong = []
    for one in found:
        if one["apiVersion"].startswith("keda.sh/"):
            wrong += [f"{named(one)}: {error.message}" for error in keda.iter_errors(one)]
            continue
        try:
            kubernetes.validate(one, VERSION, strict=True)
        except kubernetes.ValidationError as error:
            wrong.append(f"{named(one)}: {error.message}")
    return wrong


@pytest.mark.parametrize("folder", FOLDERS, ids=labels)
@pytest.mark.sampled(2)
def test_it_renders_and_is_as_it_should_be(folder: Path) -> None:
    assert faults(made(labels(folder))) == []


@with_schemas
@pytest.mark.parametrize("folder", FOLDERS, ids=labels)
@pytest.mark.sampled(2)
def test_every_object_follows_its_schema(folder: Path) -> None:
    assert schema_faults(made(labels(folder))) == []


def test_what_was_asked_for_is_there() -> None:
    base = {named(one) for one in made("base")}
    assert base >= {
        "StatefulSet/redis", "Deployment/scheduler", "Deployment/worker", "Deployment/gateway",
        "Deployment/exporter", "PodDisruptionBudget/scheduler",
    }  # fmt: skip
    assert {labels(folder) for folder in FOLDERS} >= {
        f"overlays/{name}"
        for name in (
            "hpa",
            "keda",
            "autoscaler",
            "pools",
            "external",
            "engines",
            "cells",
            "dashboard",
        )
    }


def test_the_dashboard_has_its_token_from_the_secret_and_nobody_is_let_in() -> None:
    found = made("overlays/dashboard")
    (deployed,) = (one for one in found if named(one) == "Deployment/dashboard")
    (container,) = deployed["spec"]["template"]["spec"]["containers"]
    (token,) = (one for one in container["env"] if one["name"] == "PARALLAX_DASHBOARD_TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": "parallax", "key": "dashboard-token"}
    policies = [one["spec"] for one in found if one["kind"] == "NetworkPolicy"]
    told = [rule["podSelector"].get("matchLabels", {}) for rule in policies]
    assert {"app.kubernetes.io/component": "dashboard"} not in told


def test_cells_share_nothing() -> None:
    found = made("overlays/cells")
    cells = {one["data"]["cell"] for one in found if one["kind"] == "ConfigMap"}
    spaces = {one["metadata"]["name"] for one in found if one["kind"] == "Namespace"}
    assert cells == {"a", "b"}
    assert spaces == {"parallax-a", "parallax-b"}
    assert {one["metadata"].get("namespace") for one in found} == {None, *spaces}


def test_a_server_of_your_own_takes_the_place_of_ours() -> None:
    found = made("overlays/external")
    assert not [one for one in found if one["metadata"]["name"] == "redis"]


def test_pools_compute_prompts_and_answers_apart() -> None:
    arguments = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["args"]
        for one in made("overlays/pools")
        if one["kind"] == "Deployment"
    }
    assert "--role=prefill" in arguments["prefill"]
    assert "--role=decode" in arguments["worker"]
    assert "--routing=disaggregated" in arguments["scheduler"]


def test_keda_asks_for_a_stream_that_there_is() -> None:
    (scaled,) = (one for one in made("overlays/keda") if one["kind"] == "ScaledObject")
    streams = [
        t["metadata"]["stream"] for t in scaled["spec"]["triggers"] if "stream" in t["metadata"]
    ]
    assert streams == [Keys("main").arrivals("default")]


def test_the_page_makes_the_secret_that_is_asked_for() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    assert set(re.findall(r"--from-literal[ =]([\w-]+)=", page)) == SECRET


def pod(found: list[Manifest], name: str = "worker") -> Manifest:
    (one,) = (one for one in found if named(one) == f"Deployment/{name}")
    return dict(one["spec"]["template"]["spec"])


def container(found: list[Manifest], name: str = "worker") -> Manifest:
    return dict_of(pod(found, name)["containers"][0])


def dict_of(one: Any) -> Manifest:
    assert isinstance(one, dict)
    return one


def without(found: list[Manifest], name: str) -> None:
    found[:] = [one for one in found if named(one) != name]


def spec_of(found: list[Manifest], name: str) -> Manifest:
    return next(dict_of(one["spec"]) for one in found if named(one) == name)


BREACHES: dict[str, Callable[[list[Manifest]], Any]] = {
    "may run as root": lambda f: pod(f)["securityContext"].update(runAsUser=0),
    "every system call": lambda f: pod(f)["securityContext"].pop("seccompProfile"),
    "enableServiceLinks": lambda f: spec_of(f, "Deployment/worker")["template"]["spec"].pop(
        "enableServiceLinks"
    ),
    "holds a token": lambda f: spec_of(f, "Deployment/worker")["template"]["spec"].pop(
        "automountServiceAccountToken"
    ),
    "shares the machine": lambda f: pod(f)["volumes"].append({"name": "x", "hostPath": {}}),
    "its root can be": lambda f: container(f)["securityContext"].pop("readOnlyRootFilesystem"),
    "gain privileges": lambda f: container(f)["securityContext"].update(privileged=True),
    "keeps capabilities": lambda f: container(f)["securityContext"].pop("capabilities"),
    "is not pinned": lambda f: container(f).update(image="registry.example/parallax:latest"),
    "memory has no limit": lambda f: container(f)["resources"].pop("limits"),
    "not told what it needs": lambda f: container(f)["resources"].pop("requests"),
    "no volume nowhere": lambda f: container(f)["volumeMounts"].append({"name": "nowhere"}),
    "has no readinessProbe": lambda f: container(f).pop("readinessProbe"),
    "there is no port http": lambda f: container(f)["livenessProbe"]["httpGet"].update(port="http"),
    "No such option": lambda f: container(f)["args"].append("--nope"),
    "nobody reads PARALLAX_WROKER": lambda f: container(f)["env"].append(
        {"name": "PARALLAX_WROKER"}
    ),
    "in no file of a Secret": lambda f: container(f)["env"].pop(0),
    "probes do not reach": lambda f: container(f)["args"].remove("--metrics-host=0.0.0.0"),
    "serve all its ports": lambda f: container(f)["args"].remove("--metrics-port=9100"),
    "may still drain": lambda f: container(f)["args"].append("--drain=150"),
    "has no cat": lambda f: container(f)["env"].append(
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "parallax", "key": "cat"}}}
    ),
    "its own pods": lambda f: spec_of(f, "Deployment/worker")["selector"]["matchLabels"].update(
        a="b"
    ),
    "no pod serves http": lambda f: without(f, "Deployment/gateway"),
    "whom nobody has": lambda f: without(f, "Deployment/gateway"),
    "taken away at once": lambda f: without(f, "PodDisruptionBudget/worker"),
    "everybody may speak": lambda f: without(f, "NetworkPolicy/nobody"),
    "restricted standard": lambda f: next(o for o in f if o["kind"] == "Namespace")[
        "metadata"
    ].update(labels={}),
    "do not stand in files": lambda f: f.append({"kind": "Secret", "metadata": {"name": "x"}}),
}
SCALED: dict[str, Callable[[list[Manifest]], Any]] = {
    "there is no worker": lambda f: without(f, "Deployment/worker"),
    "replicas of its own": lambda f: spec_of(f, "Deployment/worker").update(replicas=2),
    "two autoscalers": lambda f: f.append(
        {
            "kind": "ScaledObject",
            "metadata": {"name": "x"},
            "spec": {"scaleTargetRef": {"name": "worker"}},
        }
    ),
    "nobody exports parallax_nope": lambda f: spec_of(f, "HorizontalPodAutoscaler/worker").update(
        metrics=["parallax_nope"]
    ),
}


@pytest.mark.parametrize("told", [*BREACHES, *SCALED])
@pytest.mark.sampled(3)
def test_the_control_every_rule_finds_its_breach(told: str) -> None:
    breach = BREACHES.get(told) or SCALED[told]
    found = copy.deepcopy(made("base" if told in BREACHES else "overlays/hpa"))
    breach(found)
    assert any(told in fault for fault in faults(found))


@with_schemas
def test_the_control_schemas_find_what_is_misspelt() -> None:
    hpa, keda = copy.deepcopy(made("overlays/hpa")), copy.deepcopy(made("overlays/keda"))
    spec_of(hpa, "HorizontalPodAutoscaler/worker")["minReplcas"] = 1
    spec_of(keda, "ScaledObject/worker")["minReplcaCount"] = 1
    spec_of(keda, "ScaledObject/worker")["triggers"][0]["metadata"].pop("threshold")
    assert len(schema_faults(hpa)) == 1
    assert len(schema_faults(keda)) == 2
