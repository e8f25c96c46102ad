"""The keys that Ray Serve knows in a configuration: it passes over any other in silence, were it `ssl_certfil`.

Held here and not asked of Ray, whose modules read the environment when they are imported; a test compares.
"""

from collections.abc import Mapping
from typing import Any

from deployments.scaling import checked_target
from serve_app.settings import BadSettings

ALL = (
    "proxy_location http_options grpc_options controller_options logging_config tracing_config applications "
    "target_capacity"
)
HTTP = (
    "host port root_path request_timeout_s keep_alive_timeout_s ssl_keyfile ssl_certfile ssl_keyfile_password "
    "ssl_ca_certs"
)
APPLICATION = (
    "name route_prefix import_path runtime_env host port deployments autoscaling_policy args logging_config "
    "external_scaler_enabled"
)
DEPLOYMENT = (
    "name num_replicas max_ongoing_requests max_queued_requests backpressure_config user_config autoscaling_config "
    "graceful_shutdown_wait_loop_s graceful_shutdown_timeout_s health_check_period_s health_check_timeout_s "
    "ray_actor_options placement_group_bundles placement_group_strategy placement_group_bundle_label_selector "
    "max_replicas_per_node logging_config request_router_config gang_scheduling_config deployment_actors "
    "rolling_update_percentage max_surge_percent"
)
ACTOR = "runtime_env num_cpus num_gpus memory resources accelerator_type label_selector fallback_strategy"
AUTOSCALING = (
    "min_replicas initial_replicas max_replicas target_ongoing_requests metrics_interval_s look_back_period_s "
    "smoothing_factor upscale_smoothing_factor downscale_smoothing_factor upscaling_factor downscaling_factor "
    "downscale_delay_s downscale_to_zero_delay_s upscale_delay_s aggregation_function policy"
)
POLICY = "policy_function policy_kwargs"
OURS = "deployments.scaling:NamesInFlight"
OURS_KEYS = "target_names"


def check_keys(found: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for a key of a configuration that Serve does not know, for TLS asked for by half, and for a
    queue without end."""
    _known("configuration", found, ALL)
    options = found["http_options"]
    _known("http_options", options, HTTP)
    if any(options.get(key) for key in HTTP.split() if key.startswith("ssl_")):
        for key in ("ssl_certfile", "ssl_keyfile"):
            if not options.get(key):
                raise BadSettings(f"http_options: {key} {options.get(key)!r}: expected a file, as TLS is asked for")
    for application in found["applications"]:
        _known("applications", application, APPLICATION)
        for deployment in application.get("deployments") or ():
            where = f"deployment {deployment.get('name', '')}"
            _known(where, deployment, DEPLOYMENT)
            if not deployment.get("name"):
                raise BadSettings(f"deployments: {deployment!r:.80}: expected a name")
            if deployment.get("max_queued_requests", 1) == -1:  # Serve's own word for no limit
                raise BadSettings(f"{where}: max_queued_requests -1: expected a limit; no queue is without end here")
            _known(f"{where}, ray_actor_options", deployment.get("ray_actor_options") or {}, ACTOR)
            scaling = deployment.get("autoscaling_config") or {}
            _known(f"{where}, autoscaling_config", scaling, AUTOSCALING)
            _check_policy(f"{where}, policy", scaling.get("policy") or {})


def _check_policy(where: str, policy: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for what our policy does not take: Serve would ask it in vain, and say nothing."""
    _known(where, policy, POLICY)
    if str(policy.get("policy_function")).replace(":", ".") != OURS.replace(":", "."):
        return
    given = policy.get("policy_kwargs") or {}
    _known(f"{where}_kwargs", given, OURS_KEYS)
    try:
        checked_target(given.get("target_names", 1))
    except ValueError as error:
        raise BadSettings(f"{where}_kwargs: {error}") from None


def _known(where: str, found: Mapping[str, Any], known: str) -> None:
    if not isinstance(found, Mapping):
        raise BadSettings(
            f"{where}: {found!r:.40}: expected keys with their values, some of {', '.join(known.split())}"
        )
    for key in found:
        if key not in known.split():
            raise BadSettings(f"{where}: unknown key {key!r}; expected some of {', '.join(known.split())}")
