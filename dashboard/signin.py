"""Which way of logging in the settings choose, with what the server must be told about it."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dashboard.accounts import Account, AccountsFile, Role, bare
from dashboard.auth import PasswordAuth, name_in
from dashboard.ended import Ended
from dashboard.oauth import role_of, server_options
from dashboard.settings import Settings


class Signin(NamedTuple):
    """One way of logging in. What its cookie says of a person has `role_of` and `name_of`."""

    cookie_secret: str
    role_of: Callable[[str | None, Any], Role | None]
    server_options: Callable[[], dict[str, Any]]
    ended: Ended
    link_token: str = ""  # logs in from a link; empty where links do not
    name_of: Callable[[str], str] = str


def signin_of(settings: Settings) -> Signin:
    """An OpenID Connect issuer or another OAuth provider where one is set, else passwords."""
    if settings.oauth_issuer or settings.oauth_provider:
        ended = Ended()
        return Signin(secrets.token_hex(32), role_of(settings), server_options(settings, ended), ended)
    return _passwords(settings)


def _passwords(settings: Settings) -> Signin:
    if settings.password_file is None:
        secret = secrets.token_urlsafe(24)
        return _by(lambda: [bare(secret)], secret)
    return _by(AccountsFile(settings.password_file), _bare_secret(settings.password_file))


def _by(accounts: Callable[[], Sequence[Account]], secret: str) -> Signin:
    ended = Ended()
    provider = PasswordAuth(accounts, ended)
    return Signin(secrets.token_hex(32), provider.role_of, lambda: {"auth_provider": provider}, ended, secret, name_in)


def _bare_secret(path: Path) -> str:
    words = path.read_text(encoding="utf-8").split()
    return words[0] if len(words) == 1 else ""
