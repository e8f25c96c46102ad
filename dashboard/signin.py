"""Which way of logging in the settings choose, with what the server must be told about it."""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dashboard.accounts import Account, Role, load_or_generate
from dashboard.auth import PasswordAuth, role_of_claims
from dashboard.settings import Settings


class Signin(NamedTuple):
    """One way of logging in."""

    cookie_secret: str
    role_of: Callable[[str | None, Any], Role | None]
    server_options: Callable[[], dict[str, Any]]
    link_token: str = ""  # logs in from a link; empty where links do not


def signin_of(settings: Settings) -> Signin:
    """OpenID Connect or another OAuth provider where one is set, else passwords."""
    return _oauth(settings) if settings.oauth_provider else _passwords(settings)


def _passwords(settings: Settings) -> Signin:
    if settings.password_file is None:
        secret = secrets.token_urlsafe(24)
        accounts = [
            Account("admin", "admin", lambda password: secrets.compare_digest(password.encode(), secret.encode()))
        ]
    else:
        accounts = load_or_generate(settings.password_file)
        secret = _bare_secret(settings.password_file)
    provider = PasswordAuth(accounts)
    return Signin(secrets.token_hex(32), provider.role_of, lambda: {"auth_provider": provider}, secret)


def _bare_secret(path: Path) -> str:
    words = path.read_text(encoding="utf-8").split()
    return words[0] if len(words) == 1 else ""


def _oauth(settings: Settings) -> Signin:
    secret = (
        settings.oauth_secret_file.read_text().strip()
        if settings.oauth_secret_file
        else os.environ.get("VERDICT_OAUTH_SECRET", "")
    )

    def role_of(_: str | None, claims: Mapping[str, Any] | None) -> Role | None:
        return role_of_claims(claims or {}, settings.role_claim, settings.role_groups, settings.default_role)

    def options() -> dict[str, Any]:
        return {
            "oauth_provider": settings.oauth_provider,
            "oauth_key": settings.oauth_key,
            "oauth_secret": secret,
            "oauth_redirect_uri": settings.oauth_redirect_uri or None,
            "oauth_extra_params": dict(settings.oauth_extra),
            "oauth_encryption_key": None,
        }

    return Signin(secrets.token_hex(32), role_of, options)
