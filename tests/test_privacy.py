"""Client addresses as they may be kept."""

from pathlib import Path

import pytest

from tests.stores import batch_of, observation
from verdicts.observations import check
from verdicts.privacy import BadKey, anonymised, anonymiser, keyed, read_key, truncated


@pytest.mark.parametrize(
    ("client", "kept"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2fe::9", "2001:db8:1:200::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("no address", ""),
    ],
)
def test_a_truncated_address_has_no_host_part(client: str, kept: str) -> None:
    assert truncated(client) == kept


def test_a_keyed_hash_is_the_same_for_a_client_and_differs_by_key() -> None:
    assert keyed("192.0.2.1", b"a" * 16) == keyed("192.0.2.1", b"a" * 16)
    assert len({keyed("192.0.2.1", b"a" * 16), keyed("192.0.2.1", b"b" * 16), keyed("192.0.2.2", b"a" * 16)}) == 3


@pytest.mark.parametrize("mode", ["truncated", "keyed"])
def test_a_row_without_a_client_gets_none(mode: str) -> None:
    """Under a key all of them were one client, of whom incidents were told."""
    change = anonymiser(mode, b"a" * 16)
    assert change is not None and change("") == ""


def test_an_anonymised_batch_still_adds_up() -> None:
    change = anonymiser("truncated")
    assert change is not None
    batch = anonymised(batch_of([observation(client=f"192.0.2.{i}") for i in range(5)]), change)
    check(batch)
    assert {row.client for row in batch.rows} == {"192.0.2.0"} and len(batch.rows) == 5


def test_whole_changes_nothing() -> None:
    assert anonymiser("whole") is None


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short\n")
    with pytest.raises(BadKey, match="5 octets, expected 16"):
        read_key(tmp_path / "key")
    with pytest.raises(BadKey, match="No such file"):
        read_key(tmp_path / "none")


def test_an_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="whole, truncated, keyed"):
        anonymiser("secret")
