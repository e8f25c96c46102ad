"""`python -m model.fixed DATA --out FOLDER`: makes the two files that were fixed from this release's lists.

`families.json`: the families of generated names, and the fold of each (`splits/families.json`). It was fixed before any
training and stays so: a network's figures tell of families that it never saw. `profiles.json`: what the names of the
families that teach look like, for explanations.
"""

from pathlib import Path

import click
import numpy as np

from model.dataset import DGA, TEACH, Corpus, build, collect, members
from model.evaluate import HELD_OUT
from model.explain import write_profiles
from model.families import plan, read_plan, write_plan
from model.sources import sources_of

PROFILED = 100  # names of a family that make a profile
MOST = 5000  # names of a family that are looked at


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for both files.")
def main(data: Path, out: Path) -> None:
    """Make families.json and profiles.json from the lists below DATA."""
    sources = sources_of(data)
    out.mkdir(parents=True, exist_ok=True)
    families = out / "families.json"
    write_plan(plan(members(sources, data)), families)
    corpus = build(collect(sources, data), sources, read_plan(families), HELD_OUT)
    write_profiles(taught(corpus), out / "profiles.json")


def taught(corpus: Corpus) -> dict[str, list[str]]:
    """The names of each family that teaches, where they are enough for a profile."""
    rows = corpus.where(DGA, TEACH)
    families: dict[str, list[str]] = {}
    for number in np.unique(corpus.family[rows]):
        its = rows[corpus.family[rows] == number]
        if number >= 0 and len(its) >= PROFILED:
            families[corpus.families[number]] = [corpus.names[i] for i in its[:MOST]]
    return families


if __name__ == "__main__":
    main()
