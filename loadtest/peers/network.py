"""The seed network for the peers: our artifact and our scorer, so that all servers compute the same.

Runs in the peers' own environment; of this repository it needs `model` and `verdicts` alone.
"""

import os
from pathlib import Path

from model.artifact import Artifact
from model.registry import RELEASED
from model.scorer import Scorer, set_threads

SEED = RELEASED / "seed-2020"
FEATURES = Path(SEED / "model.keras")


def scorer() -> Scorer:
    """The compiled scorer, warm, on as many threads as VERDICT_PEER_THREADS says."""
    set_threads(int(os.environ.get("VERDICT_PEER_THREADS", "1")))  # before the network's first operation
    made = Scorer(Artifact.load(SEED))
    made.warm_up()
    return made


def verdicts(made: Scorer, names: list[str]) -> list[dict[str, object]]:
    """What a peer answers for each name: as little as its users would."""
    scores = made(made.encoding([name.lower() for name in names]))[:, 1].tolist()
    return [{"score": round(score, 6), "label": "malicious" if score >= 0.5 else "benign"} for score in scores]
