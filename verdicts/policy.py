"""What to do with a name: one pure function over the vetted lists' answer and the model's (contract 2)."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Label = Literal["benign", "malicious"]
Tier = Literal["none", "alert", "block"]
Action = Literal["passthru", "nxdomain", "nodata", "local-data", "refused", "drop"]
ListName = Literal["benign", "honeypot", "blocklist"]

MAX_BLOCK_BOUND = 1e-4  # a model that may block more of the benign names than this never blocks (contract 2, rule 3)
LIST_NAMES: tuple[ListName, ...] = ("benign", "honeypot", "blocklist")  # in the order that settles a tie


class Verdict(msgspec.Struct, omit_defaults=True, frozen=True):
    """The decision on one normalised qname, as it crosses the wire: fields with a default may be absent there."""

    label: Label
    tier: Tier
    action: Action
    cache_ttl: int  # seconds a plugin may keep it
    source: str  # benign-list, blocklist, honeypot-list, model, ineligible
    score: float  # calibrated probability of malicious; 1 for a listed name, 0 for a benign or ineligible one
    generated: float  # calibrated probability of machine-made
    rule: str = ""  # the list suffix, the threshold or the reason that decided
    answers: list[str] = []  # local-data only
    answer_ttl: int = 0  # seconds; local-data only


class Thresholds(msgspec.Struct, frozen=True):
    """From the artifact, or set by an administrator. None: that rule never fires.

    `block` is compared with `generated`. `alert_generated` and `alert_score` are the two heads' thresholds that
    together keep the alert rate.
    """

    block: float | None = None
    alert_generated: float | None = None
    alert_score: float | None = None


class Policy(msgspec.Struct, frozen=True):
    """The settable part of the decision; one document in the store.

    `thresholds` None means: the serving artifact's own.
    """

    thresholds: Thresholds | None = None
    block_action: Action = "nxdomain"  # tier block
    blocklist_action: Action = "nxdomain"
    honeypot_answers: list[str] = []
    answer_ttl: int = 60  # seconds
    cache_ttl: int = 86_400  # seconds; what changes a verdict is told with the epoch, this bounds only what is not
    paused: bool = False
    prevalence_rank: int = 100_000  # registered domains ranked above this in the imported list never block
    overrides: list[dict[str, str]] = []  # [{"client": prefix, "mode": "monitor|enforce|off"}]


def policy_of(body: Mapping[str, Any], former: Policy = Policy()) -> tuple[Policy, list[str]]:  # noqa: B008
    """A stored body as a policy, and what is wrong with it: a field that this release cannot read, as one that a later
    release wrote, is as in `former`; one that is absent has its default. The others hold, above all a pause."""
    fields: dict[str, Any] = {}
    wrong = []
    for name in Policy.__struct_fields__:
        if name in body:
            try:
                fields[name] = getattr(msgspec.convert({name: body[name]}, Policy), name)
            except msgspec.ValidationError as error:
                fields[name] = getattr(former, name)
                wrong.append(str(error))
    return Policy(**fields), wrong


class ListHit(msgspec.Struct, frozen=True):
    """The vetted entry that matched a name."""

    list: ListName
    suffix: str


def decide(
    policy: Policy,
    thresholds: Thresholds,
    hit: ListHit | None,
    ineligible: str | None,
    generated: float = 0.0,
    score: float = 0.0,
    popular: bool = False,
) -> Verdict:
    """Decide on one name.

    `hit` is the longest matching list entry, `ineligible` the reason the model was not asked, `generated` and
    `score` the model's calibrated probabilities, `popular` whether the prevalence list caps the tier at alert.
    """
    if hit is not None:
        return decide_listed(policy, hit)
    if ineligible is not None:
        return Verdict("benign", "none", "passthru", policy.cache_ttl, "ineligible", 0.0, 0.0, ineligible)
    tier, rule = tier_of(thresholds, generated, score)
    if tier == "block" and popular:
        tier, rule = "alert", rule + " capped:popular"
    return Verdict(
        label="benign" if tier == "none" else "malicious",
        tier=tier,
        action=policy.block_action if tier == "block" else "passthru",
        cache_ttl=policy.cache_ttl,
        source="model",
        score=score,
        generated=generated,
        rule=rule,
    )


def decide_listed(policy: Policy, hit: ListHit) -> Verdict:
    """The verdict of a vetted entry; the model has no say."""
    if hit.list == "benign":
        return Verdict("benign", "none", "passthru", policy.cache_ttl, "benign-list", 0.0, 0.0, hit.suffix)
    if hit.list == "honeypot" and policy.honeypot_answers:
        return Verdict(
            "malicious", "block", "local-data", policy.cache_ttl, "honeypot-list", 1.0, 0.0, hit.suffix,
            policy.honeypot_answers, policy.answer_ttl,
        )  # fmt: skip
    source = "blocklist" if hit.list == "blocklist" else "honeypot-list"
    # A honeypot entry without a honeypot address is blocked: an answer with no address would be NODATA, which
    # the operator did not ask for.
    return Verdict("malicious", "block", policy.blocklist_action, policy.cache_ttl, source, 1.0, 0.0, hit.suffix)


def tier_of(thresholds: Thresholds, generated: float, score: float) -> tuple[Tier, str]:
    """The tier of the model's two probabilities and the rule that gave it."""
    if thresholds.block is not None and generated >= thresholds.block:
        return "block", f"generated>={thresholds.block:.4g}"
    if thresholds.alert_generated is not None and generated >= thresholds.alert_generated:
        return "alert", f"generated>={thresholds.alert_generated:.4g}"
    if thresholds.alert_score is not None and score >= thresholds.alert_score:
        return "alert", f"score>={thresholds.alert_score:.4g}"
    return "none", ""
