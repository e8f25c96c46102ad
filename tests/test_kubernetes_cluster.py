"""serve_app/kubernetes/cluster.yaml: KubeRay's own schema takes it, Ray Serve takes what is in it, and its promises
hold."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serve_app.configuration import SERVE_YAML
from serve_app.keys import check_keys
from serve_app.settings import settings_of
from tests.kuberay import FOLDER, groups, labels_of, manifests, part, ray_cluster, schema
from tests.readme import ROOT
from verdicts.store import elastic_client


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    return manifests()["RayService", "verdict"]


@pytest.fixture(scope="module")
def serve(service: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    return found


@pytest.mark.golang
def test_kuberays_schema_takes_the_manifest(service: dict[str, Any]) -> None:
    jsonschema.validate(service, schema())
    volumes = ("rayClusterConfig", "headGroupSpec", "template", "spec", "volumes", "[]")
    claim = manifests()["PersistentVolumeClaim", "verdict-state"]["spec"]
    jsonschema.validate(claim, part("spec", *volumes, "ephemeral", "volumeClaimTemplate", "spec"))


@pytest.mark.golang
def test_kuberays_schema_would_notice_an_unknown_key(service: dict[str, Any]) -> None:
    wrong = json.loads(json.dumps(service))
    wrong["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParms"] = {}
    with pytest.raises(jsonschema.ValidationError, match="rayStartParms"):
        jsonschema.validate(wrong, schema())


def test_no_pod_has_a_label_by_which_kuberays_own_services_find_it() -> None:
    """KubeRay would take ours for its own, and its service of the head, which asks for its own, find no pod."""
    for group in groups():
        assert not {"app.kubernetes.io/name", "app.kubernetes.io/created-by"} & labels_of(group).keys()


def test_ray_serve_and_the_application_take_its_configuration(serve: dict[str, Any]) -> None:
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(serve)
    check_keys(serve)
    [application] = serve["applications"]
    assert settings_of(application["args"]).device == "auto"
    ours = yaml.safe_load(SERVE_YAML.read_text())["applications"][0]
    assert application["import_path"] == ours["import_path"]
    names = [deployment["name"] for deployment in application["deployments"]]
    assert names == [deployment["name"] for deployment in ours["deployments"]]
    assert all("max_queued_requests" in deployment for deployment in application["deployments"])


def test_it_names_the_ray_that_is_locked() -> None:
    assert ray_cluster()["rayVersion"] == version("ray")


def test_the_head_has_no_replicas_and_its_loss_is_survived(service: dict[str, Any]) -> None:
    cluster = ray_cluster()
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert service["spec"]["excludeHeadPodFromServeSvc"] and cluster["gcsFaultToleranceOptions"]["redisAddress"]
    assert cluster["authOptions"]["mode"] == "token"
    assert service["spec"]["upgradeStrategy"]["type"] == "NewCluster"


def requests_of(group: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    return found


def places(deployment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The groups of workers on which Ray may start a replica of it."""
    options = deployment["ray_actor_options"]
    for group in ray_cluster()["workerGroupSpecs"]:
        fits = "nvidia.com/gpu" in requests_of(group) or not options.get("num_gpus")
        if fits and options.get("label_selector", {}).items() <= group["labels"].items():
            yield group


@pytest.mark.parametrize("kind, most", [("min", "minReplicas"), ("max", "maxReplicas")])
def test_every_replica_fits_on_the_workers_there_are(serve: dict[str, Any], kind: str, most: str) -> None:
    """However Serve spreads them: those that need no GPU stay off the nodes that have one, whose processors they took
    from a Classifier, which then found no room."""
    needed: dict[tuple[str, str], float] = {}
    for deployment in serve["applications"][0]["deployments"]:
        [group] = places(deployment)
        count = deployment.get("num_replicas") or deployment["autoscaling_config"][f"{kind}_replicas"]
        for resource, option in (("cpu", "num_cpus"), ("nvidia.com/gpu", "num_gpus")):
            of = (group["groupName"], resource)
            needed[of] = needed.get(of, 0) + count * deployment["ray_actor_options"].get(option, 0)
    for group in ray_cluster()["workerGroupSpecs"]:
        for resource, each in requests_of(group).items():
            if resource != "memory":
                assert needed[group["groupName"], resource] <= group[most] * float(each), (group["groupName"], resource)


def test_a_worker_with_a_gpu_stands_where_others_may_not() -> None:
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    for group in groups():
        tolerated = group["template"]["spec"].get("tolerations", [])
        assert tolerated == ([gpu] if "nvidia.com/gpu" in requests_of(group) else [])


def test_workers_of_a_kind_are_spread_over_nodes() -> None:
    for group in ray_cluster()["workerGroupSpecs"]:
        [spread] = group["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == group["labels"]


def test_spool_and_models_lie_on_a_volume_that_outlives_a_pod(serve: dict[str, Any]) -> None:
    claim = manifests()["PersistentVolumeClaim", "verdict-state"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in ray_cluster()["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        volumes = {v["name"]: v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]}
        [mount] = [m for m in pod["containers"][0]["volumeMounts"] if volumes[m["name"]] == claim["metadata"]["name"]]
        for key in ("spool_dir", "registry"):
            assert serve["applications"][0]["args"][key].startswith(mount["mountPath"] + "/")


def test_what_the_stores_url_names_comes_from_a_secret(serve: dict[str, Any]) -> None:
    """Elastic's own operator, whose service it asks, signs its certificates itself: no system knows the authority."""
    url = serve["applications"][0]["args"]["store_url"]
    store = elastic_client.settings_of(url)
    said = (FOLDER / "cluster.yaml").read_text().partition("apiVersion")[0]
    for group in groups():
        pod = group["template"]["spec"]
        [volume] = [each for each in pod["volumes"] if "secret" in each]
        [path] = [Path(m["mountPath"]) for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume["name"]]
        for file in (store.api_key_file, store.ca):
            assert Path(file).parent == path and Path(file).name in said
    assert url in (ROOT / "docs" / "cluster.md").read_text()
