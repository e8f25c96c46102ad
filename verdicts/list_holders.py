"""Where `verdict lists` reads and writes: the control API of a cluster, or a store that nothing else writes to."""

import time
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import msgspec

from verdicts import control, list_formats
from verdicts.ahead import ahead
from verdicts.lists import LIST_KIND, PREVALENCE_KIND, RUN_NAMES, absent_of, entry, ranked, ranking, removal
from verdicts.store import Document, Store, open_store
from verdicts.trust import authorities

# Entries in one commit. What somebody else decides meanwhile waits for one commit at most, and no replica that follows
# is busy with one for long enough to hold up a frame.
CHUNK = 10_000
CHUNK_OCTETS = 4 << 20  # of them as JSON; a request may hold 8 MiB
TRIES = 5  # of a request, once one was answered, when the cluster asks to come back later
SOON_S = 2.0  # one that asks to come back so soon is full, by other imports for instance, and not without its store
FULL_TRIES = 60  # of any request then: as long as some commits of others take
RANKS = 20 * RUN_NAMES  # of a top list in one request: some 4 MiB
PAGE = 10_000

T = TypeVar("T")


class Refused(Exception):
    """What the cluster or the store answered instead; fit for the command line."""


def no_cluster(url: httpx.URL, error: httpx.ConnectError) -> str:
    """What to say where nothing listens, or not whom we believe."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"{url}: {error}; expected a certificate of this system's authorities, or of SSL_CERT_FILE"
    return f"{url}: no cluster answers there ({error}); start `verdict up`, or name another with --url"


def token_in(file: Path) -> str:
    """The token of a cluster that a file holds. Raises `Refused`, OSError."""
    text = file.read_text(errors="replace").strip()
    if not text.isascii() or len(text.split()) != 1:
        raise Refused(f"{file}: expected a token alone, as `verdict tokens issue` prints it")
    return text


class Holder(Protocol):
    """The lists, wherever they are.

    `add`, `remove` and `rank` write in commits, each whole or not at all, and yield how many names each held. The first
    two go in the order of the names.
    """

    def show(self, list_name: str, contains: str) -> Iterator[dict[str, Any]]: ...

    def add(
        self, list_name: str, rows: Iterable[list_formats.Row], note: str, expires: int | None
    ) -> Iterator[int]: ...

    def remove(self, list_name: str, suffixes: Iterable[str], note: str) -> Iterator[tuple[int, list[str]]]:
        """With those that were not on the list, where `absent_of` looks for them."""
        ...

    def rank(self, ranked: list[str], note: str) -> Iterator[int]: ...

    def ranked(self) -> list[str]: ...

    def close(self) -> None: ...


class Direct:
    """A store, written under its own writer lock."""

    def __init__(self, url: str, author: str, now: int) -> None:
        self._store: Store = open_store(url)
        self._author, self._now = author, now

    def show(self, list_name: str, contains: str) -> Iterator[dict[str, Any]]:
        for document in self._store.scan(LIST_KIND, f"{list_name}/" if list_name else ""):
            kind, _, suffix = document.key.partition("/")
            if contains in suffix:
                body = document.body or {}
                yield {
                    "list": kind, "suffix": suffix, "author": body.get("author") or document.author,
                    "time": document.time, "note": body.get("note") or document.note, "expires": body.get("expires"),
                }  # fmt: skip

    def add(self, list_name: str, rows: Iterable[list_formats.Row], note: str, expires: int | None) -> Iterator[int]:
        def entries(chunk: Sequence[list_formats.Row]) -> list[Document]:
            return [
                entry(list_name, row.name, row.note or note, row.expires or expires, self._now, self._author)
                for row in chunk
            ]

        for documents in ahead(map(entries, _sliced(_in_order(rows)))):
            yield self._commit(documents, note)

    def remove(self, list_name: str, suffixes: Iterable[str], note: str) -> Iterator[tuple[int, list[str]]]:
        for chunk in _sliced(sorted(suffixes)):
            gone = [removal(list_name, suffix) for suffix in chunk]
            absent = absent_of(self._store, gone)
            yield self._commit(gone, note), absent

    def rank(self, ranked: list[str], note: str) -> Iterator[int]:
        self._commit(ranking(self._store, [list_formats.Row(name, rank=n) for n, name in enumerate(ranked)]), note)
        yield len(ranked)

    def ranked(self) -> list[str]:
        runs = {document.key: document.body or {} for document in self._store.scan(PREVALENCE_KIND)}
        return ranked(runs)

    def close(self) -> None:
        self._store.close()

    def _commit(self, documents: list[Document], note: str) -> int:
        if documents:
            self._store.commit(documents, self._author, note)
        return len(documents)


class Remote:
    """A running cluster, by its control API."""

    def __init__(self, url: str, token: str, person: str) -> None:
        headers = control.headers_of(token, person)
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=control.PATIENCE_S, trust_env=False, verify=authorities()
        )

    def show(self, list_name: str, contains: str) -> Iterator[dict[str, Any]]:
        after: str | None = ""
        while after is not None:
            asked = {"list": list_name, "contains": contains, "after": after, "limit": PAGE}
            tries = TRIES if after else 1
            answer = self._call("GET", "/v1/lists", "entries", tries, params={k: v for k, v in asked.items() if v})
            yield from answer["entries"]
            after = answer["after"]

    def add(self, list_name: str, rows: Iterable[list_formats.Row], note: str, expires: int | None) -> Iterator[int]:
        def item(row: list_formats.Row) -> dict[str, Any]:
            own = {"note": row.note, "expires": row.expires or expires}
            return {"list": list_name, "suffix": row.name, **{name: value for name, value in own.items() if value}}

        return (count for count, _ in self._send("POST", note, map(item, _in_order(rows))))

    def remove(self, list_name: str, suffixes: Iterable[str], note: str) -> Iterator[tuple[int, list[str]]]:
        entries = ({"list": list_name, "suffix": suffix} for suffix in sorted(suffixes))
        return ((count, answer.get("absent", [])) for count, answer in self._send("DELETE", note, entries))

    def rank(self, ranked: list[str], note: str) -> Iterator[int]:
        for start in range(0, len(ranked), RANKS) or [0]:
            names = ranked[start : start + RANKS]
            text = "".join(f"{rank},{name}\n" for rank, name in enumerate(names, 1))
            wanted = {"list": "prevalence", "form": "top", "text": text, "note": note}
            part = {"first": start + 1, "more": start + RANKS < len(ranked)} if len(ranked) > RANKS else {}
            self._call("POST", "/v1/lists/import", "epoch", TRIES if start else 1, json=wanted | part)
            yield len(names)

    def ranked(self) -> list[str]:
        text: str = self._call("GET", "/v1/lists/export", "text", params={"list": PREVALENCE_KIND})["text"]
        return text.splitlines()

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, note: str, entries: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """How many entries each request held, and its answer."""
        tries = 1
        for chunk in _chunks(entries):
            yield len(chunk), self._call(method, "/v1/lists", "epoch", tries, json={"entries": chunk, "note": note})
            tries = TRIES

    def _call(self, method: str, path: str, told: str, tries: int = 1, **more: Any) -> Any:
        """What the cluster answers, `told` in it. One that is full is asked again when it says so, and with several
        `tries` one that is away too; for an entry that is in already that changes nothing."""
        left = {True: FULL_TRIES, False: tries}  # where it is full, where it is not
        while True:
            try:
                answer = self._http.request(method, path, **more)
            except httpx.ConnectError as error:
                raise Refused(no_cluster(self._http.base_url, error)) from error
            except httpx.HTTPError as error:
                raise Refused(f"{self._http.base_url}: {error or type(error).__name__}") from error
            if answer.status_code not in (429, 503):
                break
            wait = _seconds(answer.headers.get("Retry-After"))
            full = "Retry-After" in answer.headers and wait <= SOON_S
            left[full] -= 1
            if not left[full]:
                break
            time.sleep(wait)
        if answer.status_code >= 400:
            raise Refused(refusal(answer))
        return answer_of(answer, told)


def answer_of(answer: httpx.Response, told: str) -> dict[str, Any]:
    """The JSON of a good answer. Raises `Refused` where `told` is not in it: another server stands there, and what was
    to be written is not."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict) or told not in found:
        raise Refused(f"{answer.url}: no answer of a cluster of Verdict, expected {told!r} in it")
    return found


def refusal(answer: httpx.Response) -> str:
    """What an answer that is an error says, for people."""
    try:
        return f"{answer.status_code} {answer_of(answer, 'message')['message']}"
    except Refused as error:
        return f"{answer.status_code} {error}"


def _in_order(rows: Iterable[list_formats.Row]) -> list[list_formats.Row]:
    """As a store holds them: neighbours are written for less."""
    return sorted(rows, key=attrgetter("name"))


def _sliced(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _seconds(said: str | None) -> float:
    return min(float(said), 10.0) if said and said.isdigit() else 1.0


def _chunks(entries: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Entries in pieces that one request takes, in number and in octets."""
    piece: list[dict[str, Any]] = []
    octets = 0
    for item in entries:
        size = len(msgspec.json.encode(item))
        if piece and (len(piece) >= CHUNK or octets + size > CHUNK_OCTETS):
            yield piece
            piece, octets = [], 0
        piece.append(item)
        octets += size
    if piece:
        yield piece
