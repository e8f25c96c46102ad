"""Names as rows of bytes."""

import time

import numpy as np
import pytest

from model.encoding import CLASSES, SEGMENT, UnknownEncoding, classes, encode_frame, encoder, joined
from verdicts import names
from verdicts.suffix import suffix_length

NAMES = ["example.com", "www.example.co.uk", "a.b.github.io", "com", "x.kawasaki.jp", "city.kawasaki.jp", "a.x.ck"]


def test_codepoints_are_the_characters_padded_with_zeros() -> None:
    row = encoder("codepoints-256")(["ab.example"])[0]
    assert bytes(row[:10]) == b"ab.example" and not row[10:].any() and row.shape == (256,)


def test_a_frame_and_a_list_of_names_give_the_same_rows() -> None:
    for name in ("codepoints-256", "segments-96"):
        assert (encoder(name)(NAMES) == encode_frame("\n".join(NAMES).encode(), name)).all()


def test_each_row_is_that_of_its_name_alone() -> None:
    for name in ("codepoints-256", "segments-96"):
        together = encoder(name)(NAMES)
        assert (together == np.concatenate([encoder(name)([n]) for n in NAMES])).all()


@pytest.mark.parametrize("name", ["codepoints-256", "segments-96"])
def test_narrow_rows_are_the_rows_without_what_is_zero_in_all(name: str) -> None:
    encoding = encoder(name)
    for frame in (NAMES, NAMES[3:4], [*NAMES, ".".join(["a" * 60] * 4)]):
        whole, narrow = encoding(frame), encoding.encode_narrow("\n".join(frame).encode())
        assert narrow.shape == (len(frame), min(max(map(len, frame)), encoding.width))
        assert (whole[:, : narrow.shape[1]] == narrow).all() and not whole[:, narrow.shape[1] :].any()


def test_frames_of_several_widths_are_joined() -> None:
    encoding = encoder("segments-96")
    frames = [encoding.encode_narrow(frame.encode()) for frame in ("com", "\n".join(NAMES), "a.b.github.io")]
    rows = joined(frames)
    assert rows.shape == (len(NAMES) + 2, 17) and (rows == encoding(["com", *NAMES, "a.b.github.io"])[:, :17]).all()
    assert (joined(frames[1:2]) == frames[1]).all()


def test_segments_mark_subdomain_registered_label_and_suffix() -> None:
    row = encoder("segments-96")(["www.example.co.uk"])[0]
    assert (row[:17] // SEGMENT).tolist() == [0] * 4 + [1] * 8 + [2] * 5
    assert (row[:17] % SEGMENT == classes()[np.frombuffer(b"www.example.co.uk", np.uint8)]).all()


def test_a_long_name_keeps_its_end() -> None:
    name = ".".join(["a" * 60] * 3 + ["example", "org"])
    row = encoder("segments-96")([name])[0]
    assert (row % SEGMENT == classes()[np.frombuffer(name[-96:].encode(), np.uint8)]).all()


def test_letters_of_either_case_are_one_class() -> None:
    assert (classes()[np.frombuffer(b"AZ", np.uint8)] == classes()[np.frombuffer(b"az", np.uint8)]).all()


def test_classes_leave_zero_to_padding_and_fit_a_segment() -> None:
    assert classes().min() == 1 and classes().max() == CLASSES - 1 < SEGMENT


def test_service_labels_are_taken_off() -> None:
    for name in ("codepoints-256", "segments-96"):
        assert (encoder(name)(["_sip._tcp.example.org"]) == encoder(name)(["example.org"])).all()


def test_no_names_are_no_rows() -> None:
    assert encoder("segments-96")([]).shape == (0, 96)


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(UnknownEncoding, match="morse"):
        encoder("morse")


@pytest.mark.parametrize(
    "name",
    [*NAMES, r"a\.b.example.org", r"\.com", "a.b.c.compute.amazonaws.com", "x.s3.amazonaws.com", "nosuchtld"],
)
def test_the_fast_suffix_is_the_library_s(name: str) -> None:
    assert suffix_length(name) == len(names.split(name).suffix)


def test_the_fast_suffix_is_the_library_s_at_each_of_its_rules() -> None:
    suffix = names._public_suffixes().publicsuffix
    for rule in names._public_suffixes()._publicsuffix:
        below = rule.lstrip("!").replace("*", "any")
        for name in (below, f"a.{below}", f"b.a.{below}", below.partition(".")[2]):
            if name:
                assert suffix_length(name) == len(suffix(name) or name), name


def test_half_a_million_names_a_second_are_encoded_for_the_seed_network() -> None:
    frame = "\n".join(f"host{i}.example{i % 97}.org" for i in range(50_000)).encode()
    best = 1e9
    for _ in range(5):
        started = time.process_time()
        encode_frame(frame, "codepoints-256")
        best = min(best, time.process_time() - started)
    assert 50_000 / best > 500_000
