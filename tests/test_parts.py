"""`python -m tests` runs its parts by the files in which their marks are given: so that none is left out."""

import re
from pathlib import Path

import pytest

from tests.__main__ import files

FILES = [path for path in Path(__file__).parent.rglob("*.py") if path != Path(__file__)]


def test_a_mark_of_a_part_is_given_in_the_file_of_its_tests() -> None:
    found = {str(path) for path in FILES if re.search(r"mark\W+(cluster|e2e|patient)\b|add_marker\(", path.read_text())}
    assert found == {*files("cluster", "e2e", "patient")}


@pytest.mark.parametrize("file", files("patient"), ids=lambda file: Path(file).stem)
def test_what_is_patient_is_so_as_a_whole_file(file: str) -> None:
    assert re.search(r"^pytestmark = (\[\s*)?pytest\.mark\.patient\b", Path(file).read_text(), re.MULTILINE)
