"""serve_app/cli.py: instant help, and one clear line for what is wrong."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from serve_app.cli import PLACES, main
from verdicts import control
from verdicts.store import open_store
from verdicts.tokens import KIND, Tokens

HEAVY = ("ray", "tensorflow", "keras", "panel", "pandas", "numpy", "starlette")


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom serve_app.cli import main\n"
        "print(CliRunner().invoke(main, ['--help']).output)\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in said and all(f"\n  {name} " in said for name in PLACES)


@pytest.mark.parametrize("name", PLACES)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    if name != "bench":  # it hands its arguments on
        assert result.exit_code == 0 and result.output.startswith("Usage: ")


@pytest.mark.parametrize("arguments", [["tokens", "issue"], ["lists", "import"], ["store", "init"], ["models", "list"]])
def test_a_command_of_a_group_tells_its_help_where_nothing_is_set_up(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0 and f"{' '.join(arguments)} [OPTIONS]" in result.output, result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fly"], "no command 'fly': expected one of up, serve"),
        (["up", "--dns-port", "many"], "--dns-port"),
        (["up", "--dns-port", "0"], "--dns-port"),
        (["up", "--mode", "panic"], "'enforce', 'monitor'"),
        (["up", "--only", "moon"], "'cluster', 'coredns', 'dashboard'"),
        (["up", "--upstream", "dns.example.org"], "expected auto, none, ADDRESS"),
        (["up", "--colour"], "No such option"),
        (["tokens", "--url", "http://127.0.0.1:1", "list"], "--token-file"),
        (["tokens", "--store", "ftp://x", "list"], "expected sqlite:///PATH"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0 and says in result.output and "Traceback" not in result.output


def test_a_busy_port_stops_everything_before_it_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        home = tmp_path / "home"
        result = CliRunner().invoke(main, ["up", "--home", str(home), "--http-port", str(port), "--only", "cluster"])
    assert result.exit_code == 1 and f"port {port}" in result.output and "--http-port" in result.output
    assert not home.exists()


def test_tokens_are_issued_listed_rotated_and_revoked_in_a_store(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/verdict.db"
    made = open_store(url)
    made.initialise()
    made.close()

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["tokens", "--store", url, *arguments])
        assert result.exit_code == 0, result.output
        return result.output.strip()

    first = run("issue", "--role", "resolver", "--name", "lab", "--days", "30")
    id = first.split("_")[1]
    assert run("list").split("\t")[:3] == [id, "resolver", "lab"]
    second = run("rotate", id)
    store = open_store(url, readonly=True)
    assert Tokens(store.scan(KIND)).check(f"Bearer {second}", "resolver").name == "lab"
    run("revoke", second.split("_")[1])
    assert run("list") == ""
    store.close()


@pytest.mark.parametrize("arguments", [["list"], ["issue", "--role", "admin", "--name", "a"], ["revoke", "abc"]])
def test_tokens_of_a_store_that_is_not_there_are_an_error_and_make_none(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "none" / "v.db"
    result = CliRunner().invoke(main, ["tokens", "--store", f"sqlite://{path}", *arguments])
    assert result.exit_code == 1 and f"{path}: no such file" in result.output and not path.parent.exists()


def test_an_unknown_token_is_named(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/v.db"
    made = open_store(url)
    made.initialise()
    made.close()
    result = CliRunner().invoke(main, ["tokens", "--store", url, "revoke", "abc"])
    assert result.exit_code == 1 and "token abc: no such token" in " ".join(result.output.split()).replace("'", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http_options: {port: 1\n", "expected ',' or '}'"),
        ("colour: red\n", "unknown key 'colour'; expected some of proxy_location, http_options"),
        ("proxy_location: HeadOnly\n", "expected http_options and applications"),
        ("- 1\n", "[1]: expected keys with their values"),
        ("http_options: {}\napplications: [{name: v, args: {colour: red}}]\n", "unknown key 'colour'"),
        ("http_options: {ssl_certfil: /c, ssl_keyfile: /k}\napplications: []\n", "unknown key 'ssl_certfil'"),
        ("http_options: {ssl_keyfile: /k}\napplications: []\n", "ssl_certfile None: expected a file"),
        (
            "http_options: {}\napplications: [{deployments: [{name: X, max_queued: 1}]}]\n",
            "X: unknown key 'max_queued'",
        ),
        (
            "http_options: {}\napplications: [{deployments: [{name: X, ray_actor_options: {num_gpu: 1}}]}]\n",
            "X, ray_actor_options: unknown key 'num_gpu'",
        ),
        (
            "http_options: {}\napplications: [{deployments: [{num_replicas: 1}]}]\n",
            "deployments: {'num_replicas': 1}: expected a name",
        ),
    ],
    ids=[
        "no YAML",
        "unknown key",
        "no applications",
        "a list",
        "unknown setting",
        "typo of TLS",
        "half TLS",
        "typo",
        "typo of GPUs",
        "no name",
    ],
)
def test_a_bad_configuration_is_refused_before_ray_starts(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["serve", str(file)])
    assert result.exit_code == 1 and str(file) in result.output and says in result.output


@contextmanager
def tokens_changed(tmp_path: Path, heard: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Callable[..., Result]]:
    """`verdict tokens` with these arguments, beside a server that answers each change once `heard` got its request."""

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard(self)
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # nobody waits any more
                self.wfile.write(b'{"token": "verdict_1_2", "epoch": 7}')

        do_DELETE = do_POST

    (tmp_path / "token").write_text("verdict_1_2")
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        options = ["--url", f"http://127.0.0.1:{server.server_port}", "--token-file", str(tmp_path / "token")]
        yield lambda *arguments: CliRunner().invoke(main, ["tokens", *options, *arguments])
        server.shutdown()


@pytest.mark.parametrize(
    ("command", "path"), [("rotate", "/v1/tokens/a%23b%3Fc/rotate"), ("revoke", "/v1/tokens/a%23b%3Fc")]
)
def test_no_other_token_is_meant_than_the_one_that_is_named(tmp_path: Path, command: str, path: str) -> None:
    asked: list[str] = []
    with tokens_changed(tmp_path, lambda request: asked.append(request.path)) as run:
        given = run(command, "a#b?c")
    assert given.exit_code == 0 and asked == [path], given.output


@pytest.mark.parametrize("command", ["issue --role viewer --name a", "rotate 1", "revoke 1"])
def test_a_change_of_tokens_is_waited_for_as_long_as_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    asked: list[str | None] = []

    def late_answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.headers["X-Request-Timeout-Seconds"])
        time.sleep(1.0)

    with tokens_changed(tmp_path, late_answer) as run:
        given = run(*command.split())
        monkeypatch.setattr(control, "PATIENCE_S", 0.2)
        late = run(*command.split())
    assert given.exit_code == 0 and asked == [str(control.CLUSTER_S)] * 2
    assert late.exit_code == 1 and "it may be done all the same" in late.output


@pytest.mark.parametrize("command", [["lists", "show"], ["tokens", "list"]])
def test_what_a_file_refuses_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / ".verdict" / "tokens" / "admin").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1 and result.output.startswith("Error: ") and ".verdict/tokens/admin" in result.output


@pytest.fixture
def another() -> Iterator[str]:
    """A server that is no cluster and says yes to everything."""

    class Yes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]" if "lists" in self.path else b"{}")

        do_POST = do_DELETE = do_GET

    with HTTPServer(("127.0.0.1", 0), Yes) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "command",
    [
        "lists show", "lists add benign a.org", "lists remove benign a.org", "lists export prevalence", "tokens list",
        "tokens revoke 1", "tokens rotate 1", "tokens issue --role viewer --name a",
    ],
)  # fmt: skip
def test_another_server_is_no_cluster_and_has_done_nothing(tmp_path: Path, another: str, command: str) -> None:
    (tmp_path / "token").write_text("verdict_1_2")
    group, *rest = command.split()
    result = CliRunner().invoke(main, [group, "--url", another, "--token-file", str(tmp_path / "token"), *rest])
    assert result.exit_code == 1 and "no answer of a cluster of Verdict" in result.output


@pytest.mark.parametrize("command", [["lists", "show"], ["tokens", "list"]])
@pytest.mark.parametrize("content", [b"\xff\xfe", "t\u00f6ken\n".encode(), b"one\ntwo\n", b""])
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, command: list[str], content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    result = CliRunner().invoke(
        main, [command[0], "--url", "http://127.0.0.1:1", "--token-file", str(file), command[1]]
    )
    assert result.exit_code == 1 and f"{file}: expected a token alone" in "".join(result.output.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ["lists", "add", "blocklist", "a.org"],
        ["tokens", "issue", "--role", "viewer", "--name", "a"],
        ["store", "reconcile"],
    ],
)
def test_days_beyond_any_calendar_are_refused(tmp_path: Path, command: list[str]) -> None:
    store = ["--store", f"sqlite://{tmp_path}/v.db"]
    result = CliRunner().invoke(main, [command[0], *store, *command[1:], "--days", "1e300"])
    assert result.exit_code == 2 and "36500" in result.output
    result = CliRunner().invoke(main, [command[0], *store, *command[1:], "--days", "nan"])
    assert result.exit_code == 2 and "nan is not a number" in result.output


@pytest.mark.parametrize("command", [["promote", "a"], ["rollback"]])
def test_a_registry_that_is_not_there_is_named_and_not_made(tmp_path: Path, command: list[str]) -> None:
    registry = tmp_path / "modles"
    result = CliRunner().invoke(main, ["models", *command, "--registry", str(registry)])
    assert result.exit_code == 1 and f"{registry}: no such folder" in result.output and not registry.exists()


def test_a_model_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "broken-1").mkdir()
    (tmp_path / "serving").write_bytes(b"\xff\n")
    result = CliRunner().invoke(main, ["models", "list", "--registry", str(tmp_path)])
    assert result.exit_code == 0 and "broken-1\tcannot be read: " in result.stderr
