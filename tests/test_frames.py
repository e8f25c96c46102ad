from hypothesis import given
from hypothesis import strategies as st

from serve_app.frames import FEW, frame_of, sort_frame
from verdicts.names import BadName, ineligible, normalise
from verdicts.policy import ListHit

LABELS = st.text("abcxyz019-_\\\n. \u00e9A", min_size=0, max_size=66)
NAMES = st.lists(st.lists(LABELS, min_size=1, max_size=5).map(".".join), min_size=1, max_size=8)
EXTRA = [
    "localhost",
    "a.test",
    "1.0.0.127.in-addr.arpa",
    "_sip._tcp.wikipedia.org",
    "example.com",
    "x.example.com",
    ".",
]


def normal(name: str) -> str | None:
    try:
        return normalise(name)
    except BadName:
        return None


@given(NAMES | st.just([]), st.lists(st.sampled_from(EXTRA), min_size=1, max_size=5), st.sampled_from([0, FEW]))
def test_a_frame_is_taken_as_its_names_are_taken_one_by_one(names: list[str], extra: list[str], filled: int) -> None:
    names = names + extra + ["wikipedia.org"] * filled
    frame = frame_of(names)
    parts = sort_frame(frame, {})
    expected = [normal(name) for name in names]
    assert frame.malformed == {index for index, name in enumerate(expected) if name is None}
    eligible = [i for i, name in enumerate(expected) if name is not None and ineligible(name) is None]
    assert (list(range(len(names))) if parts.asked is None else parts.asked) == eligible
    assert parts.payload == "\n".join(expected[i] or "" for i in eligible).encode()
    assert set(parts.ineligible) == set(range(len(names))) - set(eligible)


def test_plain_names_are_not_taken_apart() -> None:
    names = ["wikipedia.org", "a-b.c_d.example-9.net"]
    frame = frame_of(names * FEW)
    assert frame.suspects == []
    assert sort_frame(frame, {}).asked is None


def test_a_line_end_inside_a_name_does_not_make_two_names_of_it() -> None:
    frame = frame_of(["a.org\nb.org"] + ["c.org"] * FEW)
    assert frame.names[0] == "a.org\\010b.org"


def test_a_label_of_63_octets_is_plain_and_one_of_64_is_malformed() -> None:
    assert not frame_of(["a" * 63 + ".org"] * FEW).malformed
    assert frame_of(["a" * 64 + ".org"] + ["b.org"] * FEW).malformed == {0}


def test_a_name_of_253_characters_is_plain_and_one_of_254_is_malformed() -> None:
    long = ".".join(["a" * 49] * 5) + ".bcd"
    assert len(long) == 253
    assert not frame_of([long] * FEW).malformed
    assert frame_of([long + "e"] + ["b.org"] * FEW).malformed == {0}


def test_a_listed_name_is_not_asked() -> None:
    hit = ListHit("blocklist", "bad.org")
    parts = sort_frame(frame_of(["good.org", "bad.org"]), {1: hit})
    assert parts.asked == [0] and parts.hits == {1: hit} and parts.payload == b"good.org"
