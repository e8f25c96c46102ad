"""`verdict lists` and `verdict store` on a store of their own."""

import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.stores import now, observation, promise, records, sqlite_url
from verdicts.list_commands import lists
from verdicts.list_holders import Direct
from verdicts.store import Unavailable, open_store
from verdicts.store_commands import store


def run(tmp_path: Path, command: str, *arguments: str, given: str = "", create: bool = True) -> Result:
    url = sqlite_url(tmp_path)
    if create and not (tmp_path / "verdict.db").exists():
        CliRunner().invoke(store, ["--store", url, "init"])
    group = lists if command == "lists" else store
    return CliRunner().invoke(group, ["--store", url, *arguments], input=given)


@pytest.mark.parametrize("given", ["", "<html>\n<p>502 Bad Gateway</p>\n</html>\n"])
@pytest.mark.parametrize("name", ["prevalence", "blocklist"])
def test_a_source_that_answers_no_list_changes_nothing_and_fails(tmp_path: Path, name: str, given: str) -> None:
    run(tmp_path, "lists", "import", name, "-", given="google.com\n")
    failed = run(tmp_path, "lists", "import", name, "-", given=given)
    assert failed.exit_code == 1 and "nothing was changed" in failed.output
    assert run(tmp_path, "lists", "export", name).output == "google.com\n"


def test_entries_are_added_shown_and_removed(tmp_path: Path) -> None:
    assert run(tmp_path, "lists", "add", "blocklist", "Bad.org", "--note", "why", "--days", "3").exit_code == 0
    shown = run(tmp_path, "lists", "show").output.split("\t")
    assert shown[:2] == ["blocklist", "bad.org"] and shown[-1] == "why\n"
    assert run(tmp_path, "lists", "remove", "blocklist", "bad.org").exit_code == 0
    assert run(tmp_path, "lists", "show").output == ""


def test_an_import_tells_bad_rows_and_takes_the_rest(tmp_path: Path) -> None:
    result = run(tmp_path, "lists", "import", "blocklist", "-", given="good.org\nco.uk\nfine.org\n")
    assert result.exit_code == 0
    assert "line 2: name 'co.uk': a public suffix" in result.output
    assert "2 into blocklist (plain) in " in result.output and result.output.endswith(" s, 1 left out\n")


def test_an_import_leaves_out_what_has_expired_and_a_removal_does_not(tmp_path: Path) -> None:
    given = "suffix,note,expires\nold.org,,1600000000000\nnew.org,,\n"
    result = run(tmp_path, "lists", "import", "blocklist", "-", given=given)
    assert "1 into blocklist" in result.output and "1 left out" in result.output
    assert "line 2: 'old.org': expired" in result.output
    removed = run(tmp_path, "lists", "remove", "blocklist", "--file", "-", "--form", "csv", given=given)
    assert "2 names are on blocklist no more" in removed.output


def test_an_import_that_is_interrupted_says_what_is_in_and_the_same_again_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("list_holders", "list_commands"):
        monkeypatch.setattr(f"verdicts.{module}.CHUNK", 3)
    given = "".join(f"n{number}.org\n" for number in range(8))
    pressed = iter([False, True, False, False, False])
    commit, handler = Direct._commit, signal.getsignal(signal.SIGINT)

    def pressing(*arguments: Any) -> int:
        if next(pressed):
            signal.raise_signal(signal.SIGINT)  # while the second part is written
        return commit(*arguments)

    monkeypatch.setattr(Direct, "_commit", pressing)
    stopped = run(tmp_path, "lists", "import", "blocklist", "-", given=given)
    assert stopped.exit_code == 1
    assert "Stopping once what is on its way is answered" in stopped.output
    assert "the first 6 of 8 names, in their order, are in: interrupted. The same command again" in stopped.output
    names = [line.split("\t")[1] for line in run(tmp_path, "lists", "show").output.splitlines()]
    assert names == [f"n{number}.org" for number in range(6)]
    assert "8 into blocklist" in run(tmp_path, "lists", "import", "blocklist", "-", given=given).output
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_import_is_taken_back_by_its_file(tmp_path: Path) -> None:
    run(tmp_path, "lists", "add", "blocklist", "own.org")
    given = "0.0.0.0 a.org\n0.0.0.0 b.org c.org\n"
    run(tmp_path, "lists", "import", "blocklist", "-", given=given)
    assert run(tmp_path, "lists", "remove", "blocklist", "--file", "-", given=given).output.endswith(
        "3 names are on blocklist no more\n"
    )
    assert run(tmp_path, "lists", "export", "blocklist").output == "own.org\n"
    assert run(tmp_path, "lists", "remove", "blocklist").exit_code == 2


def test_an_import_that_fails_says_what_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("list_holders", "list_commands"):
        monkeypatch.setattr(f"verdicts.{module}.CHUNK", 3)
    working = iter([True, False, True, False])
    commit = Direct._commit

    def failing(*arguments: Any) -> int:
        if not next(working):
            raise Unavailable("disk full")
        return commit(*arguments)

    monkeypatch.setattr(Direct, "_commit", failing)
    failed = run(tmp_path, "lists", "import", "benign", "-", given="a.org\nb.org\nc.org\nd.org\n")
    assert failed.exit_code == 1
    assert (
        "the first 3 of 4 names, in their order, are in (of the next part all may be, or none): disk full."
        in failed.output
    )
    assert "3 removed from benign" in run(tmp_path, "lists", "remove", "benign", "a.org", "b.org", "c.org").output
    failed = run(tmp_path, "lists", "add", "benign", "a.org")
    assert failed.output == "Error: disk full\n"


@pytest.mark.parametrize("form", ["plain", "hosts", "rpz", "adguard", "csv"])
def test_an_export_can_be_imported(tmp_path: Path, form: str) -> None:
    run(tmp_path, "lists", "add", "blocklist", "a.org", "b.org")
    exported = run(tmp_path, "lists", "export", "blocklist", "--form", form).output
    assert "2 into benign" in run(tmp_path, "lists", "import", "benign", "-", "--form", form, given=exported).output


@pytest.mark.parametrize("form", ["rpz", "adguard"])
def test_the_benign_list_is_exported_as_exceptions_which_no_blocklist_takes(tmp_path: Path, form: str) -> None:
    run(tmp_path, "lists", "add", "benign", "a.org", "b.org")
    exported = run(tmp_path, "lists", "export", "benign", "--form", form).output
    assert "2 into benign" in run(tmp_path, "lists", "import", "benign", "-", "--form", form, given=exported).output
    refused = run(tmp_path, "lists", "import", "blocklist", "-", "--form", form, given=exported).output
    assert "no name for blocklist" in refused and "an exception" in refused


def test_the_prevalence_list_is_replaced_as_a_whole(tmp_path: Path) -> None:
    run(tmp_path, "lists", "import", "prevalence", "-", given="1,google.com\n2,bbc.co.uk\n3,a.org\n")
    run(tmp_path, "lists", "import", "prevalence", "-", "--limit", "2", given="1,b.org\n2,google.com\n3,a.org\n")
    assert run(tmp_path, "lists", "export", "prevalence", "--form", "top").output == "1,b.org\n2,google.com\n"


def test_a_bad_name_on_the_command_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    result = run(tmp_path, "lists", "add", "benign", "com")
    assert result.exit_code == 1 and "name 'com': a public suffix" in result.output


def test_a_store_that_is_not_there_is_said_by_check(tmp_path: Path) -> None:
    result = run(tmp_path, "store", "check", create=False)
    assert result.exit_code == 1 and "verdict store init" in result.output
    assert run(tmp_path, "store", "check").output == "nothing is wrong\n"


def test_reconcile_ends_with_1_when_a_row_is_missing(tmp_path: Path) -> None:
    run(tmp_path, "store", "check")
    opened = open_store(sqlite_url(tmp_path))
    at = now() - 600_000
    rows = [observation(f"{i}.org", at) for i in range(3)]
    opened.append(records(rows, 1), [promise(rows, 1, at)])
    opened.append(records(rows, 2)[:2], [promise(rows, 2, at)])
    opened.close()
    result = run(tmp_path, "store", "reconcile")
    assert result.exit_code == 1 and result.output.startswith("missing\tedge-1")
    assert "1 batches complete, 0 pending, 1 missing" in result.output


def test_reconcile_takes_nothing_for_missing_that_the_retention_cut(tmp_path: Path) -> None:
    run(tmp_path, "store", "check")
    opened = open_store(sqlite_url(tmp_path))
    at = now()
    kept_from = at - 2 * 86_400_000
    for number, time, told in ((1, kept_from + 1000, kept_from - 1000), (2, at - 600_000, at - 600_000)):
        rows = [observation("a.org", told), observation("b.org", time)]
        opened.append(records(rows, number), [promise(rows, number, time)])
    assert opened.retain(kept_from) == 1
    opened.close()
    result = run(tmp_path, "store", "reconcile", "--days", "9")
    assert result.exit_code == 0 and "1 batches complete, 0 pending, 0 missing" in result.output
    assert result.output.splitlines()[-1].startswith("looked at since ")
    assert "looked at" not in run(tmp_path, "store", "reconcile", "--days", "1").output


def test_reconcile_tells_of_batches_that_never_came(tmp_path: Path) -> None:
    run(tmp_path, "store", "check")
    opened = open_store(sqlite_url(tmp_path))
    at = now() - 600_000
    for number in (3, 4, 7, 9):
        rows = [observation("a.org", at + number)]
        opened.append(records(rows, number), [promise(rows, number, at + number)])
    opened.close()
    result = run(tmp_path, "store", "reconcile")
    assert result.exit_code == 1
    assert [line.split("\t")[3:] for line in result.output.splitlines()[:2]] == [
        ["5-6", "-", "0", "0"],
        ["8", "-", "0", "0"],
    ]
    assert "4 batches complete, 0 pending, 3 missing" in result.output


def test_a_url_that_is_no_store_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(store, ["--store", "ftp://x", "check"])
    assert result.exit_code == 1 and "expected sqlite:///PATH" in result.output and "Traceback" not in result.output
