"""A record as an Elastic Common Schema document, and back (contract 3).

An empty text is left out of the document; reading puts it back. So is what the index answers for by another name
(`elastic_schema`): `source.ip` is `client.ip`, `event.action` is `verdict.action`, `verdict.first` is `@timestamp`,
`ml_is_dga.malicious_probability` is `verdict.generated`; and a `verdict.last` that is `@timestamp`. A client that is
no address (a hashed one) stands in `client.address` instead of `client.ip`.

Fields that seldom change come first and those that always do last, a name behind its parts: so the store's compression
finds most of a document in the one before.
"""

from typing import Any

from verdicts.names import is_address
from verdicts.records import DATASET, ECS_VERSION, Record
from verdicts.store.admission import parse_id

_EVENT = {"version": ECS_VERSION}
_OBSERVER_TYPE = "dns"
MAX_DOC_COUNT = (1 << 31) - 1  # Elasticsearch refuses a document with more; `verdict.count` is what is summed


def document_of(record: Record, row: bool = False) -> dict[str, Any]:
    """The ECS document of a record whose id is well-formed; `row`: with the row, which the id says too."""
    parsed = parse_id(record.id)
    assert parsed is not None  # a store refuses others before
    denied = record.enforced and record.action != "passthru"
    alert = record.label == "malicious"
    ips = [address for address in record.addresses if is_address(address)]
    odd = [address for address in record.addresses if not is_address(address)]
    verdict = {
        "label": record.label, "tier": record.tier, "action": record.action, "enforced": record.enforced,
        "source": record.source, "model": record.model, "reason": record.reason, "mode": record.mode,
        "boot": parsed[1], "batch": parsed[2], "rule": record.rule, "targets": record.targets,
        "target_of": record.target_of, "odd_addresses": odd, "latency_sum": record.latency_sum,
        "latency_max": record.latency_max, "score": record.score, "generated": record.generated,
        "count": record.count,
    }  # fmt: skip
    if record.last != record.time:
        verdict["last"] = record.last
    if row:
        verdict["row"] = parsed[3]
    question = {
        "type": record.qtype, "top_level_domain": record.suffix, "subdomain": record.subdomain,
        "registered_domain": record.registered, "name": record.qname,
    }  # fmt: skip
    document: dict[str, Any] = {
        "ecs": _EVENT,
        "observer": {"name": record.resolver, "type": _OBSERVER_TYPE},
        "event": {
            "kind": "alert" if alert else "event",
            "category": ["network", "intrusion_detection"] if alert else ["network"],
            "type": ["denied" if denied else "allowed"],
            "outcome": "success" if record.rcode == "NOERROR" else "failure" if record.rcode else "unknown",
            "dataset": DATASET,
        },
        "ml_is_dga": {"malicious_prediction": int(alert)},
        "verdict": _present(verdict),
        "@timestamp": record.time,
        "client": {"ip": record.client} if is_address(record.client) else {"address": record.client},
        "dns": _present({"response_code": record.rcode, "resolved_ip": ips}) | {"question": _present(question)},
    }
    if record.count > 1:
        document["_doc_count"] = min(record.count, MAX_DOC_COUNT)  # 1 is the default, and less is not allowed
    return document


def record_of(identifier: str, document: dict[str, Any]) -> Record:
    """The record that a document was made of."""
    question, verdict, client = document["dns"]["question"], document["verdict"], document["client"]
    time = document["@timestamp"]
    return Record(
        id=identifier, time=time, last=verdict.get("last", time), count=verdict["count"],
        qname=question.get("name", ""), registered=question.get("registered_domain", ""),
        subdomain=question.get("subdomain", ""), suffix=question.get("top_level_domain", ""),
        qtype=question.get("type", ""), client=client.get("ip") or client.get("address", ""),
        resolver=document["observer"]["name"], mode=verdict.get("mode", ""), label=verdict["label"],
        tier=verdict["tier"], action=verdict["action"], enforced=verdict["enforced"], source=verdict.get("source", ""),
        rule=verdict.get("rule", ""), model=verdict.get("model", ""), reason=verdict.get("reason", ""),
        rcode=document["dns"].get("response_code", ""), score=verdict["score"], generated=verdict["generated"],
        latency_sum=verdict["latency_sum"], latency_max=verdict["latency_max"],
        addresses=document["dns"].get("resolved_ip", []) + verdict.get("odd_addresses", []),
        targets=verdict.get("targets", []), target_of=verdict.get("target_of", ""),
    )  # fmt: skip


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value != "" and value != []}
