"""model/fixed.py: the two files that were made of this release's lists."""

import json
from pathlib import Path

from click.testing import CliRunner

from model.families import read_plan
from model.fixed import PROFILED, main

SOURCES = """
[[source]]
path = "good.txt"
form = "plain"
kind = "benign"
use = "teach"
licence = "MIT"
reason = "-"

[[source]]
path = "dga.csv"
form = "csv"
kind = "dga"
use = "teach"
licence = "MIT"
reason = "-"
"""


def test_families_get_a_fold_and_those_that_teach_a_profile(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text(SOURCES)
    (tmp_path / "good.txt").write_text("".join(f"good{i}.com\n" for i in range(300)))
    rows = [f"{'bcdfg'[fold] * 8}{i}x.biz,f{fold}" for fold in range(5) for i in range(3 * PROFILED - fold)]
    (tmp_path / "dga.csv").write_text("name,family\n" + "\n".join([*rows, "few.biz,rare"]) + "\n")
    result = CliRunner().invoke(main, [str(tmp_path), "--out", str(tmp_path / "made")])
    assert result.exit_code == 0, result.output
    families = read_plan(tmp_path / "made" / "families.json")
    assert sorted(families) == ["f0", "f1", "f2", "f3", "f4", "rare"]
    profiles = json.loads((tmp_path / "made" / "profiles.json").read_text())
    assert set(profiles) == {name for name, family in families.items() if family.fold != 0} - {"rare"}
