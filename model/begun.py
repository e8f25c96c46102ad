"""The lists that a training began with: it goes on with the same names alone, and what taught it knew no others."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from model.artifact import Artifact
from model.dataset import JUDGE, TEACH, TUNE, Corpus
from verdicts.files import READABLE, write_atomically

LISTS = "lists.json"
OTHER = "other_lists"  # in a manifest's metrics: versions that it came of, of other lists
PARTS = (("teach", TEACH), ("tune", TUNE), ("judge", JUDGE))


class OtherLists(ValueError):
    """A run whose epochs before were taught by other names than those it would go on with; the message says which."""


def digests_of_parts(corpus: Corpus) -> dict[str, str]:
    """Of the names that teach, tune and judge, as a manifest states them."""
    return {name: corpus.digest(part) for name, part in PARTS}


def same_lists(corpus: Corpus, run: Path) -> None:
    """Note the lists of a run, or raise `OtherLists` where it goes on from a checkpoint of others.

    Its manifest would state those of the last epoch alone. `corpus`: the whole, before a sample is drawn of it.
    """
    file = run / LISTS
    lists = {source.path: corpus.digest_of_source(number) for number, source in enumerate(corpus.sources)}
    given = {"lists": lists, "parts": digests_of_parts(corpus)}
    if file.exists() and (run / "state.json").exists():
        before = json.loads(file.read_text())
        changed = sorted(path for path in before["lists"] | lists if before["lists"].get(path) != lists.get(path))
        parts = [name for name, _ in PARTS if before["parts"].get(name) != given["parts"][name]]
        if changed or parts:
            what = f"names of {', '.join(changed)}" if changed else f"names to {', '.join(parts)}"
            raise OtherLists(
                f"{run}: other {what} than those it was begun with; expected the lists as they were, or a new folder"
            )
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(given).encode(), READABLE)


def of_other_lists(parents: Sequence[Artifact], judged: Mapping[int, str]) -> list[str]:
    """The versions of these, and of what they came of, that names which judge here may have taught.

    `judged`: by the fold that a parent held out, the digest of the names that judge with that fold held out.
    """
    found: set[str] = set()
    for parent in parents:
        found.update(parent.manifest.metrics.get(OTHER, []))
        if parent.manifest.splits.get("judge") != judged[parent.manifest.held_out]:
            found.add(parent.version)
    return sorted(found)


def came_of(versions: Sequence[str]) -> str:
    """What is to be known of a network that came of these, one sentence."""
    return (
        f"It came of {', '.join(versions)}, in whose manifest other judged names stand: some of those that judge it "
        "here may have taught it."
    )
