from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app import keys
from serve_app.configuration import SERVE_YAML, configuration, haproxy_limits, ingress_requests
from serve_app.environment import MAX_REQUESTS
from serve_app.settings import BadSettings, settings_of

GOOD = {"store_url": "sqlite:///x/y.db", "registry": "/models", "spool_dir": "/spool"}


def test_three_settings_are_enough() -> None:
    assert settings_of(GOOD).auth == "tokens"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"spool": 1}, "unknown key 'spool'"),
        ({"store_url": None}, "store_url"),
        ({"store_url": "mysql://x"}, "expected sqlite:///PATH"),
        ({"registry": ""}, "registry ''"),
        ({"max_names": "many"}, "max_names"),
        ({"max_names": 0}, "max_names 0: expected 1 to"),
        ({"max_report_bytes": 65 << 20}, "max_report_bytes 68157440: expected 1024 to 33554432"),  # no spool takes it
        ({"default_budget_ms": 99_999}, "default_budget_ms"),
        ({"batch_sizes": [16, 1]}, "batch_sizes (16, 1): expected rising"),
        ({"batch_sizes": [1, 1 << 40]}, "expected rising"),
        ({"retention_days": -1}, "retention_days -1.0: expected"),
        ({"retention_days": 0}, "retention_days 0.0: expected"),
        ({"retention_days": float("nan")}, "retention_days nan: expected"),
        ({"retention_days": float("inf")}, "retention_days inf: expected"),
        ({"auth": "none"}, "auth"),
        ({"client_privacy": "keyed"}, "client_key_file"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSettings) as caught:
        settings_of({**GOOD, **changes})
    assert said in str(caught.value)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(BadSettings, match="registry"):
        settings_of({"store_url": "sqlite:///x", "spool_dir": "/s"})


def test_the_keys_are_those_of_this_ray() -> None:
    from ray.serve import schema
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    for known, its in (
        (keys.ALL, schema.ServeDeploySchema),
        (keys.HTTP, schema.HTTPOptionsSchema),
        (keys.APPLICATION, schema.ServeApplicationSchema),
        (keys.DEPLOYMENT, schema.DeploymentSchema),
        (keys.ACTOR, schema.RayActorOptionsSchema),
        (keys.AUTOSCALING, AutoscalingConfig),
        (keys.POLICY, AutoscalingPolicy),
    ):
        assert known.split() == list(its.model_fields)


def test_no_queue_is_without_end_where_the_yaml_says_nothing() -> None:
    from serve_app.app import build

    bound = build(GOOD)._bound_deployment  # the ingress, bound to the others
    inner = [bound.init_args[1]._bound_deployment, bound.init_args[2]._bound_deployment]
    found = [bound, *inner, inner[0].init_args[0]._bound_deployment]
    assert [each._deployment_config.max_queued_requests for each in found] == [256] * 4


def test_serve_yaml_is_what_serve_deploy_takes() -> None:
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(configuration(path=SERVE_YAML))
    queued = {d.name: d.max_queued_requests for d in schema.applications[0].deployments}
    assert set(queued) == {"Ingress", "Preprocessor", "Classifier", "VerdictLog"}
    assert all(isinstance(limit, int) and limit > 0 for limit in queued.values())


def test_haproxy_lets_in_what_an_ingress_replica_may_have() -> None:
    found = configuration({"store_url": "sqlite:///a.db", "registry": "r", "spool_dir": "s"})
    assert ingress_requests(found) == MAX_REQUESTS
    [ingress] = [one for one in found["applications"][0]["deployments"] if one["name"] == "Ingress"]
    ingress["max_ongoing_requests"] = 512
    assert ingress_requests(found) == 512


def limits(request_timeout_s: Any = 35, **args: Any) -> tuple[int, int]:
    found = configuration({"store_url": "sqlite:///a.db", "registry": "r", "spool_dir": "s", **args})
    found["http_options"]["request_timeout_s"] = request_timeout_s
    told = haproxy_limits(found)
    return told["max_body"], told["max_wait_s"]


def test_haproxy_lets_in_what_the_settings_say() -> None:
    assert limits() == (16 << 20, 36)
    assert limits(max_report_bytes=32 << 20) == (32 << 20, 36)
    assert limits(max_frame_bytes=64 << 20, max_report_bytes=1 << 20) == (64 << 20, 36)
    assert limits(20, max_report_bytes=1 << 20, max_frame_bytes=1 << 20) == (16 << 20, 35)  # lists and models too
    assert limits(150.5) == (16 << 20, 152)
    assert limits(None, max_budget_ms=30_000) == (16 << 20, 35)
    assert limits("no", max_budget_ms=35_000) == (16 << 20, 36)  # which `check_values` refuses


def test_a_budget_that_serve_would_not_wait_for_is_refused() -> None:
    with pytest.raises(BadSettings, match="max_budget_ms 120000: expected at most 35000, the request_timeout_s"):
        limits(max_budget_ms=120_000)


@pytest.mark.parametrize("host", ["a\0b", "", 5, None, "a..b"])
def test_a_host_that_no_machine_has_is_refused_by_name(tmp_path: Path, host: Any) -> None:
    file = tmp_path / "serve.yaml"
    found = yaml.safe_load(SERVE_YAML.read_text())
    found["http_options"]["host"] = host
    file.write_text(yaml.safe_dump(found))
    with pytest.raises(BadSettings, match="http_options: host .*: expected an address") as raised:
        configuration(path=file)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "text", ['port: "8000"', "port: eighty", "port: null", 'request_timeout_s: "60"', "request_timeout_s: .inf",
             "request_timeout_s: .nan", "request_timeout_s: -1", "request_timeout_s: true"],
)  # fmt: skip
def test_a_number_of_the_door_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "serve.yaml"
    found = yaml.safe_load(SERVE_YAML.read_text())
    found["http_options"].update(yaml.safe_load(text))
    file.write_text(yaml.safe_dump(found))
    with pytest.raises(BadSettings, match=f"http_options: {text.partition(':')[0]} .*: expected"):
        configuration(path=file)
