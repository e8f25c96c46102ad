"""A record as an Elastic Common Schema document, and back (contract 3).

An empty text is left out of the document; reading puts it back. `client.address` is always there, `client.ip` and
`source.ip` where the client is an address (a hashed one is none).
"""

import ipaddress
from functools import lru_cache
from typing import Any

from verdicts.records import DATASET, ECS_VERSION, Record
from verdicts.store.admission import parse_id

_EVENT = {"version": ECS_VERSION}
_OBSERVER_TYPE = "dns"


def document_of(record: Record) -> dict[str, Any]:
    """The ECS document of a record whose id is well-formed."""
    parsed = parse_id(record.id)
    assert parsed is not None  # a store refuses others before
    denied = record.enforced and record.action != "passthru"
    alert = record.label == "malicious"
    question = {
        "name": record.qname, "type": record.qtype, "registered_domain": record.registered,
        "subdomain": record.subdomain, "top_level_domain": record.suffix,
    }  # fmt: skip
    dns: dict[str, Any] = {"question": _present(question)}
    if record.rcode:
        dns["response_code"] = record.rcode
    ips = [address for address in record.addresses if is_address(address)]
    if ips:
        dns["resolved_ip"] = ips
    client: dict[str, Any] = {"address": record.client}
    verdict = {
        "label": record.label, "score": record.score, "generated": record.generated, "tier": record.tier,
        "action": record.action, "enforced": record.enforced, "source": record.source, "rule": record.rule,
        "model": record.model, "reason": record.reason, "mode": record.mode, "count": record.count,
        "first": record.time, "last": record.last, "latency_sum": record.latency_sum,
        "latency_max": record.latency_max, "boot": parsed[1], "batch": parsed[2], "row": parsed[3],
        "targets": record.targets, "target_of": record.target_of,
    }  # fmt: skip
    document: dict[str, Any] = {
        "@timestamp": record.time,
        "ecs": _EVENT,
        "event": {
            "kind": "alert" if alert else "event",
            "category": ["network", "intrusion_detection"] if alert else ["network"],
            "type": ["denied" if denied else "allowed"],
            "action": record.action,
            "outcome": "success" if record.rcode == "NOERROR" else "failure" if record.rcode else "unknown",
            "dataset": DATASET,
        },
        "dns": dns,
        "client": client,
        "observer": {"name": record.resolver, "type": _OBSERVER_TYPE},
        "verdict": _present(verdict),
        "ml_is_dga": {"malicious_prediction": int(alert), "malicious_probability": record.generated},
    }
    if is_address(record.client):
        client["ip"] = record.client
        document["source"] = {"ip": record.client}
    if record.count > 1:
        document["_doc_count"] = record.count  # 1 is the default, and less is not allowed
    odd = [address for address in record.addresses if not is_address(address)]
    if odd:
        document["verdict"]["odd_addresses"] = odd
    return document


def record_of(identifier: str, document: dict[str, Any]) -> Record:
    """The record that a document was made of."""
    question, verdict = document["dns"]["question"], document["verdict"]
    return Record(
        id=identifier, time=document["@timestamp"], last=verdict["last"], count=verdict["count"],
        qname=question.get("name", ""), registered=question.get("registered_domain", ""),
        subdomain=question.get("subdomain", ""), suffix=question.get("top_level_domain", ""),
        qtype=question.get("type", ""), client=document["client"].get("address", ""),
        resolver=document["observer"]["name"], mode=verdict.get("mode", ""), label=verdict["label"],
        tier=verdict["tier"], action=verdict["action"], enforced=verdict["enforced"], source=verdict.get("source", ""),
        rule=verdict.get("rule", ""), model=verdict.get("model", ""), reason=verdict.get("reason", ""),
        rcode=document["dns"].get("response_code", ""), score=verdict["score"], generated=verdict["generated"],
        latency_sum=verdict["latency_sum"], latency_max=verdict["latency_max"],
        addresses=document["dns"].get("resolved_ip", []) + verdict.get("odd_addresses", []),
        targets=verdict.get("targets", []), target_of=verdict.get("target_of", ""),
    )  # fmt: skip


@lru_cache(65536)
def is_address(text: str) -> bool:
    """True for an IP address without a zone, which is what an `ip` field takes."""
    try:
        return ipaddress.ip_address(text) is not None and "%" not in text
    except ValueError:
        return False


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value != "" and value != []}
