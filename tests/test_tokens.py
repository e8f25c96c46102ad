"""verdicts/tokens.py: what is issued is believed, and nothing else."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from serve_app.token_commands import tokens as commands
from tests.stores import sqlite_url
from verdicts.store import Document, Store, open_store
from verdicts.tokens import (
    BadToken,
    Forbidden,
    Identity,
    Issued,
    Tokens,
    Unauthorised,
    described,
    issue,
    revoke,
    rotate,
)

NOW = 1_700_000_000_000


def bearer(issued: Issued) -> str:
    return f"Bearer {issued.text}"


def test_an_issued_token_names_who_asks() -> None:
    issued = issue("resolver", "lab", NOW)
    assert Tokens([issued.document]).check(bearer(issued), "resolver") == Identity(
        issued.document.key, "resolver", "lab"
    )


def test_the_secret_has_256_bits_and_is_not_in_the_document() -> None:
    issued = issue("admin", "root", NOW)
    secret = issued.text.split("_", 2)[2]
    assert len(secret) == 43 and secret not in repr(issued.document)


@pytest.mark.parametrize(
    ("role", "passes"),
    [
        ("resolver", {"resolver"}),
        ("viewer", {"viewer"}),
        ("analyst", {"viewer", "analyst"}),
        ("admin", {"viewer", "analyst", "admin"}),
    ],
)
@pytest.mark.parametrize("asked", ["resolver", "viewer", "analyst", "admin"])
def test_a_role_passes_for_those_below_it_and_a_resolver_only_for_itself(
    role: str, passes: set[str], asked: str
) -> None:
    issued = issue(role, "someone", NOW)
    tokens = Tokens([issued.document])
    if asked in passes:
        assert tokens.check(bearer(issued), asked).role == role
    else:
        with pytest.raises(Forbidden, match=asked):
            tokens.check(bearer(issued), asked)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer verdict_000000000000_short",
        "Bearer " + "x" * 100_000,
    ],
    ids=["absent", "empty", "scheme only", "blank", "basic", "short secret", "huge"],
)
def test_what_is_no_token_is_unauthorised(header: str | None) -> None:
    with pytest.raises(Unauthorised, match="expected the header"):
        Tokens([issue("admin", "root", NOW).document]).check(header, "admin")


def test_another_tokens_secret_is_unauthorised() -> None:
    one, other = issue("admin", "root", NOW), issue("admin", "root", NOW)
    mixed = f"Bearer verdict_{one.document.key}_{other.text.split('_', 2)[2]}"
    with pytest.raises(Unauthorised, match=one.document.key):
        Tokens([one.document, other.document]).check(mixed, "admin")


def test_an_unknown_id_is_unauthorised() -> None:
    with pytest.raises(Unauthorised):
        Tokens().check(bearer(issue("admin", "root", NOW)), "admin")


def test_no_error_repeats_the_secret() -> None:
    issued = issue("viewer", "eve", NOW)
    for tokens in (Tokens(), Tokens([issued.document])):
        with pytest.raises((Unauthorised, Forbidden)) as caught:
            tokens.check(bearer(issued), "admin")
        assert issued.text.split("_", 2)[2] not in str(caught.value)


def test_the_scheme_is_compared_without_case() -> None:
    issued = issue("viewer", "eve", NOW)
    assert Tokens([issued.document]).check(f"bearer {issued.text}", "viewer").name == "eve"


def test_an_expired_token_is_unauthorised_from_its_expiry_on() -> None:
    issued = issue("viewer", "eve", NOW, expires=NOW + 10)
    tokens = Tokens([issued.document])
    assert tokens.check(bearer(issued), "viewer", now=NOW + 9).name == "eve"
    with pytest.raises(Unauthorised):
        tokens.check(bearer(issued), "viewer", now=NOW + 10)


def test_a_revoked_token_is_unauthorised() -> None:
    issued = issue("viewer", "eve", NOW)
    with pytest.raises(Unauthorised):
        Tokens([revoke(issued.document)]).check(bearer(issued), "viewer")


def test_a_rotated_token_has_a_successor_for_the_same_one_and_ends_after_its_grace() -> None:
    old = issue("resolver", "lab", NOW)
    new, documents = rotate(old.document, NOW, grace=1000)
    tokens = Tokens(documents)
    assert tokens.check(bearer(new), "resolver", now=NOW + 5000).name == "lab"
    assert tokens.check(bearer(old), "resolver", now=NOW + 999).name == "lab"
    with pytest.raises(Unauthorised):
        tokens.check(bearer(old), "resolver", now=NOW + 1000)


def test_the_help_of_a_rotation_tells_that_the_old_token_ends_at_once() -> None:
    """Who leaves --grace out locks the holder out; the help did not say so."""
    assert "[default: 0;" in CliRunner().invoke(commands, ["rotate", "--help"]).output


def test_a_rotation_without_grace_ends_the_old_token_at_once() -> None:
    old = issue("resolver", "lab", NOW)
    _, documents = rotate(old.document, NOW)
    with pytest.raises(Unauthorised):
        Tokens(documents).check(bearer(old), "resolver", now=NOW)


def test_a_rotation_never_lengthens_a_token() -> None:
    old = issue("viewer", "eve", NOW, expires=NOW + 100)
    new, documents = rotate(old.document, NOW, grace=1000)
    with pytest.raises(Unauthorised):
        Tokens(documents).check(bearer(old), "viewer", now=NOW + 100)
    with pytest.raises(Unauthorised):
        Tokens(documents).check(bearer(new), "viewer", now=NOW + 100)


def test_what_is_shown_of_a_token_has_no_hash() -> None:
    document = issue("viewer", "eve", NOW, note="for the screen in the hall").document
    shown = described(document)
    assert shown["id"] == document.key and shown["note"] == "for the screen in the hall" and "hash" not in shown


def test_a_token_of_a_role_of_a_newer_release_is_shown_and_hides_no_other() -> None:
    document = issue("viewer", "eve", NOW).document
    newer = msgspec.structs.replace(document, body={**(document.body or {}), "role": "auditor"})
    assert described(newer) == {**described(document), "role": "auditor"}


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("role", ("root", "lab", NOW)),
        ("name", ("viewer", "", NOW)),
        ("name", ("viewer", "a b", NOW)),
        ("name", ("viewer", "x" * 64, NOW)),
        ("expires", ("viewer", "eve", NOW, NOW)),
        ("note", ("viewer", "eve", NOW, None, "x" * 201)),
    ],
)
def test_a_bad_field_is_named(field: str, arguments: tuple[str, str, int]) -> None:
    with pytest.raises(BadToken, match=f"^{field}"):
        issue(*arguments)


def test_a_document_that_is_no_token_grants_nothing_and_disturbs_no_other() -> None:
    issued = issue("viewer", "eve", NOW)
    tokens = Tokens([Document("token", "k1", {"role": "god"}), issued.document])
    assert len(tokens) == 1 and tokens.check(bearer(issued), "viewer").name == "eve"


def test_a_token_is_rotated_once_and_then_its_successor_is() -> None:
    """A second successor would end with the grace of the first rotation, without a word to whoever holds it."""
    old = issue("resolver", "edge-1", NOW)
    new, [_, ending] = rotate(old.document, NOW, grace=1000)
    with pytest.raises(BadToken, match=f"successor {new.document.key}"):
        rotate(ending, NOW, grace=1000)
    assert rotate(new.document, NOW, grace=1000)[0].document.body["expires"] is None


def test_a_removed_token_cannot_be_rotated() -> None:
    with pytest.raises(BadToken, match="k1"):
        rotate(Document("token", "k1", None), NOW)


def test_a_token_that_is_revoked_during_its_rotation_stays_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_url(tmp_path)
    opened: list[Store] = []
    monkeypatch.setattr("serve_app.token_commands.open_store", lambda url: opened.append(open_store(url)) or opened[-1])

    def rotated(document: Document, now: int, grace: int) -> tuple[Issued, list[Document]]:
        opened[-1].commit([revoke(document)], "somebody else")
        return rotate(document, now, grace)

    monkeypatch.setattr("serve_app.token_commands.rotate", rotated)
    store = open_store(url)
    store.initialise()
    issued = issue("resolver", "lab", NOW)
    store.commit([issued.document], "root")
    store.close()
    done = CliRunner().invoke(commands, ["--store", url, "rotate", issued.document.key, "--grace", "1"])
    assert done.exit_code == 1 and "changed at epoch 2, expected at most 1" in done.output
    store = open_store(url, readonly=True)
    assert list(store.scan("token")) == []
    store.close()
