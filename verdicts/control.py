"""How long the cluster has for a change or a replay, and what who asks for one says and waits."""

CLUSTER_S = 150  # of serve_app/haproxy.py, which imports nothing of ours
PATIENCE_S = CLUSTER_S + 5.0  # so that its own answer is heard
HEADERS = {"X-Request-Timeout-Seconds": str(CLUSTER_S)}  # for Serve's own proxy, where that serves TLS
