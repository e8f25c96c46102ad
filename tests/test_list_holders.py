"""`verdict lists` with a cluster and with a store: one contract for both ends."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner, Result

from serve_app.control_desk import Desk
from serve_app.routes import application
from serve_app.token_commands import tokens as tokens_of_the_cluster
from tests.control_setup import Setup
from verdicts import tokens
from verdicts.list_commands import lists
from verdicts.list_formats import Row
from verdicts.list_holders import FULL_TRIES, Direct, Holder, Refused, Remote
from verdicts.store import Unavailable, open_store

NOW = 1_800_000_000_000
LATER = NOW + 10**12


class Cluster:
    """An ingress replica that really listens, with a store behind it."""

    def __init__(self, folder: Path) -> None:
        self.setup = Setup(folder)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._socket.listen()  # who connects before the server runs waits for it
        config = uvicorn.Config(application(self.setup.contexts[0]), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def token(self, role: tokens.Role) -> str:
        return self.setup.tokens[role].text

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = Cluster(tmp_path)
    yield running
    running.close()


@pytest.fixture(params=["direct", "remote"])
def holder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holder]:
    if request.param == "remote":
        cluster = request.getfixturevalue("cluster")
        opened: Holder = Remote(cluster.url, cluster.token("analyst"), "ada")
    else:
        opened = Direct(f"sqlite:///{tmp_path}/alone.db", "ann", NOW)
        opened._store.initialise()
    yield opened
    opened.close()


def test_what_was_added_is_shown_with_note_and_expiry(holder: Holder) -> None:
    rows = [Row("a.org"), Row("b.net", "of its own", LATER + 5)]
    assert sum(holder.add("blocklist", rows, "for all", LATER)) == 2
    shown = {item["suffix"]: (item["list"], item["note"], item["expires"]) for item in holder.show("blocklist", "")}
    assert shown == {"a.org": ("blocklist", "for all", LATER), "b.net": ("blocklist", "of its own", LATER + 5)}
    assert {item["author"] for item in holder.show("", "")} <= {"ann", "ada (the-analyst)"}


def test_what_was_removed_is_gone(holder: Holder) -> None:
    sum(holder.add("benign", [Row("a.org"), Row("b.org")], "", None))
    assert list(holder.remove("benign", ["c.org", "a.org"], "moved")) == [(2, ["c.org"])]
    assert [item["suffix"] for item in holder.show("benign", "")] == ["b.org"]


def test_a_list_longer_than_a_request_and_a_page_comes_back_whole(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.list_holders.CHUNK", 7)
    monkeypatch.setattr("verdicts.list_holders.PAGE", 6)
    wanted = [f"n{number:02d}.org" for number in range(20)]
    assert sum(holder.add("blocklist", [Row(name) for name in wanted], "", None)) == 20
    assert [item["suffix"] for item in holder.show("blocklist", "")] == wanted
    assert [item["suffix"] for item in holder.show("blocklist", "n1")] == wanted[10:]


def test_a_long_list_is_written_in_the_order_of_its_names_part_by_part(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.list_holders.CHUNK", 3)
    names = [f"n{number}.org" for number in (3, 1, 4, 0, 5, 2, 6)]
    written = holder.add("blocklist", [Row(name) for name in names], "", None)
    assert next(written) == 3
    assert [item["suffix"] for item in holder.show("blocklist", "")] == ["n0.org", "n1.org", "n2.org"]
    assert list(written) == [3, 1]
    assert sum(holder.add("blocklist", [Row(name) for name in names], "", None)) == 7
    assert [item["suffix"] for item in holder.show("blocklist", "")] == sorted(names)


def test_the_prevalence_list_comes_back_in_its_order(holder: Holder) -> None:
    sum(holder.rank(["c.org", "a.org", "b.org"], "top"))
    assert sum(holder.rank(["b.org", "a.org"], "top")) == 2
    assert holder.ranked() == ["b.org", "a.org"]


def test_a_top_list_longer_than_a_request_replaces_the_former_part_by_part(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.lists.RUN_NAMES", 3)
    monkeypatch.setattr("verdicts.list_holders.RANKS", 6)
    long, short = [f"n{number:02d}.org" for number in range(20)], [f"s{number}.org" for number in range(8)]
    assert sum(holder.rank(long, "top")) == 20
    assert holder.ranked() == long
    assert sum(holder.rank(short, "top")) == 8
    assert holder.ranked() == short


def test_entries_with_long_notes_come_in_requests_of_a_size_that_is_taken(cluster: Cluster) -> None:
    remote = Remote(cluster.url, cluster.token("analyst"), "ada")
    note = "why " * 250
    assert sum(remote.add("blocklist", [Row(f"n{number}.org", note) for number in range(9000)], "", None)) == 9000
    assert len(list(remote.show("blocklist", ""))) == 9000
    remote.close()


def test_a_cluster_that_is_busy_for_a_while_does_not_end_what_began(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.list_holders.CHUNK", 2)
    waits: list[float] = []
    monkeypatch.setattr("verdicts.list_holders.time", SimpleNamespace(sleep=waits.append))  # not for other threads too
    graph = cluster.setup.contexts[0].graph
    commit, turns = graph.commit, iter([True, False, False, True, True, *[False] * 5])

    async def busy(*arguments: Any) -> Any:
        if not next(turns):
            raise Unavailable("busy")
        return await commit(*arguments)

    monkeypatch.setattr(graph, "commit", busy)
    remote = Remote(cluster.url, cluster.token("analyst"), "ada")
    assert sum(remote.add("blocklist", [Row(f"n{number}.org") for number in range(5)], "", None)) == 5
    assert waits == [5.0, 5.0]
    with pytest.raises(Refused, match="503 .*busy"):  # what did not begin is refused at once
        sum(remote.add("blocklist", [Row("other.org")], "", None))
    assert len(waits) == 2
    remote.close()


def test_an_import_waits_its_turn_where_others_fill_the_cluster(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def left_out(wait: float) -> None:
        waits.append(wait)
        if len(waits) == 10:
            monkeypatch.setattr("serve_app.control_desk.BULKS_LET_IN", 1)

    monkeypatch.setattr("serve_app.control_desk.BULKS_LET_IN", 0)
    monkeypatch.setattr("verdicts.list_holders.time", SimpleNamespace(sleep=left_out))
    remote = Remote(cluster.url, cluster.token("analyst"), "ada")
    assert sum(remote.add("blocklist", [Row(f"n{number}.org") for number in range(101)], "", None)) == 101
    assert waits == [1.0] * 10
    monkeypatch.setattr("serve_app.control_desk.BULKS_LET_IN", 0)
    with pytest.raises(Refused, match="503 .*too many long changes"):
        sum(remote.rank(["a.org"], ""))
    assert len(waits) == 10 + FULL_TRIES - 1
    remote.close()


def test_a_cluster_that_is_busy_for_a_while_does_not_end_a_list_of_many_pages(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.list_holders.PAGE", 2)
    monkeypatch.setattr("verdicts.list_holders.time", SimpleNamespace(sleep=lambda _: None))
    remote = Remote(cluster.url, cluster.token("analyst"), "ada")
    names = [f"n{number}.org" for number in range(5)]
    sum(remote.add("blocklist", [Row(name) for name in names], "", None))
    search, turns = Desk.search, iter([True, False, False, True, True, False])

    async def busy(*arguments: Any) -> Any:
        if not next(turns):
            raise Unavailable("busy")
        return await search(*arguments)

    monkeypatch.setattr(Desk, "search", busy)
    assert [item["suffix"] for item in remote.show("blocklist", "")] == names
    with pytest.raises(Refused, match="503 .*busy"):  # what did not begin is refused at once
        list(remote.show("blocklist", ""))
    remote.close()


def test_a_part_of_a_top_list_begins_with_a_run(cluster: Cluster) -> None:
    remote = Remote(cluster.url, cluster.token("analyst"), "ada")
    wanted = {"list": "prevalence", "form": "top", "text": "1,a.org\n", "first": 7}
    with pytest.raises(Refused, match=r"400 .*first 7: expected 10000 \* n \+ 1"):
        remote._call("POST", "/v1/lists/import", "epoch", json=wanted)
    remote.close()


def test_a_cluster_that_refuses_says_why(cluster: Cluster) -> None:
    remote = Remote(cluster.url, cluster.token("viewer"), "ada")
    with pytest.raises(Refused, match="^403 role viewer: expected analyst$"):
        sum(remote.add("benign", [Row("a.org")], "", None))
    remote.close()
    stranger = Remote(cluster.url, "no-such-token", "ada")
    with pytest.raises(Refused, match="401"):
        list(stranger.show("", ""))
    stranger.close()


def test_where_another_server_answers_its_page_is_not_shown() -> None:
    """Such as the dashboard, whose port stands beside the cluster's; the command printed HTML."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # 501 and a page to all
    threading.Thread(target=server.serve_forever, daemon=True).start()
    remote = Remote(f"http://127.0.0.1:{server.server_port}", "token", "ada")
    with pytest.raises(Refused) as refused:
        list(remote.show("", ""))
    remote.close()
    server.shutdown()
    server.server_close()
    said = str(refused.value)
    assert said.startswith("501 http://127.0.0.1") and "no answer of a cluster of Verdict" in said and "<" not in said


def test_outside_the_folder_of_verdict_up_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(lists, ["show"])
    assert said.exit_code == 2 and "no `verdict up` was started in this folder" in said.output


def test_a_cluster_that_is_away_is_named() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    remote = Remote(url, "token", "ada")
    with pytest.raises(Refused, match=url):
        list(remote.remove("benign", ["a.org"], ""))
    remote.close()


def test_the_command_speaks_to_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(cluster.token("analyst") + "\n")

    def run(*arguments: str, given: str = "") -> Result:
        where = ["--url", cluster.url, "--token-file", str(tmp_path / "token")]
        return CliRunner().invoke(lists, [*where, *arguments], input=given)

    assert run("import", "blocklist", "-", given="bad.org\nco.uk\n").output.endswith("1 left out\n")
    assert run("export", "blocklist", "--form", "hosts").output == "0.0.0.0 bad.org\n"
    assert run("import", "prevalence", "-", given="1,b.org\n2,a.org\n").exit_code == 0
    assert run("export", "prevalence").output == "b.org\na.org\n"
    cluster.setup.follow()
    assert cluster.setup.followers[0].view.lists.match("www.bad.org") is not None


def test_a_user_without_a_name_changes_a_store_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a container may be; it was a trace."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    url = f"sqlite://{tmp_path}/verdict.db"
    with closing(open_store(url)) as store:
        store.initialise()
    added = CliRunner().invoke(lists, ["--store", url, "add", "blocklist", "bad.org"])
    assert added.exit_code == 0, added.exception
    assert "\tuid 54321\t" in CliRunner().invoke(lists, ["--store", url, "show"]).output


@pytest.mark.parametrize("url", ["127.0.0.1:8053", "http://[::1", "http://", "http://127.0.0.1:99999", "ftp://x"])
@pytest.mark.parametrize("command", [[lists, "show"], [tokens_of_the_cluster, "list"]], ids=["lists", "tokens"])
def test_a_url_that_is_none_is_said_in_a_line(command: list[Any], url: str, tmp_path: Path) -> None:
    """Some ended in a trace; one asked port 34463 in place of 99999."""
    (tmp_path / "token").write_text("a-token\n")
    group, name = command
    said = CliRunner().invoke(group, ["--url", url, "--token-file", str(tmp_path / "token"), name])
    assert said.exit_code == 2 and f"--url {url}: expected http:// or https:// with a host" in said.output


def test_where_no_cluster_runs_it_is_said_how_to_start_one() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        remote = Remote(f"http://127.0.0.1:{taken.getsockname()[1]}", "token", "ada")
        with pytest.raises(Refused, match="no cluster answers there .*verdict up"):
            list(remote.show("benign", ""))
    remote.close()
