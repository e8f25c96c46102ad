"""The same name written otherwise: what an adversary or an accident does to it."""

import numpy as np

from verdicts.names import normalise, split

VARIANTS = ("as it is", "upper case", "www", "benign sub-label", "another TLD", "one edit", "homoglyph")
SUBLABELS = ("cdn", "mail", "api", "static", "img")
TLDS = ("com", "net", "org", "info", "de")
LOOKALIKES = str.maketrans("oile", "0113")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def vary(name: str, variant: str, rng: np.random.Generator) -> str:
    """One variant of a normalised name, normalised."""
    parts = split(name)
    label = parts.registered.partition(".")[0]
    head = parts.subdomain + "." if parts.subdomain else ""
    match variant:
        case "as it is":
            return name
        case "upper case":
            return normalise(name.upper())
        case "www":
            return "www." + name if len(name) < 240 else name
        case "benign sub-label":
            return f"{SUBLABELS[rng.integers(len(SUBLABELS))]}.{name}" if len(name) < 240 else name
        case "another TLD":
            return f"{head}{label}.{TLDS[rng.integers(len(TLDS))]}"
        case "one edit":
            at = int(rng.integers(len(label)))
            return f"{head}{label[:at]}{LETTERS[rng.integers(26)]}{label[at + 1 :]}.{parts.suffix}"
        case "homoglyph":
            return f"{head}{label.translate(LOOKALIKES)}.{parts.suffix}"
    raise ValueError(f"variant {variant!r}: expected one of {', '.join(VARIANTS)}")
