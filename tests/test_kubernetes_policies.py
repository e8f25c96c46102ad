"""serve_app/kubernetes/policies.yaml: its selectors find the pods that they are for, and its ports and numbers are
theirs."""

from typing import Any

import jsonschema
import pytest
import yaml

from tests.kuberay import DEPLOYMENT, manifests, operator, part, pods, ray_cluster

RAY = {"head", "cpu", "gpu"}
FIELDS = {
    "NetworkPolicy": {"podSelector", "policyTypes", "ingress"},
    "PodDisruptionBudget": {"minAvailable", "unhealthyPodEvictionPolicy", "selector"},
}


def spec(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = manifests()[kind, name]["spec"]
    return found


def chosen(selector: dict[str, Any]) -> set[str]:
    """The kinds of pod that a selector finds."""
    assert selector.keys() == {"matchLabels"}
    return {kind for kind, (labels, _) in pods().items() if selector["matchLabels"].items() <= labels.items()}


def peers(name: str) -> list[tuple[list[dict[str, Any]], list[int]]]:
    """Of each rule of a policy who may come, and to which ports; no port: to all."""
    rules = spec("NetworkPolicy", name)["ingress"]
    assert all(rule.keys() <= {"from", "ports"} for rule in rules)
    return [(rule["from"], [port["port"] for port in rule.get("ports", [])]) for rule in rules]


@pytest.mark.parametrize("kind, name", sorted(key for key in manifests() if key[0] in FIELDS))
def test_a_field_is_one_of_its_kind(kind: str, name: str) -> None:
    assert spec(kind, name).keys() == FIELDS[kind]


def test_every_pod_has_one_policy() -> None:
    assert chosen(spec("NetworkPolicy", "verdict")["podSelector"]) == RAY
    assert chosen(spec("NetworkPolicy", "verdict-dashboard")["podSelector"]) == {"dashboard"}


def test_rays_own_ports_are_for_its_pods_and_the_operator() -> None:
    [(among, every)] = [rule for rule in peers("verdict") if not rule[1]]
    [own, other] = among
    assert every == [] and own.keys() == {"podSelector"} and chosen(own["podSelector"]) == RAY
    assert other["namespaceSelector"] == {}


@pytest.mark.golang
def test_kuberays_operator_is_let_in() -> None:
    has = yaml.safe_load((operator() / DEPLOYMENT).read_text())["spec"]["template"]["metadata"]["labels"]
    [wanted] = [
        peer["podSelector"]["matchLabels"]
        for among, _ in peers("verdict")
        for peer in among
        if "namespaceSelector" in peer and "podSelector" in peer
    ]
    assert wanted.items() <= has.items()


def test_questions_come_to_the_port_that_is_served_and_the_dashboards_too() -> None:
    service = spec("RayService", "verdict")
    [port] = service["serveService"]["spec"]["ports"]
    serve = yaml.safe_load(service["serveConfigV2"])["http_options"]
    [among] = [among for among, ports in peers("verdict") if ports == [port["port"]]]
    assert port["port"] == serve["port"]
    assert [chosen(peer["podSelector"]) for peer in among if "podSelector" in peer] == [{"dashboard"}]


def test_prometheus_comes_to_the_port_of_rays_metrics() -> None:
    groups = [ray_cluster()["headGroupSpec"], *ray_cluster()["workerGroupSpecs"]]
    [port] = {group["rayStartParams"]["metrics-export-port"] for group in groups}
    for _, pod in (pods()[kind] for kind in RAY):
        assert {"name": "METRICS_PORT", "value": port} in pod["containers"][0]["env"]
    assert [int(port)] in [ports for _, ports in peers("verdict")]


def test_whoever_else_comes_is_of_a_namespace_with_a_label_of_ours() -> None:
    found = [
        peer["namespaceSelector"]
        for name in ("verdict", "verdict-dashboard")
        for among, _ in peers(name)
        for peer in among
        if "podSelector" not in peer
    ]
    assert found == [{"matchLabels": {f"verdict/{who}": "true"}} for who in ("resolvers", "prometheus", "people")]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_drain_leaves_one_worker_of_a_kind_less_than_the_fewest(kind: str) -> None:
    """By a number: a RayCluster has no `scale` (`schema` holds it), and of such Kubernetes cannot count a share."""
    budget = spec("PodDisruptionBudget", f"verdict-{kind}")
    [group] = [group for group in ray_cluster()["workerGroupSpecs"] if group["groupName"] == kind]
    assert chosen(budget["selector"]) == {kind}
    assert budget["minAvailable"] == group["minReplicas"] - 1 > 0


def test_a_drain_of_the_heads_node_waits_for_nothing() -> None:
    budgets = [each["spec"]["selector"] for (kind, _), each in manifests().items() if kind == "PodDisruptionBudget"]
    assert all(chosen(selector).isdisjoint({"head", "dashboard"}) for selector in budgets)


def containers() -> list[dict[str, Any]]:
    """Of all pods; the autoscaler's, which KubeRay adds to the head's, as far as the manifest says it."""
    return [ray_cluster()["autoscalerOptions"], *(each for _, pod in pods().values() for each in pod["containers"])]


def test_a_namespace_that_enforces_pod_securitys_restricted_takes_every_pod() -> None:
    for _, pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all({"persistentVolumeClaim", "secret", "projected"} & volume.keys() for volume in pod["volumes"])
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip


@pytest.mark.golang
def test_kuberays_operator_still_gives_the_autoscaler_none_of_its_own() -> None:
    """The reason why the manifest does."""
    jsonschema.validate(ray_cluster()["autoscalerOptions"], part("spec", "rayClusterConfig", "autoscalerOptions"))
    built = (operator() / "controllers" / "ray" / "common" / "pod.go").read_text()
    body = built.partition("func BuildAutoscalerContainer")[2].partition("\nfunc ")[0]
    assert body and "SecurityContext" not in body
