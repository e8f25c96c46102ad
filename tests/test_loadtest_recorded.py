"""A recorded cluster: what was taken is what is served, and what resolvers report is written down."""

import contextlib
import json
import socket
import struct
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadtest import recorded
from loadtest.recorded import BadRecording, RecordedCluster, Recording, take
from loadtest.wirecheck import frame_problem
from verdicts.observations import Acknowledgement
from verdicts.policy import Verdict

BAD = {"label": "malicious", "tier": "block", "action": "nxdomain", "cache_ttl": 60, "source": "blocklist",
       "score": 1.0, "generated": 0.0, "rule": "bad.org"}  # fmt: skip
RECORDING = Recording({"epoch": 7, "generation": "g", "model": "m-1"}, {"bad.org": BAD})


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    server = RecordedCluster(RECORDING, 0, tmp_path / "reported.jsonl")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_names_taken_are_served_and_others_are_benign() -> None:
    reply = RECORDING.answer(["BAD.org.", "good.org"])
    assert [v["tier"] for v in reply["verdicts"]] == ["block", "none"] and reply["epoch"] == 7


def test_the_reply_follows_the_contract() -> None:
    reply = RECORDING.answer(["bad.org", "good.org"])
    assert frame_problem(200, json.dumps(reply).encode(), 2) == ""
    assert frame_problem(200, json.dumps({**reply, "asked": 1}).encode(), 2, b"abc") != ""
    assert frame_problem(200, json.dumps({**reply, "asked": 891568578}).encode(), 2, b"abc") == ""
    msgspec.convert(reply["verdicts"], list[Verdict])


def test_a_recording_survives_the_disk(tmp_path: Path) -> None:
    RECORDING.save(tmp_path / "r")
    loaded = Recording.load(tmp_path / "r")
    assert (loaded.head, loaded.verdicts) == (RECORDING.head, RECORDING.verdicts)


@pytest.mark.parametrize(
    "text", ["", "{}\n", '{"epoch":1,"generation":"","model":"m"}\n{"label":"benign"}\n', "no json\n"]
)
def test_a_damaged_recording_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(BadRecording, match="r.jsonl"):
        Recording.load(tmp_path / "r.jsonl")


def test_what_is_taken_from_a_cluster_is_its_verdicts(cluster: str) -> None:
    taken = take(cluster, "token", ["bad.org", "good.org"])
    assert taken.head["model"] == "m-1" and taken.verdicts["bad.org"] == BAD and len(taken.verdicts) == 2


def test_reported_batches_are_written_down_and_can_be_sent_again(cluster: str, tmp_path: Path) -> None:
    batch = {"resolver": "r", "boot": "0" * 32, "batch": 1, "seen": 0, "discarded": 0, "rows": []}
    reply = recorded._post(f"{cluster}/v1/observations", "token", batch)
    assert msgspec.json.decode(reply, type=Acknowledgement).epoch == 7
    written = list(recorded.written_down(tmp_path / "reported.jsonl"))
    assert written == [batch] and recorded.send(cluster, "token", written) == 1


@pytest.mark.parametrize("document", [[], {"names": 3}, {}])
def test_a_malformed_frame_is_a_400(cluster: str, document: object) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        recorded._post(f"{cluster}/v1/verdicts", "token", document)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    assert recorded.main(["serve", "--verdicts", str(tmp_path / "empty")]) == 1
    assert "empty: empty, expected what `take` writes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--verdicts", "good", "--port", "70000"], "70000: expected a port from 0 to 65535"),
        (["send", "--token-file", "empty", "--observations", "good"], "empty: empty, expected a token"),
        (
            ["send", "--cluster", "http://127.0.0.1:1", "--token-file", "good", "--observations", "good"],
            "http://127.0.0.1:1: no cluster answers there",
        ),
        (["send", "--token-file", "good", "--observations", "words"], "words:1: Expecting value"),
        (
            ["send", "--cluster", "http://[::1", "--token-file", "good", "--observations", "good"],
            "argument --cluster: http://[::1: expected http:// or https:// with a host",
        ),
    ],
)
def test_what_is_wrong_is_named(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RECORDING.save(tmp_path / "good")
    (tmp_path / "empty").write_text("")
    (tmp_path / "words").write_text("no batch")
    with contextlib.suppress(SystemExit):
        assert (
            recorded.main([str(tmp_path / part) if part in ("good", "empty", "words") else part for part in arguments])
            == 1
        )
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("what", ["take", "send"])
@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", *(b"HTTP/1.1 200 OK\r\n\r\n" + body for body in (b"{}", b"[]"))])
def test_a_server_that_is_no_cluster_is_named(
    what: str, answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "batch").write_text("{}\n")
    (tmp_path / "name").write_text("a.org\n")
    more = ["--names", "name", "--out", "taken"] if what == "take" else ["--observations", "batch"]
    with socket.create_server(("127.0.0.1", 0)) as other:

        def reply() -> None:
            with other.accept()[0] as caller:
                heard = b""
                while not heard.endswith(b"}"):  # all of it: what is left unread resets the connection
                    heard += caller.recv(65536)
                caller.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        words = [what, "--cluster", address, "--token-file", "name", *more]
        status = recorded.main([str(tmp_path / word) if word in ("name", "batch", "taken") else word for word in words])
        thread.join()
    said = capsys.readouterr()
    assert status == 1 and said.err.startswith(address) and "expected" in said.err and said.out == ""
    assert not (tmp_path / "taken").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RECORDING.save(tmp_path / "good")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert recorded.main(["serve", "--verdicts", str(tmp_path / "good"), "--port", port]) == 1
    assert f"--port {port}" in capsys.readouterr().err


def test_a_resolver_that_hangs_up_leaves_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with RecordedCluster(RECORDING, 0) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with socket.create_connection(server.server_address[:2]) as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            caller.sendall(b"POST /v1/verdicts HTTP/1.1\r\n")
        thread.join()
        for worker in threading.enumerate():
            if "process_request_thread" in worker.name:  # of the server, which waits for none
                worker.join(10)
    assert capfd.readouterr().err == ""
