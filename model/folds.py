"""Cross-validation over the folds of families: each held out in turn from our network and from references.

All are trained anew and for the same time, so that of every family it is known how it is found by those that never saw
it; one fold alone has a dozen families. What each network found is written down, and not trained again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from model.dataset import JUDGE, TEACH, Corpus, require
from model.families import Family
from model.metrics import mean_of_groups, paired
from model.protocol import Judged, Progress, Score
from model.references import BUILDERS, fit, fit_ours, grouped, scoring, to_judge
from model.sampling import Sampler
from verdicts.files import READABLE, write_atomically

OURS = "segments"


class Found(msgspec.Struct, forbid_unknown_fields=True):
    """What one network found."""

    rows: int  # that it was trained with
    families: dict[str, dict[str, float]]  # "unseen 0.01" -> family -> share found of its registered domains


class Fold(msgspec.Struct, forbid_unknown_fields=True):
    """The file of one fold, `fold-N.json`."""

    held_out: int
    minutes: float
    judge: str  # digest of the judged names
    teach: str = ""  # of those that taught; empty in a file that was written before this stood there
    networks: dict[str, Found] = {}


def validate(
    load: Callable[[int], Corpus], folds: Sequence[int], references: Sequence[str], minutes: float,
    families: dict[str, Family], scored: Callable[[Any], Score], out: Path, progress: Progress,
) -> list[Fold]:  # fmt: skip
    """Train our network and the references for `minutes` of processor time with each fold held out, and judge them.

    `load` gives the corpus without a fold, `scored` the scores of a network of ours. What `out` already holds is not
    trained again; a network that is interrupted begins anew. Raises ValueError for a file in `out` of other lists or
    another time, or that is none.
    """
    out.mkdir(parents=True, exist_ok=True)
    done = []
    for held_out in folds:
        path = out / f"fold-{held_out}.json"
        corpus = load(held_out)
        require(corpus, "teach", "judge")
        fold = _read(path, Fold(held_out, minutes, corpus.digest(JUDGE), corpus.digest(TEACH)))
        judged, names = to_judge(corpus)
        for name in (OURS, *references):
            if name in fold.networks:
                continue
            if name == OURS:
                network, rows = fit_ours(corpus, minutes)
                score = scored(network)
            else:
                network, rows = fit(BUILDERS[name], Sampler(corpus, 0), minutes, 0, progress)
                score = scoring(network)
            hits = grouped(corpus, Judged(judged, score(names)), families, held_out, (1e-2, 1e-3))
            shares = {key: {f: round(float(h.mean()), 4) for f, h in of.items()} for key, of in hits.items()}
            fold.networks[name] = Found(rows, shares)
            write_atomically(path, msgspec.json.format(msgspec.json.encode(fold), indent=1) + b"\n", READABLE)
            progress({"fold": held_out, "judged": name, **means(fold.networks[name])})
        done.append(fold)
    return done


def table(folds: Sequence[Fold], references: Sequence[str]) -> str:
    """A row a fold and network, then what all folds together say of families never seen, and by how much ours leads:
    the difference and its 95 % interval by a paired bootstrap over families."""
    # Groups stand in a file in the order in which families were met, another one in each fold.
    asked = {key for fold in folds for key in fold.networks[OURS].families}
    keys = sorted(asked, key=lambda key: (-float(key.split()[1]), key))
    lines = ["\t".join(["fold", "network", "rows trained", "families never seen", *keys])]
    for fold in folds:
        for name in (OURS, *references):
            found = fold.networks[name]
            unseen = next((len(of) for key, of in found.families.items() if key.startswith("unseen")), 0)
            shares = means(found)
            cells = [f"{shares[key]:.3f}" if key in shares else "-" for key in keys]
            lines.append("\t".join([str(fold.held_out), name, str(found.rows), str(unseen), *cells]))
    for key in (key for key in keys if key.startswith("unseen")):
        ours = together(folds, OURS, key)
        for name in references:
            theirs = together(folds, name, key)
            lead = paired(ours, theirs)
            lines.append(
                f"{key}, all folds, {len(ours)} families: {OURS} {mean_of_groups(ours, 1).value:.3f}, "
                f"{name} {mean_of_groups(theirs, 1).value:.3f}, "
                f"lead {lead.value:+.3f} ({lead.low:+.3f} to {lead.high:+.3f})"
            )
    return "\n".join(lines)


def means(found: Found) -> dict[str, float]:
    """The mean over families, by group and rate."""
    return {key: round(float(np.mean(list(of.values()))), 4) for key, of in found.families.items()}


def together(folds: Sequence[Fold], name: str, key: str) -> list[Any]:
    """Of one network the families of all folds; a family is held out of one."""
    return [
        np.array([share])
        for fold in folds
        for _, share in sorted(fold.networks[name].families.get(key, {}).items())
    ]  # fmt: skip


def _read(path: Path, asked: Fold) -> Fold:
    if not path.exists():
        return asked
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Fold)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: {error}, expected what an evaluation of folds wrote; name another folder") from error
    if (found.held_out, found.minutes, found.judge) != (asked.held_out, asked.minutes, asked.judge):
        raise ValueError(
            f"{path}: of fold {found.held_out}, {found.minutes:g} minutes and judged names {found.judge[:12]}, "
            f"expected {asked.held_out}, {asked.minutes:g} and {asked.judge[:12]}; name another folder"
        )
    if found.teach not in ("", asked.teach):
        raise ValueError(
            f"{path}: of teaching names {found.teach[:12]}, expected {asked.teach[:12]}; name another folder"
        )
    return found
