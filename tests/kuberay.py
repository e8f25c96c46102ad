"""The manifests of serve_app/kubernetes, and what KubeRay's operator says of them."""

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from serve_app.configuration import SERVE_YAML
from tests.requires import need, need_go

FOLDER = SERVE_YAML.with_name("kubernetes")
OPERATOR = "github.com/ray-project/kuberay/ray-operator@v1.6.0"  # the module that carries the schema
CRD = "config/crd/bases/ray.io_rayservices.yaml"
DEPLOYMENT = "config/manager/manager.yaml"


@functools.cache
def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Every document, by kind and name."""
    every = [each for file in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
    found = {(each["kind"], each["metadata"]["name"]): each for each in every}
    assert len(found) == len(every)
    return found


def ray_cluster() -> dict[str, Any]:
    found: dict[str, Any] = manifests()["RayService", "verdict"]["spec"]["rayClusterConfig"]
    return found


def groups() -> list[dict[str, Any]]:
    """The head's group and those of workers."""
    return [ray_cluster()["headGroupSpec"], *ray_cluster()["workerGroupSpecs"]]


def labels_of(group: dict[str, Any]) -> dict[str, str]:
    """The labels of a group's pods: KubeRay adds the group's, which are its nodes' in Ray too."""
    return {**group["template"]["metadata"]["labels"], **group["labels"]}


def pods() -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
    """The labels and the spec of each kind of pod, by the value of `verdict/part`, or `dashboard`."""
    template = manifests()["Deployment", "verdict-dashboard"]["spec"]["template"]
    of_ray = {labels_of(group)["verdict/part"]: (labels_of(group), group["template"]["spec"]) for group in groups()}
    return of_ray | {"dashboard": (template["metadata"]["labels"], template["spec"])}


@functools.cache
def operator() -> Path:
    """KubeRay's operator, as it comes."""
    go = need_go()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(go), "mod", "download", "-json", OPERATOR],
            cwd=folder,
            env=os.environ | {"GOFLAGS": "-mod=mod"},
            capture_output=True,
            text=True,
        )
    need(done.returncode == 0, f"{OPERATOR} through the Go module proxy: {done.stdout[-300:]}{done.stderr[-300:]}")
    return Path(json.loads(done.stdout)["Dir"])


@functools.cache
def schema() -> dict[str, Any]:
    """What KubeRay says a RayService of version v1 is, without its metadata; what Kubernetes says of pods, services and
    claims is in it."""
    crd = yaml.safe_load((operator() / CRD).read_text())
    assert all("scale" not in version["subresources"] for version in crd["spec"]["versions"])
    found = strict(next(v for v in crd["spec"]["versions"] if v["name"] == "v1")["schema"]["openAPIV3Schema"])
    found["properties"]["metadata"] = {"type": "object"}
    return dict(found)


def part(*path: str) -> dict[str, Any]:
    """The schema of a field, given by its way through `schema()`; `[]` leads into a list."""
    found = schema()
    for key in path:
        found = found["items"] if key == "[]" else found["properties"][key]
    return found


def strict(node: Any) -> Any:
    """The schema with unknown fields refused, where a Kubernetes server would drop them in silence."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", bool(made.get("x-kubernetes-preserve-unknown-fields")))
    return made
