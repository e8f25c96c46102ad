"""A record as a document of the Elastic Common Schema (contract 3)."""

from typing import Any

import pytest

from tests.stores import now, observation, records
from verdicts.ecs import document_of, record_of
from verdicts.store.elastic_schema import LOG_FIELDS

ROW = {
    "qname": "www.example.co.uk", "client": "192.0.2.7", "rcode": "NXDOMAIN", "count": 3, "label": "malicious",
    "tier": "block", "action": "nxdomain", "enforced": True, "score": 0.75, "generated": 0.875,
    "addresses": ["198.51.100.7"], "latency_sum": 900, "latency_max": 500,
}  # fmt: skip


def flat(document: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {path + key: value}
    return found


def test_a_blocked_query_reads_as_ecs_says() -> None:
    at = now()
    [record] = records([observation(at=at, last=at + 5, **ROW)])
    found = flat(document_of(record))
    assert found | {
        "@timestamp": at, "ecs.version": found["ecs.version"], "event.kind": "alert", "event.type": ["denied"],
        "event.category": ["network", "intrusion_detection"], "event.outcome": "failure",
        "dns.question.name": "www.example.co.uk", "dns.question.type": "A",
        "dns.question.registered_domain": "example.co.uk", "dns.question.subdomain": "www",
        "dns.question.top_level_domain": "co.uk", "dns.response_code": "NXDOMAIN",
        "dns.resolved_ip": ["198.51.100.7"], "client.ip": "192.0.2.7", "observer.name": "edge-1",
        "verdict.label": "malicious", "verdict.tier": "block", "verdict.action": "nxdomain", "verdict.enforced": True,
        "verdict.score": 0.75, "verdict.generated": 0.875, "verdict.count": 3, "verdict.last": at + 5,
        "verdict.latency_sum": 900, "verdict.latency_max": 500, "_doc_count": 3,
        "ml_is_dga.malicious_prediction": 1,
    } == found  # fmt: skip
    assert found["ecs.version"].startswith("9.")
    assert record_of(record.id, document_of(record)) == record


@pytest.mark.parametrize(
    ("change", "kind", "allowed"),
    [
        ({"enforced": False}, "alert", "allowed"),
        ({"action": "passthru"}, "alert", "allowed"),
        ({"label": "benign", "action": "passthru"}, "event", "allowed"),
        ({"label": "benign", "action": "nxdomain"}, "event", "denied"),  # by the blocklist, say
    ],
)
def test_kind_and_type_follow_what_the_client_got(change: dict[str, Any], kind: str, allowed: str) -> None:
    [record] = records([observation(**(ROW | change))])
    found = document_of(record)
    assert (found["event"]["kind"], found["event"]["type"]) == (kind, [allowed])


def test_every_field_of_a_document_is_mapped_and_the_other_names_of_ecs_are_aliases() -> None:
    [record] = records([observation(**ROW)])
    assert set(flat(document_of(record, row=True))) - {"_doc_count"} <= set(LOG_FIELDS)
    aliases = {name: field["path"] for name, field in LOG_FIELDS.items() if field["type"] == "alias"}
    assert aliases == {
        "source.ip": "client.ip", "event.action": "verdict.action", "verdict.first": "@timestamp",
        "ml_is_dga.malicious_probability": "verdict.generated",
    }  # fmt: skip
