"""A `Filter` as a query to Elasticsearch, and the fields of the log by their names in one."""

import math
from typing import Any

from verdicts import names
from verdicts.names import is_address
from verdicts.store import Filter
from verdicts.store.elastic_schema import ROLLED

FIELDS = {
    **ROLLED, "qname": "dns.question.name", "registered": "dns.question.registered_domain",
    "suffix": "dns.question.top_level_domain", "client": "client.ip", "rule": "verdict.rule",
}  # fmt: skip
LISTS = ("resolver", "qtype", "label", "tier", "action", "source", "rcode", "model", "reason")


def query_of(where: Filter) -> dict[str, Any]:
    """A `Filter` as a query of filters alone: nothing is scored."""
    found: list[dict[str, Any]] = within(where.start, where.end)
    if where.name:
        found += _name(where.name)
    if where.registered:
        found.append({"term": {FIELDS["registered"]: where.registered}})
    if where.client:
        field = "client.ip" if "/" in where.client or is_address(where.client) else "client.address"
        found.append({"term": {field: where.client}})
        if "/" in where.client and ":" in where.client:
            # Elasticsearch keeps an address of version 4 among those of version 6: it would be in `::/0` too.
            found.append({"bool": {"must_not": {"term": {field: "0.0.0.0/0"}}}})
    for field in LISTS:
        wanted = getattr(where, field)
        if wanted:
            found.append(any_of(FIELDS[field], wanted))
    if where.enforced is not None:
        found.append({"term": {FIELDS["enforced"]: where.enforced}})
    if where.min_score is not None or where.max_score is not None:
        limits = {"gte": where.min_score, "lte": where.max_score}
        found.append({"range": {"verdict.score": {key: value for key, value in limits.items() if value is not None}}})
    return {"bool": {"filter": found}}


def within(start: int, end: int) -> list[dict[str, Any]]:
    """The filters for a time, an end in each: to an index that lies wholly on one side of an end Elasticsearch leaves
    that filter out, and keeps the answer for questions that differ by that end alone."""
    return [{"range": {"@timestamp": {"gte": start}}}, {"range": {"@timestamp": {"lt": end}}}]


def span_of(query: dict[str, Any]) -> tuple[float, float]:
    """The time that a query is `within`, which stands first in it or in what it narrows; for ever where it has none."""
    while "bool" in query:
        first, *others = query["bool"]["filter"]
        if "range" in first and "@timestamp" in first["range"]:
            return first["range"]["@timestamp"]["gte"], others[0]["range"]["@timestamp"]["lt"]
        query = first
    return -math.inf, math.inf


def any_of(field: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Any of the values; an empty one stands for a field that is left out."""
    terms = {"terms": {field: [value for value in wanted if value]}}
    if "" not in wanted:
        return terms
    return {
        "bool": {"should": [terms, {"bool": {"must_not": {"exists": {"field": field}}}}], "minimum_should_match": 1}
    }


def _name(name: str) -> list[dict[str, Any]]:
    field = FIELDS["qname"]
    if "*" in name:
        return [{"wildcard": {field: {"value": name.replace("\\", "\\\\").replace("?", "\\?")}}}]
    if not name.startswith("."):
        # The name has no index, its registered domain has: whichever of its suffixes that was when it was written.
        return [{"terms": {FIELDS["registered"]: names.suffixes(name) or [name]}}, {"term": {field: name}}]
    zone = name[1:]
    below = {"wildcard": {field: {"value": "*" + name.replace("\\", "\\\\").replace("?", "\\?")}}}
    found: list[dict[str, Any]] = [{"bool": {"should": [{"term": {field: zone}}, below], "minimum_should_match": 1}}]
    if not names.is_public_suffix(zone):
        found.append({"term": {FIELDS["registered"]: names.split(zone).registered}})
    return found
