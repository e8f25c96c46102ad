"""Which kinds of benign names are hard: false positives by shape and by source, with examples.

A kind is a property of the name alone, so that an operator can tell whether traffic has more of it than the lists.
"""

import re
from typing import Any

import numpy as np

from model.dataset import BENIGN, Corpus
from model.protocol import Judged
from verdicts.names import split

EXAMPLES = 5
FEW = 200  # judged names below which a kind's rate says too little

_LETTERS = re.compile(r"[a-z]+")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}")
_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{8,}")


def kinds(name: str) -> list[str]:
    """The kinds that a normalised name is of; a name may be of several or of none."""
    parts = split(name)
    label = parts.registered.partition(".")[0]
    labels = name.split(".")
    found = {
        "registered label of 4 characters or fewer": len(label) <= 4,
        "registered label of 16 characters or more": len(label) >= 16,
        "registered label of digits": label.isdigit(),
        "registered label of letters and digits": not label.isdigit() and any(c.isdigit() for c in label),
        "five consonants in a row": bool(_CONSONANTS.search(label)),
        "no vowel": bool(_LETTERS.search(label)) and not set(label) & set("aeiouy"),
        "hexadecimal label": any(_HEX.fullmatch(part) for part in labels),
        "internationalised": any(part.startswith("xn--") for part in labels),
        "five labels or more": len(labels) >= 5,
        "under a country's suffix": len(parts.suffix.rpartition(".")[2]) == 2,
        "subdomain": bool(parts.subdomain),
    }
    return [kind for kind, holds in found.items() if holds]


def hard_benign(corpus: Corpus, judged: Judged, generated: float, malicious: float) -> dict[str, Any]:
    """Of each kind and source of judged benign names: how many, the share each head flags at these thresholds, and
    the names that `generated` scores highest. Kinds of fewer than 200 names are left out."""
    benign = np.flatnonzero(corpus.kind[judged.rows] == BENIGN)
    places: dict[str, list[int]] = {}
    for place in benign.tolist():
        row = judged.rows[place]
        for kind in (*kinds(corpus.names[row]), corpus.sources[corpus.source[row]].path):
            places.setdefault(kind, []).append(place)
    report = {}
    for kind, found in sorted(places.items()):
        if len(found) >= FEW:
            scores = judged.scores[found]
            worst = np.argsort(-scores[:, 0], kind="stable")[:EXAMPLES]
            report[kind] = {
                "names": len(found),
                "generated": round(float((scores[:, 0] >= generated).mean()), 5),
                "malicious": round(float((scores[:, 1] >= malicious).mean()), 5),
                "highest": [corpus.names[judged.rows[found[i]]] for i in worst],
            }
    return report
