"""Logging in at an OpenID Connect issuer, or another OAuth provider that Panel knows.

Panel speaks the protocol (authorization code, client secret). The ID token comes straight from the issuer over the
connection that we opened, so its signature is not checked again (OpenID Connect Core 1.0, 3.1.3.7, number 6).
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import panel as pn
from panel.auth import OAuthProvider
from tornado.web import RequestHandler

from dashboard.accounts import ROLES, Role
from dashboard.auth import end, has_ended, local_path
from dashboard.ended import Ended
from dashboard.settings import Settings

DISCOVERY_S = 10
# What the issuer's discovery document tells (OpenID Connect Discovery 1.0, 3), by Panel's name for it.
ENDPOINTS = {
    "AUTHORIZE_URL": "authorization_endpoint",
    "TOKEN_URL": "token_endpoint",
    "USER_URL": "userinfo_endpoint",
    "LOGOUT_URL": "end_session_endpoint",
}
SCOPE = "openid email profile"
_TEMPLATES = Path(__file__).parent / "assets"


class NoIssuer(ValueError):
    """The issuer's discovery document cannot be had, or is none; the message says which and why."""


def discover(issuer: str) -> dict[str, str]:
    """The endpoints of an issuer, by the names Panel has for them. Raises `NoIssuer`."""
    url = issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        reply = httpx.get(url, timeout=DISCOVERY_S, follow_redirects=True)
        reply.raise_for_status()
        said = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise NoIssuer(f"issuer {issuer}: {url}: {error}") from None
    if not isinstance(said, dict) or said.get("issuer", "").rstrip("/") != issuer.rstrip("/"):
        raise NoIssuer(f"issuer {issuer}: {url} names another issuer, or none")
    missing = [key for name, key in ENDPOINTS.items() if name != "LOGOUT_URL" and not said.get(key)]
    if missing:
        raise NoIssuer(f"issuer {issuer}: {url} does not name {', '.join(missing)}")
    return {name: str(said[key]) for name, key in ENDPOINTS.items() if said.get(key)}


class IssuerAuth(OAuthProvider):  # type: ignore[misc]
    """Panel's, with log-ins that a log-out ends and that lead nowhere else, and cookies as `PasswordAuth` sets them."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        templates = {"error": "login_error.html", "logout": "logout.html"}
        super().__init__(**{f"{name}_template": str(_TEMPLATES / file) for name, file in templates.items()})

    @property
    def get_user_async(self) -> Callable[[RequestHandler], Awaitable[str | None]]:
        ask = super().get_user_async

        async def user_of(handler: RequestHandler) -> str | None:
            return None if has_ended(handler, self._ended) else await ask(handler)

        return user_of

    @property
    def login_handler(self) -> type[RequestHandler]:
        asks = super().login_handler

        class IssuerLoginHandler(asks):  # type: ignore[misc, valid-type]
            def prepare(self) -> None:
                # Panel takes what is no other host to it: `////host`, which is one to browsers.
                if wanted := self.get_argument("next", ""):
                    self.request.arguments["next"] = [local_path(wanted).encode()]

            def set_cookie(self, name: str, value: str | bytes, *args: Any, **how: Any) -> None:
                # Lax: the issuer sends people back by a link, with which browsers send what was set before they left.
                how = {"samesite": "Lax", "secure": self.request.protocol == "https", **how}
                super().set_cookie(name, value, *args, **how)

        return IssuerLoginHandler

    @property
    def logout_handler(self) -> type[RequestHandler]:
        ended, forgets = self._ended, super().logout_handler

        class Logout(forgets):  # type: ignore[misc, valid-type]
            def get(self) -> None:
                end(self, ended)
                super().get()

        return Logout


def server_options(settings: Settings, ended: Ended) -> Callable[[], dict[str, Any]]:
    """What Panel's server must be told; the issuer is asked when this is called."""

    def options() -> dict[str, Any]:
        found = discover(settings.oauth_issuer) if settings.oauth_issuer else {}
        extra: dict[str, Any] = {"scope": SCOPE, **found, **settings.oauth_extra}
        extra["scope"] = extra["scope"].split()
        pn.config.oauth_provider = settings.oauth_provider or "generic"
        return {
            "auth_provider": IssuerAuth(ended),
            "oauth_key": settings.oauth_key,
            "oauth_secret": _secret(settings),
            "oauth_redirect_uri": settings.oauth_redirect_uri or None,
            "oauth_extra_params": extra,
        }

    return options


def _secret(settings: Settings) -> str:
    if settings.oauth_secret_file:
        return settings.oauth_secret_file.read_text(encoding="utf-8").strip()
    return os.environ.get("VERDICT_OAUTH_SECRET", "")


def role_of(settings: Settings) -> Callable[[str | None, Any], Role | None]:
    """What the claims of a person give, by the settings."""

    def given(_: str | None, claims: Mapping[str, Any] | None) -> Role | None:
        return role_of_claims(claims or {}, settings.role_claim, settings.role_groups, settings.default_role)

    return given


def role_of_claims(
    claims: Mapping[str, Any], claim: str, groups: Mapping[str, Role], default: Role | None
) -> Role | None:
    """The highest role that the values of a claim (a group's name each) give; `default` where none does.

    `claim` may lead into objects by dots: `realm_access.roles`.
    """
    value: Any = claims.get(claim)
    if value is None:
        value = claims
        for part in claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    names = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    roles = [groups[name] for name in names if isinstance(name, str) and name in groups]
    return max(roles, key=ROLES.index) if roles else default
