"""What a cluster is to be: serve.yaml with settings over its own, checked before anything starts."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from serve_app.environment import MAX_BODY, MAX_REQUESTS, MAX_WAIT_S
from serve_app.keys import check_keys
from serve_app.local.options import LOOPBACK
from serve_app.settings import BadSettings, settings_of

SERVE_YAML = Path(__file__).with_name("serve.yaml")
HTTP_PORT = 8000


def configuration(
    args: Mapping[str, Any] = MappingProxyType({}),
    port: int | None = None,
    path: Path = SERVE_YAML,
) -> dict[str, Any]:
    """serve.yaml with these settings over its own and this port; checked before anything starts."""
    with path.open() as file:
        found: dict[str, Any] = yaml.safe_load(file)
    check_keys(found)
    application = found["applications"][0]
    application["args"] = {**application.get("args", {}), **args}
    settings = settings_of(application["args"])
    check_writers(application, settings.store_url)
    check_device(application, settings.device)
    http_options = found["http_options"]
    check_numbers(http_options)
    check_name(http_options.get("host", LOOPBACK))
    check_waits(http_options, application["args"])
    for key, default in (("host", LOOPBACK), ("port", HTTP_PORT)):  # Serve's own, said
        http_options.setdefault(key, default)
    if port is not None:
        http_options["port"] = port
    return found


def check_writers(application: Mapping[str, Any], store_url: str) -> None:
    """Raise `BadSettings` for several writers of an SQLite store: what the second acknowledges it cannot store."""
    for deployment in application.get("deployments") or ():
        if deployment["name"] == "VerdictLog" and store_url.startswith("sqlite:"):
            scaling = deployment.get("autoscaling_config") or {}
            for key, value in (
                ("num_replicas", deployment.get("num_replicas")),
                ("max_replicas", scaling.get("max_replicas")),
            ):
                if value not in (None, 1):
                    raise BadSettings(
                        f"deployment VerdictLog: {key} {value!r}: expected 1, for {store_url} has one writer"
                    )


def check_device(application: Mapping[str, Any], device: str) -> None:
    """Raise `BadSettings` for a GPU that nothing would compute on: each replica would refuse to start."""
    for deployment in application.get("deployments") or ():
        gpus = (deployment.get("ray_actor_options") or {}).get("num_gpus")
        if deployment["name"] == "Classifier" and device == "cpu" and gpus:
            raise BadSettings(f"deployment Classifier: num_gpus {gpus!r}: expected 0, for device is 'cpu'")


def check_numbers(http_options: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for what is no number: Serve takes one in quotes, and HAProxy's limits and the look for a
    free port would not."""
    port, wait = http_options.get("port", HTTP_PORT), http_options.get("request_timeout_s")
    if type(port) is not int:
        raise BadSettings(f"http_options: port {port!r}: expected a whole number, without quotes")
    if wait is not None and (type(wait) not in (int, float) or not 0 <= wait < math.inf):
        raise BadSettings(
            f"http_options: request_timeout_s {wait!r}: expected seconds, without quotes, or null for no end"
        )


def check_name(host: Any) -> None:
    """Raise `BadSettings` for what no address or name of this machine is, which the system's calls would refuse in a
    trace, and an empty one HAProxy's configuration."""
    try:
        good = isinstance(host, str) and host.isprintable() and bool(host.encode("idna"))
    except UnicodeError:
        good = False
    if not good:
        raise BadSettings(f"http_options: host {host!r}: expected an address of this machine, or 0.0.0.0")


def check_waits(http_options: Mapping[str, Any], args: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for a budget that no question has: Serve ends each after `request_timeout_s`."""
    budget, most = args.get("max_budget_ms", 0), _timeout_s(http_options)
    if 0 < most < budget / 1000:
        raise BadSettings(
            f"args: max_budget_ms {budget}: expected at most {most * 1000:g}, the request_timeout_s of http_options"
        )


def _timeout_s(http_options: Mapping[str, Any]) -> float:
    """0: none, or none that Serve takes, which `check_values` says."""
    given = http_options.get("request_timeout_s")
    return given if isinstance(given, (int, float)) else 0.0


def haproxy_limits(found: Mapping[str, Any]) -> dict[str, int]:
    """What a configuration lets come in, as fields of `Ingress`: HAProxy, before it, may let in no less."""
    settings = settings_of(found["applications"][0]["args"])
    waits_s = max(settings.max_budget_ms / 1000, _timeout_s(found["http_options"]))
    return {
        "max_requests": ingress_requests(found),
        "max_body": max(MAX_BODY, settings.max_report_bytes, settings.max_frame_bytes),
        "max_wait_s": max(MAX_WAIT_S, math.ceil(waits_s) + 1),
    }


def ingress_requests(found: Mapping[str, Any]) -> int:
    """How many requests a configuration lets an ingress replica have at one time: what HAProxy must let in."""
    ingresses = [
        deployment
        for application in found["applications"]
        for deployment in application.get("deployments") or ()
        if deployment["name"] == "Ingress"
    ]
    return max(
        (one["max_ongoing_requests"] for one in ingresses if "max_ongoing_requests" in one), default=MAX_REQUESTS
    )


def check_values(found: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for a value that Ray Serve does not take. Imports Ray, see `set_variables`."""
    from pydantic import ValidationError
    from ray.serve.schema import ServeDeploySchema

    try:
        ServeDeploySchema.model_validate(found)
    except ValidationError as error:
        raise BadSettings(
            "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        ) from None
