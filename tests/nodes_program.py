"""Starts two nodes of Ray here, each with another value of a variable, and prints what `values_by_node` finds.

Run by tests/test_existing_ray.py, in a process of its own.
"""

import json
import os

from serve_app.existing import living, values_by_node
from tests.placement_program import wait_for

TOLD = "VERDICT_TOLD"


def main() -> None:
    os.environ[TOLD] = "head"
    import ray
    from ray.cluster_utils import Cluster

    nodes = wait_for(
        lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}), 120
    )
    try:
        os.environ[TOLD] = "worker"
        wait_for(lambda: nodes.add_node(num_cpus=1), 120)
        ray.init(address=nodes.address, log_to_driver=False)
        print(json.dumps(values_by_node([TOLD], living())), flush=True)
    finally:
        ray.shutdown()
        nodes.shutdown()


if __name__ == "__main__":
    main()
