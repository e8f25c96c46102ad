"""serve_app/kubernetes/dashboard.yaml: Kubernetes takes it, the dashboard takes its arguments, and what they name is
there."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dashboard.__main__ import main
from tests.kuberay import FOLDER, manifests, part, pods
from tests.readme import ROOT
from verdicts.store import elastic_client

DEPLOYMENT = {"replicas", "strategy", "selector", "template"}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    found: dict[str, Any] = manifests()["Deployment", "verdict-dashboard"]["spec"]
    return found


@pytest.fixture(scope="module")
def container(spec: dict[str, Any]) -> dict[str, Any]:
    [found] = spec["template"]["spec"]["containers"]
    return dict(found)


@pytest.fixture(scope="module")
def told(container: dict[str, Any]) -> dict[str, Any]:
    """The options as the dashboard reads them."""
    return dict(main.make_context("dashboard", list(container["args"])).params)


@pytest.mark.golang
def test_kubernetes_takes_pod_and_service(spec: dict[str, Any]) -> None:
    assert spec.keys() == DEPLOYMENT
    jsonschema.validate(spec["template"], part("spec", "rayClusterConfig", "headGroupSpec", "template"))
    service = manifests()["Service", "verdict-dashboard"]["spec"]
    jsonschema.validate(service, part("spec", "serveService", "spec"))


def test_deployment_and_service_find_the_pod(spec: dict[str, Any], container: dict[str, Any]) -> None:
    service = manifests()["Service", "verdict-dashboard"]["spec"]
    labels, _ = pods()["dashboard"]
    assert spec["selector"]["matchLabels"].items() <= labels.items() and service["selector"].items() <= labels.items()
    assert service["ports"][0]["targetPort"] == container["ports"][0]["name"]
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[kind]["httpGet"] == {"path": "/healthz", "port": container["ports"][0]["name"]}


def test_it_listens_where_its_service_and_its_policy_lead(told: dict[str, Any], container: dict[str, Any]) -> None:
    [rule] = manifests()["NetworkPolicy", "verdict-dashboard"]["spec"]["ingress"]
    assert told["address"] == "0.0.0.0"
    assert told["port"] == container["ports"][0]["containerPort"] == rule["ports"][0]["port"]


def test_it_asks_the_cluster_by_the_name_of_its_service(told: dict[str, Any]) -> None:
    service = manifests()["RayService", "verdict"]["spec"]["serveService"]
    [port] = service["spec"]["ports"]
    assert told["control_url"] == f"http://{service['metadata']['name']}:{port['port']}"


def test_what_it_reads_is_in_secrets_that_are_said(told: dict[str, Any], container: dict[str, Any]) -> None:
    """Not the writer's key: the dashboard needs none."""
    store = elastic_client.settings_of(told["store_url"])
    [mount] = container["volumeMounts"]
    said = (FOLDER / "cluster.yaml").read_text().partition("apiVersion")[0]
    steps = (ROOT / "docs" / "cluster.md").read_text()
    for file in map(Path, (store.api_key_file, told["token_file"], told["password_file"])):
        assert file.parent == Path(mount["mountPath"])
        assert file.name in said.partition("verdict-dashboard")[2] and f"--from-file={file.name}=" in steps
    assert Path(store.ca).parent == Path(mount["mountPath"]) and "subPath" not in mount
    [volume] = pods()["dashboard"][1]["volumes"]
    [own, authority] = [source["secret"] for source in volume["projected"]["sources"]]
    assert own == {"name": "verdict-dashboard"} and authority["optional"]
    assert authority["items"] == [{"key": "ca.crt", "path": Path(store.ca).name}]


def test_two_of_its_pods_never_answer_beside_each_other(spec: dict[str, Any]) -> None:
    """Each would refuse the log-ins of the other."""
    assert spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"}
