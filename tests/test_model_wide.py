"""What the wide parts of a network say, beside what the same is by hand."""

from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from model.encoding import encoder
from model.network import build
from model.plan import Plan
from model.train import _copied
from model.wide import (
    BESIDE,
    BUCKETS,
    COUNTS,
    FORM_BUCKETS,
    HEADS,
    LEAK,
    LENGTHS,
    PRIME,
    START,
    by_words,
    forms,
    plain_of,
    raise_above,
    words_of,
)
from tests.model_fixtures import SMALL, weigh

pytestmark = pytest.mark.patient

NAMES = ["login-bank.example.top", "a.b.co.uk", "x.com", "z", "www.a.cafe-0f.ru", "k9qzxw7v2.info"]


@pytest.fixture(autouse=True)
def same_networks() -> None:
    keras.utils.set_random_seed(0)


def encoded(names: list[str]) -> NDArray[np.int32]:
    return encoder("segments-96")(names).astype(np.int32)


def with_wide(network: Any, buckets: int, heads: list[str]) -> Any:
    return _copied(network, Plan(shape=msgspec.structs.replace(SMALL, grams=buckets, worded=heads)))


def by_hand(tokens: list[int], head: str, buckets: int, tables: list[NDArray[np.float32]]) -> float:
    marked, found = [START, *tokens], []
    for length in range(LENGTHS[head][0], LENGTHS[head][1] + 1):
        for at in range(len(marked) - length + 1):
            code = 0
            for token in marked[at : at + length]:
                code = (code * PRIME + token) % buckets
            found.append(tables[0][code])
    said = sum(found) / np.sqrt(max(len(found), 1))
    for table in tables[1:]:
        codes = np.asarray(forms(np.array([tokens], np.int32)))[0]
        said += table[codes].sum() / np.sqrt(len(codes))
    return float(said)


@pytest.mark.parametrize("buckets", [1009, max(BUCKETS.values())])
@pytest.mark.parametrize("head", HEADS)
def test_the_wide_part_is_the_sum_of_what_is_there_by_the_root_of_their_number(head: str, buckets: int) -> None:
    plain = build(SMALL)
    network = with_wide(plain, buckets, [head])
    tables = weigh(network, head)
    x = encoded(NAMES)
    before, after, taught = (np.asarray(found(x)) for found in (plain, network, by_words(network, head)))
    said, alone = (np.asarray(part(network, head)(x)) for part in (words_of, plain_of))
    column, other = (0, 1) if head == "generated" else (1, 0)
    assert after[:, other] == pytest.approx(before[:, other], abs=1e-6)
    assert (taught[:, other] == after[:, other]).all()
    for row, of_all in enumerate(before[:, column]):
        wide = by_hand(x[row][x[row] > 0].tolist(), head, min(buckets, BUCKETS[head]), tables)
        assert (said[row, 0], alone[row, 0]) == pytest.approx((wide, of_all), abs=1e-4)
        assert taught[row, column] == pytest.approx(BESIDE[head] * of_all + wide, abs=1e-4)
        if head == "malicious":
            assert after[row, column] == pytest.approx(COUNTS * of_all + wide, abs=1e-4)


def test_what_is_raised_stays_in_order_and_about_below_the_ceiling() -> None:
    plain = build(SMALL)
    network = with_wide(plain, 1009, ["generated"])
    weigh(network, "generated")
    x = encoded([f"{a}{b}{c}.{suffix}" for a in "abq" for b in "x7k" for c in "zow" for suffix in ("com", "ru", "top")])
    before = np.asarray(plain(x))[:, 0]
    said = np.asarray(words_of(network, "generated")(x))[:, 0]
    least, ceiling = float(np.quantile(said, 0.4)), float(np.quantile(before, 0.7))
    raise_above(network, least, ceiling)
    after = np.asarray(network(x))[:, 0]
    raised = before + np.maximum(said - least, 0)
    expected = np.maximum(before, np.where(raised > ceiling, ceiling + LEAK * (raised - ceiling), raised))
    assert after == pytest.approx(expected, abs=1e-5)
    assert (after >= before - 1e-6).all() and (after > before + 0.1).any() and (raised > ceiling + 0.1).any()


def test_a_second_wide_part_leaves_the_first_as_it_was() -> None:
    one = with_wide(build(SMALL), 1009, ["malicious"])
    weigh(one, "malicious")
    both = with_wide(one, 1009, HEADS)
    x = encoded(NAMES)
    assert np.asarray(both(x)) == pytest.approx(np.asarray(one(x)), abs=1e-5)


def test_the_forms_of_a_name() -> None:
    """Names that differ in what a form tells have another hash there, and the same where it does not."""

    def of(name: str) -> list[int]:
        return np.asarray(forms(encoded([name])))[0].tolist()  # type: ignore[no-any-return]

    suffix, length, both, made_of, where, whole, mixed, below = range(8)
    every = {suffix, length, both, made_of, where, whole, mixed, below}

    def differing(one: str, other: str) -> set[int]:
        return {at for at, (a, b) in enumerate(zip(of(one), of(other), strict=True)) if a != b}

    assert differing("kzwrtpsm.ru", "ngbvxqlh.ru") == set()  # eight letters, no vowel, some beyond f
    assert differing("kzwrtpsm.ru", "kzwrtpsm.com") == {suffix, both, where, whole, mixed, below}
    assert differing("kzwrtpsm.ru", "kzwrtpsmm.ru") == {length, both, made_of, whole, mixed}
    assert differing("kzwrtpsm.ru", "kz7rtpsm.ru") == {made_of, where, whole, mixed}
    assert differing("bcdbcdbc.ru", "kzwrtpsm.ru") == {made_of, where, whole, mixed}  # hexadecimal
    assert differing("kzwrtpsm.ru", "aeiotpsm.ru") == {mixed}
    assert differing("kzwrtpsm.ru", "www.kzwrtpsm.ru") == {below}
    assert differing("www.kzwrtpsm.ru", "a.b.kzwrtpsm.ru") == {below}
    assert differing("x" * 41 + ".ru", "x" * 50 + ".ru") == set()
    assert differing("kzwrtpsm.co.uk", "kzwrtpsm.org.uk") <= every - {length, made_of}
    many = [f"k{'z' * n}.{suffix}" for n in range(30) for suffix in ("ru", "com", "top", "co.uk", "cn")]
    codes = np.asarray(forms(encoded(many)))
    assert 0 <= codes.min() and codes.max() < FORM_BUCKETS
    assert len(np.unique(codes)) == 3 * 150 + 2 * 30 + 3 * 5  # none meets another
