"""`verdict tokens`: through the control API of a running cluster, or in a store that nothing else writes to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx

from verdicts import control
from verdicts.arguments import DAY_MS, DAYS, Group, Number, cluster_or_store, person
from verdicts.list_holders import Refused, answer_of, no_cluster, token_in
from verdicts.names import shown
from verdicts.store import Conflict, Misconfigured, Unavailable, open_store
from verdicts.tokens import KIND, ROLES, BadToken, described, issue, revoke, rotate
from verdicts.trust import authorities


@click.group(cls=Group)
@click.option("--url", help="The cluster, for instance http://127.0.0.1:8053; needs --token-file.")
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="An admin's token.")
@click.option("--store", "store_url", help="A store that no cluster writes to: sqlite:///PATH or http://HOST:9200.")
@click.pass_context
def tokens(context: click.Context, url: str | None, token_file: Path | None, store_url: str | None) -> None:
    """Issue, list, rotate and revoke tokens of resolvers, viewers, analysts and admins.

    Without options: the cluster of `verdict up` in this folder.
    """
    url, token_file = cluster_or_store(url, token_file, store_url)
    with _told():
        context.obj = _Remote(url, token_in(token_file)) if url and token_file else _Direct(store_url or "")
    context.call_on_close(context.obj.close)


@tokens.command("issue")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--name", required=True, help="The resolver, or whom it is for.")
@click.option("--days", type=DAYS, help="Until it expires; without, until it is revoked.")
@click.option("--note", default="")
@click.pass_obj
def issue_(holder: "_Remote | _Direct", role: str, name: str, days: float | None, note: str) -> None:
    """Print a new token; it cannot be shown again."""
    expires = None if days is None else int(_now() + days * DAY_MS)
    click.echo(holder.issue(role, name, expires, note))


@tokens.command("list")
@click.pass_obj
def list_(holder: "_Remote | _Direct") -> None:
    """One line each: id, role, name, created, expires, note; tab separated."""
    for token in holder.list():
        when = [_day(token.get("created")), _day(token.get("expires"))]
        click.echo("\t".join([token["id"], token["role"], token["name"], *when, ascii(token.get("note", ""))[1:-1]]))


@tokens.command("rotate")
@click.argument("id")
@click.option(
    "--grace", type=Number(0, 876_000), default=0, show_default=True, help="Hours that the old token stays good."
)
@click.pass_obj
def rotate_(holder: "_Remote | _Direct", id: str, grace: float) -> None:
    """Print the successor of token ID."""
    click.echo(holder.rotate(id, int(grace * 3_600_000)))


@tokens.command("revoke")
@click.argument("id")
@click.pass_obj
def revoke_(holder: "_Remote | _Direct", id: str) -> None:
    """Take token ID away at once."""
    holder.revoke(id)


class _Remote:
    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers=control.headers_of(token, person()),
            timeout=control.PATIENCE_S,  # as long as a change may take: what its answer holds is told this once
            trust_env=False,
            verify=authorities(),
        )

    def close(self) -> None:
        self._http.close()

    def issue(self, role: str, name: str, expires: int | None, note: str) -> str:
        body = {"role": role, "name": name, "expires": expires, "note": note}
        return str(self._call("POST", "/v1/tokens", "token", body)["token"])

    def list(self) -> list[dict[str, Any]]:
        return list(self._call("GET", "/v1/tokens", "tokens")["tokens"])

    def rotate(self, id: str, grace: int) -> str:
        return str(self._call("POST", f"/v1/tokens/{quote(id, safe='')}/rotate", "token", {"grace": grace})["token"])

    def revoke(self, id: str) -> None:
        self._call("DELETE", f"/v1/tokens/{quote(id, safe='')}", "epoch")

    def _call(self, method: str, path: str, told: str, body: Any = None) -> Any:
        try:
            reply = self._http.request(method, path, json=body)
            if reply.is_success:
                return answer_of(reply, told)
            message = answer_of(reply, "message")["message"]
        except httpx.ConnectError as error:
            raise click.ClickException(no_cluster(self._http.base_url, error)) from error
        except httpx.HTTPError as error:
            late = isinstance(error, httpx.ReadTimeout) and method != "GET"
            more = "; it may be done all the same: look at `verdict tokens list`" if late else ""
            raise click.ClickException(f"{self._http.base_url}: {error}{more}") from error
        except Refused as error:
            raise click.ClickException(f"{reply.status_code} {error}") from error
        raise click.ClickException(f"{self._http.base_url}: {message}")


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong in the block is the command's error."""
    try:
        yield
    except (BadToken, Refused, ValueError, Conflict, Unavailable, Misconfigured, OSError) as error:
        raise click.ClickException(str(error)) from error


class _Direct:
    """A store that is there: one that a mistyped path made would hold tokens that nobody knows."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url)

    def close(self) -> None:
        self._store.close()

    @_told()
    def issue(self, role: str, name: str, expires: int | None, note: str) -> str:
        issued = issue(role, name, _now(), expires, note)
        self._store.commit([issued.document], person())
        return issued.text

    @_told()
    def list(self) -> list[dict[str, Any]]:
        return [described(document) for document in self._store.scan(KIND)]

    @_told()
    def rotate(self, id: str, grace: int) -> str:
        old = self._get(id)
        issued, documents = rotate(old, _now(), grace)
        self._store.commit(documents, person(), expect=old.epoch)  # one that is revoked meanwhile stays so
        return issued.text

    @_told()
    def revoke(self, id: str) -> None:
        self._store.commit([revoke(self._get(id))], person())

    def _get(self, id: str) -> Any:
        document = self._store.get(KIND, id)
        if document is None:
            raise click.ClickException(f"token {shown(id)}: no such token; `verdict tokens list` shows them")
        return document


def _now() -> int:
    return time.time_ns() // 1_000_000


def _day(moment: int | None) -> str:
    return "-" if moment is None else time.strftime("%Y-%m-%d", time.gmtime(moment / 1000))


COMMANDS = [tokens]
