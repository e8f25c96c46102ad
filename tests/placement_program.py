"""Places the real classifier on a Ray cluster of four nodes on this machine, three of them with one logical GPU each.

Prints one JSON object: where the replicas stood, where they stand after a node was lost, and what a replica says
that was promised a GPU which is not there. Run by tests/test_placement.py, in a process of its own.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(folder: Path, short: Path) -> None:
    from serve_app.environment import Ingress, variables

    os.environ.update(variables(Ingress(short, tls=True)))  # no HAProxy: nothing comes in by HTTP
    os.environ["RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP"] = "1"  # this program asks without an event loop
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from model.registry import Registry

    Registry(folder / "models").seed_from_released()
    nodes = wait_for(  # Ray gives a node 30 seconds to start, which a busy machine may not
        lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}), 120
    )
    with_gpu = [wait_for(lambda: nodes.add_node(num_cpus=1, num_gpus=1), 120) for _ in range(3)]
    ray.init(address=nodes.address, log_to_driver=False)
    serve.start(proxy_location="Disabled")
    try:
        before = placed(deployed(folder, "logical", replicas=2), 2)
        lost = next(node for node in with_gpu if node.node_id == before[0]["node"])
        nodes.remove_node(lost)
        after = wait_for(lambda: replacement(serve.get_app_handle("classifier"), lost.node_id), 180)
        serve.delete("classifier")
        found = {"before": before, "lost": lost.node_id, "after": after, "absent": absent(folder)}
        print(json.dumps(found), flush=True)
    finally:
        ray.shutdown()
        nodes.shutdown()


def deployed(folder: Path, device: str, replicas: int) -> Any:
    from ray import serve

    from deployments.classifier import Classifier, Options

    options = Options(str(folder / "models"), "seed-2020", (1, 16), 1024, 1, device, 1000)
    actor = {"num_cpus": 0.5, "num_gpus": 1}
    limits = {"max_ongoing_requests": 8, "max_queued_requests": 8, "health_check_period_s": 1}
    if device == "auto":
        limits["max_constructor_retry_count"] = 1  # a replica that finds no GPU finds none the second time either
    classifier = serve.deployment(Classifier).options(num_replicas=replicas, ray_actor_options=actor, **limits)
    return serve.run(classifier.bind(options), name="classifier", route_prefix=None)


def placed(handle: Any, count: int) -> list[dict[str, Any]]:
    """Device and node of each replica, once `count` different ones have answered."""
    return wait_for(lambda: found if len(found := answers(handle)) == count else None, 120)


def answers(handle: Any) -> list[dict[str, Any]]:
    seen = {}
    for _ in range(12):
        kind, ids, node = handle.status.remote().result(timeout_s=10)["device"]
        seen[node] = {"kind": kind, "ids": list(ids), "node": node}
    return list(seen.values())


def replacement(handle: Any, lost: str) -> list[dict[str, Any]] | None:
    found = answers(handle)
    return found if len(found) == 2 and all(replica["node"] != lost for replica in found) else None


def absent(folder: Path) -> str:
    """What Serve says of a classifier that must find a real GPU."""
    from ray import serve

    try:
        deployed(folder, "auto", replicas=1)
    except RuntimeError:
        pass
    status = serve.status().applications["classifier"]
    return " ".join([status.message, *(deployment.message for deployment in status.deployments.values())])


def wait_for(find: Callable[[], Any], patience_s: float) -> Any:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            if found := find():
                return found
        except Exception as error:  # a replica that just went
            print(error, file=sys.stderr)
        time.sleep(0.5)
    raise TimeoutError("the replicas did not come (back)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="verdict-") as short:  # of a path that leaves room for sockets
        main(Path(sys.argv[1]), Path(short))
