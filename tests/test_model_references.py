"""The references take names and give one logit."""

import numpy as np
import pytest

from model.encoding import encoder
from model.references import BUILDERS, WIDTH, characters, of_tokens

pytestmark = pytest.mark.patient


def test_references_see_the_end_of_a_name_without_its_segments() -> None:
    long = ".".join(["a" * 60, "b" * 20, "com"])
    rows = characters(["ab.com", long])
    assert rows.shape == (2, WIDTH) and rows[0, :6].tolist() == [1, 2, 39, 3, 15, 13] and not rows[0, 6:].any()
    assert rows[1, -1] == 13 and (rows == of_tokens(encoder("segments-96")(["ab.com", long]))).all()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("woodbridge", 41 * 128 + 4 * 128 * (128 + 128 + 1) + 129),
        ("drichel", 41 * 128 + 2 * (4 * 128 * 128 + 128) + 129),
        ("yu", 41 * 128 + 3 * 128 * 128 + 128 + 64 * 128 * 64 + 64 + 65),
        ("ngrams", 65_536 + 2),
    ],
)
def test_a_reference_is_as_its_paper_says(name: str, parameters: int) -> None:
    network = BUILDERS[name]()
    assert network.count_params() == parameters
    assert np.asarray(network(characters(["example.org", "kq3v9z.info"]))).shape == (2, 1)
