"""`/v1/policy`: thresholds, actions, overrides, and the switch that pauses every resolver."""

import ipaddress
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call, Committed, failure_of
from serve_app.operations import Number, Operation
from serve_app.wire import WireError
from verdicts.names import shown
from verdicts.policy import Policy, Thresholds, policy_of
from verdicts.store import Document

KIND = KEY = "policy"
MODES = ("monitor", "enforce", "off")
TRIES = 5  # of a change that expects nothing: above all a pause must not fail for another one of the same moment
MAX_OVERRIDES = 1000
MAX_ADDRESSES = 8
LONGEST_TTL = 7 * 86_400  # seconds
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
MAX_RANK = 1 << 53  # what every store can hold


class PolicyChange(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of `Policy` to set; those absent stay. `expect`: the epoch of the policy that the caller saw."""

    policy: Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Policy"})]
    note: str = ""
    expect: Number | None = None


class Pause(msgspec.Struct, forbid_unknown_fields=True):
    """`paused`: every resolver monitors only."""

    paused: bool
    note: str = ""


class PolicyState(TypedDict):
    """The policy in the store, and its last change; epoch 0: none was made. `wrong`: what this release cannot read of
    it, a sentence a field; `policy` has there what was in force before."""

    policy: Policy
    wrong: list[str]
    epoch: int
    author: str
    time: int


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/policy", "viewer", show),
        Operation("PUT", "/v1/policy", "admin", change),
        Operation("POST", "/v1/policy/pause", "analyst", pause),
    ]


async def show(call: Call) -> PolicyState:
    """The policy in the store: thresholds, actions, overrides, pause, and who changed it last."""
    document = await call.desk.read(lambda store: store.get(KIND, KEY))
    policy, wrong = policy_of((document and document.body) or {}, call.context.follower.policy)
    return {
        "policy": policy,
        "wrong": wrong,
        "epoch": document.epoch if document else 0,
        "author": document.author if document else "",
        "time": document.time if document else 0,
    }


async def change(call: Call, body: PolicyChange) -> Committed:
    """Set fields of the policy; absent ones stay."""
    return await _change(call, body.policy, body.note, body.expect)


async def pause(call: Call, body: Pause) -> Committed:
    """Put every resolver into monitor within two seconds, or back."""
    return await _change(call, {"paused": body.paused}, body.note)


async def _change(call: Call, changes: dict[str, Any], note: str, expect: int | None = None) -> Committed:
    for _ in range(TRIES):
        document = await call.desk.read(lambda store: store.get(KIND, KEY))
        present = document.epoch if document else 0
        if expect is not None and expect != present:
            raise WireError("conflict", f"policy: changed at epoch {present}, expected {expect}")
        body = changed((document and document.body) or {}, changes)
        try:
            # `present` and not the caller's: two changes of different fields at one time must not undo each other.
            return await call.commit([Document(KIND, KEY, body)], note, present)
        except Exception as error:
            if expect is not None or failure_of(error).code != "conflict":
                raise
    raise WireError("unavailable", f"policy: gave way to {TRIES} others", retry_after=1)


def changed(body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A stored body after a change. Raises `WireError` for a field it does not know or a value that cannot be.

    What the change does not name stays as it is, also what another release wrote and this one cannot read: it must not
    stand in the way of a pause, and may be right again.
    """
    _check_fields("policy", changes, Policy)
    _check_fields("policy.thresholds", changes.get("thresholds"), Thresholds)
    try:
        given = msgspec.convert(changes, Policy)
    except msgspec.ValidationError as error:
        raise WireError("malformed", f"policy: {error}") from None
    _check(given)
    plain = msgspec.to_builtins(given)
    return {**msgspec.to_builtins(Policy()), **body, **{name: plain[name] for name in changes}}


def _check_fields(where: str, given: Any, kind: type[msgspec.Struct]) -> None:
    """Refuse a field that this kind has not: passed over, a mistyped threshold would be one that never fires."""
    unknown = sorted(set(given) - set(kind.__struct_fields__)) if isinstance(given, dict) else []
    if unknown:
        known = ", ".join(kind.__struct_fields__)
        raise WireError("malformed", f"{where}: unknown field {shown(unknown[0])}, expected some of {known}")


def _check(policy: Policy) -> None:
    """Refuse what no resolver could act on. Of a change alone: what an earlier release let in must not stand in the way
    of a pause."""
    _check_thresholds(policy.thresholds)
    for name in ("block_action", "blocklist_action"):
        if getattr(policy, name) == "local-data":  # without an address: a plugin believes nothing of such a frame
            expected = "passthru, nxdomain, nodata, refused or drop (addresses are for the honeypot list)"
            raise WireError("malformed", f"policy.{name} 'local-data': expected {expected}")
    for name in ("answer_ttl", "cache_ttl"):
        if not 1 <= getattr(policy, name) <= LONGEST_TTL:
            raise WireError("malformed", f"policy.{name} {getattr(policy, name)}: expected 1 to {LONGEST_TTL} seconds")
    if not 0 <= policy.prevalence_rank <= MAX_RANK:
        raise WireError("malformed", f"policy.prevalence_rank {policy.prevalence_rank}: expected 0 to {MAX_RANK}")
    if len(policy.honeypot_answers) > MAX_ADDRESSES:
        raise WireError("malformed", f"policy.honeypot_answers: expected at most {MAX_ADDRESSES}")
    for address in policy.honeypot_answers:
        _parsed(ipaddress.ip_address, address, "honeypot_answers", "an address, without a zone")
    if len(policy.overrides) > MAX_OVERRIDES:
        raise WireError("malformed", f"policy.overrides: expected at most {MAX_OVERRIDES}")
    for override in policy.overrides:
        if set(override) != {"client", "mode"} or override["mode"] not in MODES:
            raise WireError("malformed", f"policy.overrides: expected client and mode ({', '.join(MODES)}) in each")
        expected = "an address or a prefix such as 192.0.2.0/24, IPv4 not as ::ffff:0:0/96"
        _parsed(_network, override["client"], "overrides", expected)


def _check_thresholds(thresholds: Thresholds | None) -> None:
    if thresholds is None:
        return
    for name in Thresholds.__struct_fields__:
        value = getattr(thresholds, name)
        if value is not None and not 0 <= value <= 1:
            raise WireError("malformed", f"policy.thresholds.{name} {value}: expected 0 to 1, or null for never")


def _parsed(parse: Any, text: str, field: str, expected: str) -> None:
    try:
        if "%" in text:
            raise ValueError("a zone")
        parse(text)
    except ValueError:
        raise WireError("malformed", f"policy.{field} {shown(text)}: expected {expected}") from None


def _network(text: str) -> None:
    """As plugins read it, who do not know Python's masks and whose clients' IPv4 addresses are IPv4."""
    address, slash, bits = text.partition("/")
    if slash and bits != str(ipaddress.ip_network(text).prefixlen):
        raise ValueError("a mask")
    if slash and (network := ipaddress.ip_network(text)).version == 6 and network.subnet_of(MAPPED):
        raise ValueError("IPv4 in IPv6")
    ipaddress.ip_address(address)
