"""Actors of the cluster that live on beside the deployments: begun when they are first needed, ended by name."""

import hashlib
from typing import Any

import ray

NAMESPACE = "verdict"


def actor(kind: type, name: str, argument: str) -> Any:
    """The actor `kind(argument)`, begun where it is not there: one for each argument, since it outlives a redeployment
    that has other settings."""
    return ray.remote(num_cpus=0, max_restarts=-1)(kind).options(
        name=name_of(name, argument), namespace=NAMESPACE, lifetime="detached", get_if_exists=True
    ).remote(argument)  # fmt: skip


def name_of(name: str, argument: str) -> str:
    """What this actor is called in Ray."""
    return f"{name}-{hashlib.sha256(argument.encode()).hexdigest()[:12]}"


def end_actors() -> list[str]:
    """End all of them, with what they have begun; their names."""
    found = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True) if each["namespace"] == NAMESPACE]
    for name in found:
        ray.kill(ray.get_actor(name, namespace=NAMESPACE))
    return found
