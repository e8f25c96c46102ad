"""What a resolver reports of the queries it answered (contract 1, `POST /v1/observations`)."""

from typing import Annotated

import msgspec

from verdicts.names import shown

MAX_ROWS = 20_000  # rows in one batch; a plugin cuts larger seconds into several batches
MAX_ADDRESSES = 16
MAX_TARGETS = 8

# Bounds that decoding holds: a number beyond what a store's columns and their sums take would stop its drain for all.
Text = Annotated[str, msgspec.Meta(max_length=1024)]  # a name of 255 octets, each escaped, has 1,004 characters
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
Latency = Annotated[int, msgspec.Meta(ge=0, le=1 << 45)]  # microseconds: a year
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]

LABELS = ("benign", "malicious", "unknown")
TIERS = ("none", "alert", "block")  # the strongest last
ACTIONS = ("passthru", "nxdomain", "nodata", "local-data", "refused", "drop")
SOURCES = ("benign-list", "blocklist", "honeypot-list", "model", "ineligible", "none")  # none: label unknown
REASONS = (  # why there was no verdict in time; the plugin's fallbacks
    "timeout", "busy", "breaker", "error", "malformed", "unauthorised", "overload", "shutdown",
)  # fmt: skip


class BadObservation(ValueError):
    """A batch that does not follow the contract; the message names the row and what was expected."""


class Observation(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    """Equal outcomes of one second, summed. Times are Unix milliseconds, latencies microseconds.

    Equal means equal in qname, qtype, client, label, action, enforced, source, rule, model, rcode and reason.
    Unknown fields are ignored, so that a newer plugin works with an older cluster.
    """

    qname: Text
    qtype: Text
    client: Text
    label: str
    first: Number
    last: Number
    count: Count = 1
    action: str = "passthru"  # what the verdict says; `enforced` tells whether the client got it
    enforced: bool = False
    source: str = "none"
    rule: Text = ""
    model: Text = ""
    tier: str = "none"
    rcode: Text = ""  # of the reply the client got; empty when none was sent
    reason: str = ""  # why the label is unknown; one of REASONS
    score: float = 0.0  # latest
    generated: float = 0.0  # latest
    latency_sum: Latency = 0  # added by waiting for the verdict, summed over `count` queries
    latency_max: Latency = 0
    addresses: list[Text] = []  # of the reply, at most MAX_ADDRESSES
    targets: list[Text] = []  # alias targets of the reply, at most MAX_TARGETS
    target_of: Text = ""  # set on the record of an alias target: the qname whose reply held it; then count = 0


class Batch(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    """One report of one engine. `seen` = sum of counts + `discarded`, cut atomically."""

    resolver: Text
    boot: str  # 32 hexadecimal digits, drawn when the engine starts
    batch: Number  # 1, 2, 3, ... within a boot, in the order of sending; one that is empty has that of the one before
    epoch: Number = 0  # the highest whose changes the engine has applied
    generation: Text = ""
    mode: Text = "monitor"
    version: Text = ""
    seen: Count = 0
    discarded: Count = 0
    rows: list[Observation] = []


class Acknowledgement(msgspec.Struct):
    """The reply to a batch: it is on disk, and this is what the engine should know.

    `changed` lists the suffixes whose list entry changed since the batch's epoch, or None when there are too
    many (or the generation differs), which means: believe no cached list verdict.
    """

    epoch: int
    generation: str
    changed: list[str] | None = []
    refresh: bool = False  # model or policy changed since the batch's epoch: refresh entries over a minute
    paused: bool = False
    overrides: list[dict[str, str]] = []  # [{"client": prefix, "mode": "monitor|enforce|off"}], bounded


def check(batch: Batch) -> None:
    """Raise `BadObservation` where a batch that decoded still breaks the contract."""
    if len(batch.boot) != 32 or any(c not in "0123456789abcdef" for c in batch.boot):
        raise BadObservation(f"boot {shown(batch.boot)}: expected 32 lower-case hexadecimal digits")
    if batch.batch < 1:
        raise BadObservation(f"batch {batch.batch}: expected 1 or more")
    if len(batch.rows) > MAX_ROWS:
        raise BadObservation(f"rows: {len(batch.rows)}, expected at most {MAX_ROWS}")
    for number, row in enumerate(batch.rows):
        _check_row(number, row)
    counted = sum(row.count for row in batch.rows)
    if counted + batch.discarded != batch.seen:
        raise BadObservation(f"seen {batch.seen}: expected counts + discarded = {counted} + {batch.discarded}")


def _check_row(number: int, row: Observation) -> None:
    for field, value, allowed in (
        ("label", row.label, LABELS),
        ("action", row.action, ACTIONS),
        ("tier", row.tier, TIERS),
        ("source", row.source, SOURCES),
        ("reason", row.reason, ("", *REASONS)),
    ):
        if value not in allowed:
            raise BadObservation(f"rows[{number}].{field} {shown(value)}: expected one of {', '.join(allowed)}")
    if row.count < 0 or row.first > row.last or not 0 <= row.score <= 1 or not 0 <= row.generated <= 1:
        raise BadObservation(f"rows[{number}]: expected count >= 0, first <= last, score and generated from 0 to 1")
    if len(row.addresses) > MAX_ADDRESSES or len(row.targets) > MAX_TARGETS:
        raise BadObservation(f"rows[{number}]: expected at most {MAX_ADDRESSES} addresses and {MAX_TARGETS} targets")
