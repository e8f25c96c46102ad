"""serve_app/kuberay.yaml: KubeRay's own schema takes it, Ray Serve takes what is in it, and its promises hold."""

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serve_app.configuration import SERVE_YAML
from serve_app.keys import check_keys
from serve_app.settings import settings_of
from tests.readme import ROOT
from tests.requires import need, need_go
from verdicts.store import elastic_client

MANIFEST = SERVE_YAML.with_name("kuberay.yaml")
OPERATOR = "github.com/ray-project/kuberay/ray-operator@v1.6.0"  # the module that carries the schema
CRD = "config/crd/bases/ray.io_rayservices.yaml"
DEPLOYMENT = "config/manager/manager.yaml"


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture(scope="module")
def serve(documents: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(documents["RayService"]["spec"]["serveConfigV2"])
    return found


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KubeRay's operator, as it comes."""
    go = need_go()
    done = subprocess.run(
        [str(go), "mod", "download", "-json", OPERATOR],
        cwd=tmp_path_factory.mktemp("kuberay"),
        env=os.environ | {"GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
    )
    need(done.returncode == 0, f"{OPERATOR} through the Go module proxy: {done.stdout[-300:]}{done.stderr[-300:]}")
    return Path(json.loads(done.stdout)["Dir"])


@pytest.fixture(scope="module")
def schema(operator: Path) -> dict[str, Any]:
    """What KubeRay says a RayService of version v1 is."""
    crd = yaml.safe_load((operator / CRD).read_text())
    found = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")
    return strict(found["schema"]["openAPIV3Schema"])


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


@pytest.mark.golang
def test_kuberays_schema_takes_the_manifest(documents: dict[str, Any], schema: dict[str, Any]) -> None:
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(documents["RayService"], schema)


@pytest.mark.golang
def test_kuberays_schema_would_notice_an_unknown_key(documents: dict[str, Any], schema: dict[str, Any]) -> None:
    wrong = json.loads(json.dumps(documents["RayService"]))
    wrong["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParms"] = {}
    with pytest.raises(jsonschema.ValidationError, match="rayStartParms"):
        jsonschema.validate(wrong, schema)


@pytest.mark.golang
def test_kuberays_operator_is_let_in(documents: dict[str, Any], operator: Path) -> None:
    has = yaml.safe_load((operator / DEPLOYMENT).read_text())["spec"]["template"]["metadata"]["labels"]
    peers = documents["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    [wanted] = [peer["podSelector"]["matchLabels"] for peer in peers if "namespaceSelector" in peer]
    assert wanted.items() <= has.items()


def pods(documents: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = documents["RayService"]["spec"]["rayClusterConfig"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_no_pod_has_a_label_by_which_kuberays_own_services_find_it(documents: dict[str, Any]) -> None:
    """KubeRay would take ours for its own, and its service of the head, which asks for its own, find no pod."""
    for pod in pods(documents):
        labels = pod["metadata"]["labels"]
        assert not {"app.kubernetes.io/name", "app.kubernetes.io/created-by"} & labels.keys()
        assert documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


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


def test_it_names_the_ray_that_is_locked(documents: dict[str, Any]) -> None:
    assert documents["RayService"]["spec"]["rayClusterConfig"]["rayVersion"] == version("ray")


def test_the_head_has_no_replicas_and_its_loss_is_survived(documents: dict[str, Any]) -> None:
    spec = documents["RayService"]["spec"]
    assert spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["excludeHeadPodFromServeSvc"] and spec["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisAddress"]
    assert spec["rayClusterConfig"]["authOptions"]["mode"] == "token"
    assert spec["upgradeStrategy"]["type"] == "NewCluster"


def test_every_replica_fits_on_the_workers_there_are(documents: dict[str, Any], serve: dict[str, Any]) -> None:
    have = {"cpu": 0.0, "nvidia.com/gpu": 0.0}
    for group in documents["RayService"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        for resource in have:
            have[resource] += group["minReplicas"] * float(requests.get(resource, 0))
    needed = {"cpu": 0.0, "nvidia.com/gpu": 0.0}
    for deployment in serve["applications"][0]["deployments"]:
        count = deployment.get("num_replicas") or deployment["autoscaling_config"]["min_replicas"]
        needed["cpu"] += count * deployment["ray_actor_options"].get("num_cpus", 0)
        needed["nvidia.com/gpu"] += count * deployment["ray_actor_options"].get("num_gpus", 0)
    assert all(needed[resource] <= have[resource] for resource in have), (needed, have)


def test_spool_and_models_lie_on_a_volume_that_outlives_a_pod(documents: dict[str, Any], serve: dict[str, Any]) -> None:
    claim = documents["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in documents["RayService"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        volumes = {v["name"]: v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]}
        [mount] = [m for m in pod["containers"][0]["volumeMounts"] if volumes[m["name"]] == claim["metadata"]["name"]]
        for key in ("spool_dir", "registry"):
            assert serve["applications"][0]["args"][key].startswith(mount["mountPath"] + "/")


def test_what_the_stores_url_names_comes_from_a_secret_that_is_said(
    documents: dict[str, Any], serve: dict[str, Any]
) -> None:
    """Elastic's own operator, whose service it asks, signs its certificates itself: no system knows the authority."""
    url = serve["applications"][0]["args"]["store_url"]
    store = elastic_client.settings_of(url)
    for pod in pods(documents):
        [volume] = [each for each in pod["spec"]["volumes"] if "secret" in each]
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        [path] = [Path(mount["mountPath"]) for mount in mounts if mount["name"] == volume["name"]]
        for file in (store.api_key_file, store.ca):
            assert Path(file).parent == path and Path(file).name in MANIFEST.read_text().partition("apiVersion")[0]
    assert url in (ROOT / "docs" / "cluster.md").read_text()


def test_no_pod_runs_as_root(documents: dict[str, Any]) -> None:
    for pod in pods(documents):
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert not pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
