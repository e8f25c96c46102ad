"""The one decision (contract 2)."""

import pytest

from verdicts.policy import ListHit, Policy, Thresholds, decide, tier_of

THRESHOLDS = Thresholds(block=0.99, alert_generated=0.9, alert_score=0.8)


@pytest.mark.parametrize(
    ("generated", "score", "tier", "action", "label"),
    [
        (0.995, 0.0, "block", "nxdomain", "malicious"),
        (0.99, 0.0, "block", "nxdomain", "malicious"),
        (0.95, 0.0, "alert", "passthru", "malicious"),
        (0.0, 0.8, "alert", "passthru", "malicious"),
        (0.0, 0.999, "alert", "passthru", "malicious"),  # only `generated` may block
        (0.89, 0.79, "none", "passthru", "benign"),
    ],
)
def test_thresholds_make_tiers(generated: float, score: float, tier: str, action: str, label: str) -> None:
    verdict = decide(Policy(), THRESHOLDS, None, None, generated, score)
    assert (verdict.tier, verdict.action, verdict.label) == (tier, action, label)


def test_an_artifact_without_a_bound_never_blocks() -> None:
    assert tier_of(Thresholds(alert_score=0.5), 1.0, 1.0)[0] == "alert"


def test_the_configured_action_applies_to_block_only() -> None:
    policy = Policy(block_action="refused")
    assert decide(policy, THRESHOLDS, None, None, 1.0, 1.0).action == "refused"
    assert decide(policy, THRESHOLDS, None, None, 0.95, 1.0).action == "passthru"


def test_a_popular_domain_is_capped_at_alert() -> None:
    verdict = decide(Policy(), THRESHOLDS, None, None, 1.0, 1.0, popular=True)
    assert (verdict.tier, verdict.action) == ("alert", "passthru")


def test_the_benign_list_overrules_the_model() -> None:
    verdict = decide(Policy(), THRESHOLDS, ListHit("benign", "example.org"), None, 1.0, 1.0)
    assert (verdict.label, verdict.action, verdict.source, verdict.rule) == (
        "benign", "passthru", "benign-list", "example.org",
    )  # fmt: skip


def test_the_blocklist_acts_as_set() -> None:
    hit = ListHit("blocklist", "example.org")
    assert decide(Policy(), THRESHOLDS, hit, None).action == "nxdomain"
    assert decide(Policy(blocklist_action="drop"), THRESHOLDS, hit, None).action == "drop"


def test_the_honeypot_list_answers_with_the_honeypot() -> None:
    verdict = decide(Policy(honeypot_answers=["192.0.2.53"]), THRESHOLDS, ListHit("honeypot", "example.org"), None)
    assert (verdict.action, verdict.answers, verdict.answer_ttl) == ("local-data", ["192.0.2.53"], 60)


def test_a_honeypot_name_without_a_honeypot_is_blocked() -> None:
    verdict = decide(Policy(), THRESHOLDS, ListHit("honeypot", "example.org"), None)
    assert (verdict.action, verdict.source) == ("nxdomain", "honeypot-list")


def test_a_list_applies_to_names_the_model_is_not_asked_for() -> None:
    verdict = decide(Policy(), THRESHOLDS, ListHit("blocklist", "malware.test"), "special-use")
    assert verdict.source == "blocklist"


def test_an_ineligible_name_passes() -> None:
    verdict = decide(Policy(), THRESHOLDS, None, "arpa", 1.0, 1.0)
    assert (verdict.label, verdict.action, verdict.source, verdict.rule) == ("benign", "passthru", "ineligible", "arpa")
