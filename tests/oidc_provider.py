"""A small OpenID Connect provider for tests: discovery, authorization code, tokens, user information (RFC 6749; OpenID
Connect Core 1.0). It logs in whoever `person` names, without asking."""

import base64
import hmac
import json
import secrets
import time
from typing import Any
from urllib.parse import urlencode

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

CLIENT_ID, CLIENT_SECRET = "verdict-dashboard", "the client's own secret"


class Provider:
    """One issuer on a free port of the loopback. `person`: the claims of whoever comes next."""

    def __init__(self, redirect_uri: str = "") -> None:
        self.person: dict[str, Any] = {}
        self.redirect_uri = redirect_uri
        self.codes: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, str]] = []  # the parameters of each authorization request
        sockets = bind_sockets(0, "127.0.0.1")
        self.issuer = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        made = {"provider": self}
        self._server = HTTPServer(
            Application(
                [
                    (r"/.well-known/openid-configuration", Discovery, made),
                    (r"/authorize", Authorize, made),
                    (r"/token", Token, made),
                    (r"/userinfo", UserInfo, made),
                ]
            )
        )
        self._server.add_sockets(sockets)

    def close(self) -> None:
        self._server.stop()


class Part(RequestHandler):
    """What the four addresses share."""

    def initialize(self, provider: Provider) -> None:
        self.provider = provider


class Discovery(Part):
    def get(self) -> None:
        issuer = self.provider.issuer
        self.write(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
            }
        )


class Authorize(Part):
    """Sends the browser back with a code, or with the reason why not."""

    def get(self) -> None:
        asked = {name: self.get_argument(name) for name in self.request.arguments}
        self.provider.asked.append(asked)
        if asked.get("client_id") != CLIENT_ID or asked.get("redirect_uri") != self.provider.redirect_uri:
            self.set_status(400)
            return
        answer = {"state": asked["state"]}
        if not self.provider.person:
            answer |= {"error": "access_denied", "error_description": "<b>nobody</b> of that name"}
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self.provider.codes[answer["code"]] = dict(self.provider.person)
        self.redirect(f"{asked['redirect_uri']}?{urlencode(answer)}")


class Token(Part):
    """Gives tokens for a code, once, to the client that knows its secret."""

    def check_xsrf_cookie(self) -> None:
        pass

    def post(self) -> None:
        said = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        person = self.provider.codes.pop(said.get("code", ""), None)
        known = said.get("client_id") == CLIENT_ID and said.get("client_secret") == CLIENT_SECRET
        if person is None or not known or said.get("redirect_uri") != self.provider.redirect_uri:
            self.set_status(400)
            self.write({"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {"iss": self.provider.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 3600, **person}
        self.write(
            {
                "access_token": secrets.token_urlsafe(16),
                "token_type": "Bearer",
                "expires_in": 3600,
                "id_token": jwt(claims),
            }
        )


class UserInfo(Part):
    def get(self) -> None:
        self.write(self.provider.person)


def jwt(claims: dict[str, Any]) -> str:
    """A signed token (RFC 7519, HS256 with the client's secret)."""
    head, body = (_b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{head}.{body}.{_b64(hmac.digest(CLIENT_SECRET.encode(), f'{head}.{body}'.encode(), 'sha256'))}"


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
