"""The lists that a training began with: it goes on with the same names alone."""

import json
import os
from pathlib import Path

from model.dataset import JUDGE, TEACH, TUNE, Corpus

LISTS = "lists.json"
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
    new = file.with_suffix(".new")
    new.write_text(json.dumps(given))
    os.replace(new, file)
