"""`python -m dashboard`: what cannot be used is said in a line before anything is served."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dashboard.__main__ import main


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
