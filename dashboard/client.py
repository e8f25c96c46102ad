"""The control API as the dashboard uses it: everything the dashboard changes goes through here (contract 7).

The dashboard holds one token and acts for the people logged in to it. Each call names the person
(`Verdict-User`, the author in the history) and the person's role (`Verdict-Role`); the API judges the call by
the lower of the token's role and this one, so that these headers can only take rights away.
"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from dashboard.accounts import Role
from verdicts import control
from verdicts.trust import authorities

TIMEOUT_S = 10.0
LONG_S = control.PATIENCE_S  # a day replayed, a promotion, a week's names to train on, a file of 100,000 names
Json = dict[str, Any]


class Refused(Exception):
    """The control API did not do it; the message says why, fit for a page."""

    def __init__(self, message: str, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Client:
    """The connection, one a process; `as_user` gives a session its own `Control`."""

    def __init__(self, url: str, token: Callable[[], str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._token = url.rstrip("/"), token
        self._http = httpx.AsyncClient(
            base_url=self._url, timeout=TIMEOUT_S, transport=transport, trust_env=False, verify=authorities()
        )

    @property
    def configured(self) -> bool:
        """False for a dashboard that only reads."""
        return bool(self._url)

    def as_user(self, name: str, role: Role, decided: Callable[[], None] = lambda: None) -> "Control":
        """The calls for one person; `decided` is called after each that may have changed something."""
        return Control(self, name, role, decided)

    async def call(
        self,
        method: str,
        path: str,
        user: str,
        role: Role,
        body: Any = None,
        params: Any = None,
        seconds: float = TIMEOUT_S,
    ) -> Any:
        """Put one call; return its JSON. Raises `Refused`."""
        if not self._url:
            raise Refused("no control API is configured (--control-url): this dashboard only reads")
        try:
            token = self._token()
        except (OSError, ValueError) as error:
            raise Refused(f"the token of the control API cannot be read (--token-file): {error}") from None
        headers = {
            **control.headers_of(token, user),
            "Verdict-Role": role,
        }
        kept = {key: value for key, value in (params or {}).items() if value not in (None, "")}
        try:
            reply = await self._http.request(method, path, json=body, params=kept, headers=headers, timeout=seconds)
        except httpx.TimeoutException:
            raise Refused(f"the control API at {self._url} did not answer within {seconds:g} s") from None
        except httpx.HTTPError as error:
            raise Refused(f"the control API at {self._url} cannot be reached: {error}") from None
        return _result(reply)

    async def close(self) -> None:
        await self._http.aclose()


class Control:
    """The calls, for one person."""

    def __init__(self, client: Client, user: str, role: Role, decided: Callable[[], None]) -> None:
        self._client, self.user, self.role, self._decided = client, user, role, decided

    async def get(self, path: str, **params: Any) -> Any:
        return await self._client.call("GET", path, self.user, self.role, params=params)

    async def ask(self, path: str, body: Any, seconds: float = TIMEOUT_S) -> Any:
        """A question that is too long for an address."""
        return await self._client.call("POST", path, self.user, self.role, body, seconds=seconds)

    async def send(self, method: str, path: str, body: Any = None, seconds: float = TIMEOUT_S) -> Any:
        """Change something. What was refused may be done all the same, or by somebody else before."""
        try:
            return await self._client.call(method, path, self.user, self.role, body, seconds=seconds)
        finally:
            self._decided()

    async def status(self) -> Json:
        """epoch, generation, model, paused, resolvers, spool, store, deployments."""
        return dict(await self.get("/v1/status"))

    async def explain(self, name: str) -> Json:
        """name, verdict, characters (character, weight), entry (the list entry that decides, or null)."""
        return dict(await self.ask("/v1/explain", {"name": name}))

    async def lists(self, list: str = "", contains: str = "", limit: int = 200, after: str = "") -> Json:
        return dict(await self.get("/v1/lists", list=list, contains=contains, limit=limit, after=after))

    async def add(self, entries: Sequence[Json], note: str) -> Json:
        """Put entries (list, suffix, expires: Unix milliseconds or null) on the vetted lists."""
        return dict(await self.send("POST", "/v1/lists", {"entries": entries, "note": note}))

    async def remove(self, entries: Sequence[Json], note: str) -> Json:
        return dict(await self.send("DELETE", "/v1/lists", {"entries": entries, "note": note}))

    async def import_list(self, list: str, text: str, note: str, expires: int | None) -> Json:
        body = {"list": list, "text": text, "note": note, "expires": expires}
        return dict(await self.send("POST", "/v1/lists/import", body, LONG_S))

    async def undo(self, kind: str, key: str, epoch: int, time: int) -> Json:
        """Write back the body that the commit at `epoch` and `time` replaced."""
        return dict(await self.send("POST", "/v1/audit/undo", {"kind": kind, "key": key, "epoch": epoch, "time": time}))

    async def undo_commit(self, epoch: int, time: int, kind: str = "") -> Json:
        """Write back all that the commit at `epoch` and `time` replaced, of one kind or of every one: `undone`."""
        return dict(await self.send("POST", "/v1/audit/undo", {"kind": kind, "epoch": epoch, "time": time}))

    async def policy(self) -> Json:
        return dict(await self.get("/v1/policy"))

    async def set_policy(self, changes: Json, note: str, expect: int | None = None) -> Json:
        """Refused where the policy changed since the epoch `expect`."""
        return dict(await self.send("PUT", "/v1/policy", {"policy": changes, "note": note, "expect": expect}))

    async def pause(self, paused: bool, note: str) -> Json:
        return dict(await self.send("POST", "/v1/policy/pause", {"paused": paused, "note": note}))

    async def models(self) -> Json:
        return dict(await self.get("/v1/models"))

    async def model(self, version: str) -> Json:
        return dict(await self.get(f"/v1/models/{quote(version, safe='')}"))

    async def promote(self, version: str, note: str) -> Json:
        return dict(await self.send("POST", f"/v1/models/{quote(version, safe='')}/promote", {"note": note}, LONG_S))

    async def roll_back(self, note: str) -> Json:
        return dict(await self.send("POST", "/v1/models/rollback", {"note": note}, LONG_S))

    async def replay(self, version: str, start: int, end: int) -> Json:
        """The verdicts that a version would change: names, queries, before, after, changes, changed."""
        path = f"/v1/models/{quote(version, safe='')}/replay"
        return dict(await self.ask(path, {"start": start, "end": end}, LONG_S))

    async def jobs(self) -> Json:
        return dict(await self.get("/v1/jobs"))

    async def job(self, number: str, after: int = 0) -> Json:
        return dict(await self.get(f"/v1/jobs/{quote(number, safe='')}", after=after))

    async def start_job(self, kind: str, settings: Json) -> Json:
        return dict(await self.send("POST", "/v1/jobs", {"kind": kind, "settings": settings}, LONG_S))

    async def resume_job(self, number: str) -> Json:
        return dict(await self.send("POST", f"/v1/jobs/{quote(number, safe='')}/resume", {}, LONG_S))

    async def cancel_job(self, number: str) -> Json:
        return dict(await self.send("DELETE", f"/v1/jobs/{quote(number, safe='')}"))

    async def decide(self, decisions: Sequence[Json], note: str, expect: int | None = None) -> Json:
        """Vetting decisions (name, list or null, label or null, expires), in one commit.

        Refused with the code `conflict` where one of the names was decided after the epoch `expect`.
        """
        return dict(await self.send("POST", "/v1/vetting", {"decisions": decisions, "note": note, "expect": expect}))

    async def save_view(self, name: str, address: str) -> Json:
        return dict(await self.send("PUT", f"/v1/views/{quote(name, safe='')}", {"address": address}))

    async def forget_view(self, name: str) -> Json:
        return dict(await self.send("DELETE", f"/v1/views/{quote(name, safe='')}"))

    async def update_incident(self, key: str, changes: Json, note: str = "", expect: int | None = None) -> Json:
        """Change state (open, acknowledged, closed) or assignee of an incident.

        Refused with the code `conflict` where somebody decided on it after the epoch `expect`.
        """
        body = {**changes, "note": note, "expect": expect}
        return dict(await self.send("POST", f"/v1/incidents/{quote(key, safe='')}", body))


def _result(reply: httpx.Response) -> Any:
    try:
        content = reply.json()
    except ValueError:
        content = None
    if reply.is_success:
        if isinstance(content, dict):
            return content
        # Such as a page of something in between: nothing is known to be done.
        raise Refused(f"--control-url: expected a JSON object, got another answer {reply.status_code}")
    said = content if isinstance(content, dict) else {}
    error = said.get("error", said)
    error = error if isinstance(error, dict) else {"message": str(error)}
    message = str(error.get("message") or f"the control API answered {reply.status_code}")
    if reply.status_code == 403:
        message = f"your role does not allow this: {message}"
    raise Refused(message, str(error.get("code", "")), reply.status_code)
