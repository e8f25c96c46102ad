"""Before a candidate serves: logged names asked again, and a guard set it must pass."""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

import msgspec

from model.artifact import Artifact
from model.scorer import Scorer, Scores
from verdicts.names import ineligible, normalise, strip_service
from verdicts.policy import Policy, Thresholds, Verdict, decide, tier_of

BATCH = 1024  # names
GUARD = Path(__file__).parent / "guard.txt"
MISSED = 0.5  # share of the guard set's generated names that a candidate may miss


class Change(msgspec.Struct, frozen=True):
    """A verdict that the candidate would change, and how many queries it had."""

    name: str
    count: int
    before: str  # tier
    after: str
    rule: str  # of the verdict after
    generated_before: float
    generated_after: float
    score_before: float
    score_after: float


class Replay(msgspec.Struct):
    """What a replay found. `names` and `queries` were asked again; `changes` is complete."""

    names: int = 0
    queries: int = 0
    before: dict[str, int] = msgspec.field(default_factory=lambda: {"none": 0, "alert": 0, "block": 0})  # queries
    after: dict[str, int] = msgspec.field(default_factory=lambda: {"none": 0, "alert": 0, "block": 0})
    changes: list[Change] = []


def replay(
    names: Iterable[tuple[str, int]],
    serving: Scorer,
    candidate: Scorer,
    policy: Policy = Policy(),  # noqa: B008
    popular: Collection[str] = (),
) -> Replay:
    """Ask both models for each distinct normalised name and its number of queries; ineligible names are left out.

    Thresholds are those of `policy` where an administrator set them, else each artifact's own. `popular` are the names
    that the prevalence list caps at alert. Names that lists decide are the caller's to leave out: no model changes
    their verdict.
    """
    report = Replay()
    for batch in _batches(names):
        asked = [name for name, _ in batch]
        old, new = (scorer(scorer.encoding(asked)) for scorer in (serving, candidate))
        for row, (name, count) in enumerate(batch):
            before, after = (
                _verdict(policy, scorer, scores, row, name in popular)
                for scorer, scores in ((serving, old), (candidate, new))
            )
            report.names += 1
            report.queries += count
            report.before[before.tier] += count
            report.after[after.tier] += count
            if before.tier != after.tier:
                report.changes.append(
                    Change(name, count, before.tier, after.tier, after.rule, before.generated, after.generated,
                           before.score, after.score)
                )  # fmt: skip
    return report


def guard(artifact: Artifact, in_force: Thresholds | None = None) -> list[str]:
    """What is wrong with a candidate by the guard set, one sentence each; empty when nothing is.

    No benign name of the set may be flagged, by the thresholds `in_force` where an administrator set some; and of the
    generated ones it must flag half by its own, for what he lets pass is no fault of it.
    """
    scorer = Scorer(artifact, batch_sizes=(256,))
    benign, generated = guard_set()
    scores = scorer(scorer.encoding([*benign, *generated]))
    own = artifact.thresholds()
    tiers = [tier_of(in_force or own, float(g), float(s))[0] for g, s in scores[: len(benign)]]
    wrong = [f"{name} would be tier {tier}" for name, tier in zip(benign, tiers, strict=True) if tier != "none"]
    missed = sum(tier_of(own, float(g), float(s))[0] == "none" for g, s in scores[len(benign) :])
    if missed > MISSED * len(generated):
        wrong.append(f"{missed} of {len(generated)} generated names would pass, expected at most half")
    return wrong


@lru_cache(maxsize=1)
def guard_set() -> tuple[list[str], list[str]]:
    """The guard set: benign names, and generated ones (marked `!` in the file)."""
    lines = [line for line in GUARD.read_text().splitlines() if line and not line.startswith("#")]
    return (
        [normalise(line) for line in lines if not line.startswith("!")],
        [normalise(line[1:]) for line in lines if line.startswith("!")],
    )


def _verdict(policy: Policy, scorer: Scorer, scores: Scores, row: int, popular: bool) -> Verdict:
    thresholds = policy.thresholds or scorer.artifact.thresholds()
    return decide(policy, thresholds, None, None, float(scores[row, 0]), float(scores[row, 1]), popular)


def _batches(names: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    eligible = ((name, count) for name, count in names if ineligible(strip_service(name)) is None)
    while batch := list(islice(eligible, BATCH)):
        yield batch
