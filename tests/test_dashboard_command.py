"""`python -m dashboard`: what cannot be used is said in a line before anything is served."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dashboard.__main__ import main
from verdicts.store import open_store


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--store-url", "ftp://x"], "store 'ftp://x': expected sqlite:///PATH"),
        (["--store-url", "http://127.0.0.1:1/?shard=1"], "unknown field `shard`"),
        (["--store-url", "http://127.0.0.1:1/?api_key_file=/no/such.key"], "API key /no/such.key: No such file"),
        (["--store-url", "sqlite:///x", "--port", "99999"], "99999 is not in the range"),
        (["--store-url", "sqlite:///x", "--address", "::1"], "--address ::1 needs --allow-host"),
        (["--store-url", "sqlite:///x", "--control-url", "http://127.0.0.1:1"], "--control-url needs --token-file"),
        (
            ["--store-url", "sqlite:///x", "--control-url", "http://127.0.0.1:1", "--token-file", "/no/such.token"],
            "--token-file /no/such.token: expected a file",
        ),
        (
            ["--store-url", "sqlite:///x", "--control-url", "127.0.0.1:8053", "--token-file", __file__],
            "--control-url 127.0.0.1:8053: expected http:// or https://",
        ),
        (
            ["--store-url", "sqlite:///x", "--control-url", "http://[::1", "--token-file", __file__],
            "--control-url http://[::1: expected http:// or https:// with a host",
        ),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], says: str, tmp_path: Path) -> None:
    # The last thing that is looked at before it serves: where a wrong argument is passed over, this ends it.
    (tmp_path / "accounts").write_text("no account at all\n")
    result = CliRunner().invoke(main, ["--password-file", str(tmp_path / "accounts"), *arguments])
    assert result.exit_code in (1, 2) and says in result.output


def test_an_empty_password_is_not_hashed() -> None:
    result = CliRunner().invoke(main, ["--hash-password"], input="\n")
    assert result.exit_code == 1 and "an empty password" in result.output and "scrypt:" not in result.output
    assert CliRunner().invoke(main, ["--hash-password"], input="a word\n").output.startswith("scrypt:")


def said_at_the_start(terminal: bool, tmp_path: Path, *arguments: str) -> str:
    """What the dashboard prints first, to a terminal or to a log."""
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    store.close()
    reading, writing = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-m", "dashboard", "--store-url", url, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=writing) as process, open(reading) as out:
        os.close(writing)
        said = out.readline()
        process.terminate()
    return said.strip()


@pytest.mark.parametrize(("hard", "tabs", "had"), [(4096, 1000, 1600), (700, 50, 650), (700, 1000, 700)])
def test_it_lets_itself_have_the_files_its_pages_need_or_says_so(
    hard: int, tabs: int, had: int, tmp_path: Path
) -> None:
    url = f"sqlite://{tmp_path}/verdict.db"
    open_store(url).initialise()
    serve = f"{sys.executable} -m dashboard --store-url {url} --port 0 --max-tabs {tabs}"
    limited = ["bash", "-c", f"ulimit -Sn 256; ulimit -Hn {hard}; exec {serve}"]
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.terminate()
        said = process.communicate()[1]
    assert re.search(rf"^Max open files +{had} +{hard} ", limits, re.MULTILINE)
    expected = f"open files: {hard} at most, expected {tabs + 600} or more for --max-tabs {tabs}"
    assert (expected in said) == (had < tabs + 600)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_password_that_stands_in_a_file_is_shown_on_a_terminal_alone(terminal: bool, tmp_path: Path) -> None:
    file = tmp_path / "password"
    said = said_at_the_start(terminal, tmp_path, "--password-file", str(file))
    link = f"login?token={file.read_text().strip()}" if terminal else ""
    assert re.fullmatch(rf"dashboard: http://127\.0\.0\.1:[0-9]+/{re.escape(link)}", said)


def test_a_password_that_stands_nowhere_else_is_printed_wherever_the_output_goes(tmp_path: Path) -> None:
    assert "/login?token=" in said_at_the_start(False, tmp_path)
