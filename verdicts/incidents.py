"""What deserves a person: incidents, decided from the log (contract 2). Pure; `verdicts.watch` acts.

Two rules. `generated-names`: one client within one hour asked for several distinct registered domains that the
model took for machine-made, most of them NXDOMAIN. `block-resolves`: a name of tier block was answered with an
address that reached the client.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from verdicts.names import defanged
from verdicts.records import Record

KIND = "incident"
HOUR = 3_600_000  # milliseconds
KEPT_NAMES = 60
KEPT_RECORDS = 20
STATES = ("open", "acknowledged", "closed")
DECIDED = ("state", "assignee")  # what people change of an incident; the rest tells what the log holds


class Rules(msgspec.Struct, frozen=True):
    """When something is an incident."""

    names: int = 5  # distinct registered domains of one client in one hour
    nxdomain_share: float = 0.5  # of their queries, more than this
    window_ms: int = 6 * 3_600_000  # the same client and domain within this is the same incident


class Incident(msgspec.Struct):
    """One incident, as its document's body keeps it. Times are Unix milliseconds."""

    rule: str  # generated-names | block-resolves
    client: str
    domain: str  # the registered domain of block-resolves; empty for generated-names
    start: int
    end: int
    names: list[str]
    count: int  # queries
    nxdomain: int  # of them, answered NXDOMAIN
    reason: str
    records: list[dict[str, Any]]  # evidence: a few rows of the log
    state: str = "open"
    assignee: str = ""
    hours: dict[str, list[int]] = {}  # count and nxdomain of each hour, so that an hour seen again adds nothing
    updated: int = 0  # when the log was last looked at for it
    opened: int = 0  # when it was first written down, which may be days after its start; 0: by an earlier release
    notified: dict[str, dict[str, Any]] = {}  # by sink: state, tries, next, error

    @property
    def key(self) -> str:
        """The key of its document: what makes it the same incident."""
        return f"{self.client}-{self.domain or self.rule}-{self.start // 1000}"


def incidents_of(client: str, records: Sequence[Record], rules: Rules, cut: bool = False) -> list[Incident]:
    """The incidents in one client's malicious records of one hour; `cut`: it has more than these."""
    more = f"; of more records than the {len(records):,} counted" if cut else ""
    found = []
    generated = [r for r in records if r.source == "model" and r.count]
    domains = {record.registered for record in generated}
    queries = sum(record.count for record in generated)
    missing = sum(record.count for record in generated if record.rcode == "NXDOMAIN")
    if len(domains) >= rules.names and missing > rules.nxdomain_share * queries:
        reason = f"{len(domains)} generated domains, {missing} of {queries} queries NXDOMAIN{more}"
        found.append(_incident("generated-names", client, "", generated, reason))
    resolved: dict[str, list[Record]] = {}
    for record in records:
        if resolves(record):
            resolved.setdefault(record.registered, []).append(record)
    for domain, rows in resolved.items():
        addresses = sorted({address for row in rows for address in row.addresses})[:4]
        reason = f"tier block, and resolves to {', '.join(addresses)}{more}"
        found.append(_incident("block-resolves", client, domain, rows, reason))
    return found


def resolves(record: Record) -> bool:
    """True when the client got an address for a name of tier block."""
    forged = record.enforced and record.action != "passthru"
    return record.tier == "block" and record.rcode == "NOERROR" and bool(record.addresses) and not forged


def same(incident: Incident, known: Iterable[tuple[str, Incident]], rules: Rules) -> tuple[str, Incident] | None:
    """The known incident (with its document's key) that this one continues: same client, rule and domain within the
    window, whichever of them was first; of several, the one that has this hour already. A closed one is not continued,
    unless the new one brings nothing later."""
    found = None
    for key, other in known:
        if (other.rule, other.client, other.domain) != (incident.rule, incident.client, incident.domain):
            continue
        apart = max(incident.start - other.end, other.start - incident.end)
        if apart >= rules.window_ms or (other.state == "closed" and incident.end > other.end):
            continue
        if other.hours.keys() & incident.hours.keys():
            return key, other
        found = found or (key, other)
    return found


def continued(known: Incident, seen: Incident) -> Incident:
    """The known incident with what was seen since, some of it perhaps late; counts of an hour that is seen again are
    not added twice."""
    hours = known.hours | seen.hours
    return msgspec.structs.replace(
        known,
        start=min(known.start, seen.start),
        end=max(known.end, seen.end),
        names=list(dict.fromkeys(known.names + seen.names))[:KEPT_NAMES],
        count=sum(count for count, _ in hours.values()),
        nxdomain=sum(nxdomain for _, nxdomain in hours.values()),
        hours=hours,
        reason=seen.reason if seen.end >= known.end else known.reason,
        updated=seen.updated,
        records=(known.records + [row for row in seen.records if row not in known.records])[:KEPT_RECORDS],
    )


def decision(previous: Mapping[str, Any] | None, body: Mapping[str, Any] | None) -> dict[str, str] | None:
    """What a person decided by a change of an incident's document: the fields of DECIDED that differ, none of them
    where only a note was left. None for a change that tells what else the log holds, and for the first one."""
    if not previous or not body:
        return None
    changed = {name for name in {*previous, *body} if previous.get(name) != body.get(name)}
    said = {name: str(body.get(name) or "") for name in DECIDED if name in changed}
    return said if said or not changed else None


def in_words(said: Mapping[str, str]) -> str:
    """A `decision`, as a page and an error tell it."""
    words = [{"open": "reopened"}.get(said["state"], said["state"])] if "state" in said else []
    words += [f"assigned to {said['assignee'] or 'nobody'}"] if "assignee" in said else []
    return " and ".join(words) or "a note"


def title(incident: Incident) -> str:
    """One line for people; names are defanged, so that nothing makes a link of them."""
    if incident.rule == "generated-names":
        return f"{incident.client} asks for generated names: {incident.reason}"
    return f"{incident.client} reaches {defanged(incident.domain)}: {incident.reason}"


def _incident(rule: str, client: str, domain: str, rows: Sequence[Record], reason: str) -> Incident:
    newest = sorted(rows, key=lambda row: -row.time)
    start = min(row.time for row in rows)
    count, nxdomain = sum(row.count for row in rows), sum(row.count for row in rows if row.rcode == "NXDOMAIN")
    return Incident(
        rule, client, domain, start, max(row.last for row in rows),
        list(dict.fromkeys(row.qname for row in newest))[:KEPT_NAMES], count, nxdomain, reason,
        [_evidence(row) for row in newest[:KEPT_RECORDS]], hours={str(start // HOUR): [count, nxdomain]},
    )  # fmt: skip


def _evidence(row: Record) -> dict[str, Any]:
    return {
        "id": row.id, "time": row.time, "qname": row.qname, "qtype": row.qtype, "rcode": row.rcode, "tier": row.tier,
        "score": row.score, "generated": row.generated, "count": row.count, "resolver": row.resolver,
        "enforced": row.enforced, "addresses": row.addresses, "model": row.model,
    }  # fmt: skip
