"""Judges names as the cluster would, without one: a store's lists and policy, a registry's serving model."""

from collections.abc import Sequence

from model.artifact import Artifact
from model.scorer import Scorer
from serve_app.frames import frame_of, sort_frame
from verdicts.follower import Follower, View
from verdicts.names import split
from verdicts.policy import Thresholds, Verdict, decide
from verdicts.store import StateStore, Unavailable

BATCH_SIZES = (64, 1024)


class Offline:
    """`judge` gives verdicts as of one state of the lists and one model."""

    def __init__(self, store: StateStore, artifact: Artifact) -> None:
        """Read the decisions and compile the model. Raises `Unavailable` where the store does not answer."""
        follower = Follower(store)
        follower.poll()
        if not follower.loaded:
            raise Unavailable(follower.error)
        self.view: View = follower.view
        self.version = artifact.version
        self._thresholds: Thresholds = artifact.thresholds()
        self._scorer = Scorer(artifact, BATCH_SIZES)

    def judge(self, names: Sequence[str]) -> tuple[list[Verdict], str]:
        """The verdicts of names, in their order, and the model's version."""
        frame = frame_of(list(names))
        lists = self.view.lists
        hits = {i: hit for i, hit in enumerate(lists.match_frame(frame.names)) if hit} if len(lists) else {}
        parts = sort_frame(frame, hits)
        asked = range(len(names)) if parts.asked is None else parts.asked
        rows = self._scorer.encoding([frame.names[index] for index in asked])
        scores = dict(zip(asked, self._scorer(rows).tolist() if len(asked) else [], strict=True))
        verdicts = []
        for index, name in enumerate(frame.names):
            generated, score = scores.get(index, (0.0, 0.0))
            hit, reason = parts.hits.get(index), parts.ineligible.get(index)
            popular = self._popular(name)
            verdicts.append(decide(self.view.policy, self._thresholds, hit, reason, generated, score, popular))
        return verdicts, self.version

    def _popular(self, name: str) -> bool:
        rank = self.view.lists.rank(split(name).registered)
        return rank is not None and rank <= self.view.policy.prevalence_rank
