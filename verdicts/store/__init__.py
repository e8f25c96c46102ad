"""The store: what is kept, behind two small protocols (contract 4).

`LogStore` keeps the records; `StateStore` keeps everything people decide (lists, policy, tokens, labels,
incidents) as versioned documents with one durable epoch. `verdicts.store.sqlite` and `verdicts.store.elastic`
implement both; `open_store` chooses by URL: `sqlite:///PATH`, or `http(s)://HOST:9200` for Elasticsearch.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from verdicts.records import Record


class Unavailable(Exception):
    """The store cannot be reached or is overloaded; the same call may succeed later."""


class Misconfigured(Exception):
    """The store refuses for good (credentials, missing template); a person must act."""


class Conflict(Exception):
    """A `commit` with `expect` found a newer document."""


class Epoch(NamedTuple):
    """`number` is that of the last commit which changed decisions; `generation` is new if the store is."""

    number: int
    generation: str


class Filter(msgspec.Struct, frozen=True):
    """Which records. Every query has a time range (Unix milliseconds, `start` <= time < `end`).

    `name` is exact, or a suffix when it begins with `.` (`.example.org`: the name and all below it), or holds
    `*` wildcards. The other tuples match any of their values; empty means all.
    """

    start: int
    end: int
    name: str = ""
    registered: str = ""
    client: str = ""  # an address, or a prefix such as 192.0.2.0/24
    resolver: tuple[str, ...] = ()
    qtype: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    tier: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    rcode: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    enforced: bool | None = None
    min_score: float | None = None
    max_score: float | None = None


class Page(NamedTuple):
    """Records, newest first, and the cursor of the next page (None: the last)."""

    records: list[Record]
    cursor: str | None


class Rejected(NamedTuple):
    """A record the store will never take, and why."""

    record: Record
    reason: str


class Bucket(msgspec.Struct, frozen=True):
    """`count` queries of one `key` in the interval that begins at `time` (Unix milliseconds)."""

    time: int
    key: str
    count: int


class Cell(msgspec.Struct, frozen=True):
    """`count` queries with these values of several fields in the interval that begins at `time` (Unix milliseconds)."""

    time: int
    keys: tuple[str, ...]
    count: int


class Top(msgspec.Struct, frozen=True):
    """One row of a ranking: `count` queries by `clients` distinct clients; extremes of the model's scores."""

    key: str
    count: int
    clients: int
    score: float  # highest
    generated: float  # highest
    last: int  # Unix milliseconds
    tier: str  # the strongest seen
    enforced: int  # queries in which the action reached the client


class Promise(NamedTuple):
    """What the report of one batch said it holds; kept beside its records, so that they can be reconciled."""

    resolver: str
    boot: str
    batch: int
    time: int  # Unix milliseconds: of the report's arrival
    seen: int
    discarded: int
    rows: int


class BatchState(NamedTuple):
    """One batch as the log holds it, against what its report promised."""

    resolver: str
    boot: str
    batch: int
    time: int
    seen: int
    discarded: int
    rows: int  # promised
    stored: int
    dead: int

    @property
    def missing(self) -> int:
        """Rows that are neither stored nor dead-lettered: pending in a spool, or lost."""
        return self.rows - self.stored - self.dead


MAX_DOMAINS = 1000  # of one question
MAX_TOP = 1000  # rows of one ranking: what is told of each costs a store memory
MAX_FREQUENT = 30_000  # values: Elasticsearch gives 65,536 in one answer, of clients in two lists


def check_limit(limit: int, most: int) -> None:
    """Raise `ValueError` for a limit that no store answers."""
    if limit > most:
        raise ValueError(f"limit {limit}: expected at most {most}")


class LogStore(Protocol):
    """The records. Implementations are used by one process at a time for writing, by any number for reading."""

    def append(self, records: Sequence[Record], promises: Sequence[Promise] = ()) -> list[Rejected]:
        """Store each record and promise once (a repeated id is no error), durable on return.

        Records that can never be stored are kept as dead letters with their reason, and returned.
        Raises `Unavailable` (nothing or a part was stored: repeat the call) or `Misconfigured`.
        """

    def search(self, where: Filter, limit: int = 100, cursor: str | None = None) -> Page:
        """One page of records, newest first."""

    def histogram(self, where: Filter, interval: int, by: str = "tier") -> list[Bucket]:
        """Counts per `interval` milliseconds and value of the field `by`, summed over `count`."""

    def cube(self, where: Filter, interval: int, by: Sequence[str]) -> list[Cell]:
        """The same by several fields at once: one reading answers every question about their combinations."""

    def top(self, where: Filter, by: str, limit: int = 20, order: str = "count") -> list[Top]:
        """The `limit` highest values of the field `by` (qname, registered, client, ...; at most MAX_TOP), ordered by
        `count`, `clients`, `score` or `enforced`."""

    def frequent(self, where: Filter, by: str, limit: int, order: str = "count") -> dict[str, int]:
        """The values of the field `by` with the most queries, or the highest score (`order`), at most MAX_FREQUENT and
        such as have any, and how many queries each has. Of those with the fewest a store may leave out one for another,
        or count some of its queries only."""

    def domains(self, where: Filter, registered: Sequence[str]) -> dict[str, int]:
        """Queries of each of some registered domains (at most MAX_DOMAINS; an empty one is none), of those that have
        any."""

    def reconcile(self, start: int, end: int, kept: bool = False) -> Iterator[BatchState]:
        """Each batch reported in the range, with what was stored of it: counted anew, which reads every row of it.

        With `kept` a store may tell the numbers instead that it wrote with the rows, all or nothing, in no time.
        """

    def discarded(self, start: int, end: int) -> int:
        """How many queries the reports of the range had to leave out: seen, and in no record."""

    def roll_up(self, now: int) -> int:
        """Bring the roll-ups of the time that is over (`now`: Unix milliseconds) up to what the records say, as far as
        a few seconds allow; return how many rows of them were written. Harmless when others do the same: no answer
        depends on it, only what an answer costs."""

    def retain(self, before: int) -> int:
        """Remove records older than `before` (Unix milliseconds), whole indices where the store has them;
        return how many records or indices went."""

    def retained_to(self) -> int:
        """Up to when `retain` has removed so far (Unix milliseconds); 0 where it never did."""


class Document(msgspec.Struct, frozen=True, gc=False):  # a million of them are alive at once, and hold no cycles
    """One versioned document. `body` None: removed.

    `epoch` is the number of the commit which wrote it: commits of every kind count, so that it tells any two
    versions apart, and the store's epoch is that of the last commit which changed decisions.
    """

    kind: str
    key: str
    body: dict[str, Any] | None
    epoch: int = 0
    time: int = 0  # Unix milliseconds
    author: str = ""
    note: str = ""
    previous: dict[str, Any] | None = None  # in a history only: the body it replaced


# Kinds that every ingress replica follows: their change moves the epoch.
DECISION_KINDS = frozenset({"list", "policy", "model", "prevalence", "token"})
# Of these, such as are replaced as a whole day by day: of their past only the last change can be undone.
REPLACED_KINDS = frozenset({"prevalence"})
EXPIRED = 10_000  # list entries that are told at once
# Of a list entry: who wrote it and when, which by itself is no change.
SIGNATURE = ("created", "author")


def says_the_same(new: Document, old: Document | None) -> bool:
    """True for a list entry that says nothing new, and for the removal of one that is not there: a feed that is
    imported each day is mostly of these."""
    if new.kind != "list":
        return False
    former = None if old is None else old.body
    if new.body is None or former is None:
        return new.body is former
    return _unsigned(new.body) == _unsigned(former)


def _unsigned(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in SIGNATURE}


class StateStore(Protocol):
    """What people decided. Every commit is atomic, durable on return, and kept in the history."""

    def epoch(self) -> Epoch:
        """The current epoch: one cheap read."""

    def commit(self, documents: Iterable[Document], author: str, note: str = "", expect: int | None = None) -> Epoch:
        """Write all documents or none; return the epoch, which moved if a kind is in DECISION_KINDS, and from which on
        they are in force: where the store puts off a part of the work, `epoch` tells it some seconds later.

        A list entry that is there already and says the same, and the removal of one that is not there, are passed
        over (`says_the_same`), and a commit of these alone is none.
        `expect`: raise `Conflict` unless the documents' present epoch (0 when absent) is at most this.
        """

    def get(self, kind: str, key: str) -> Document | None:
        """One document, or None when it is absent or removed."""

    def get_many(self, kind: str, keys: Sequence[str]) -> list[Document]:
        """Those of some documents that are there, in no order."""

    def scan(self, kind: str, prefix: str = "", after: str = "") -> Iterator[Document]:
        """All present documents of a kind whose key begins with `prefix`, in key order, from the first key beyond
        `after` on."""

    def keys(self, kind: str, prefix: str = "") -> Iterator[str]:
        """The keys that `scan` would give, without the bodies: a million in a second."""

    def expiring(self, before: int) -> list[Document]:
        """The present `list` documents whose body's `expires` is before this time (Unix milliseconds): the EXPIRED
        that did so first."""

    def changes(self, kind: str, since: int, limit: int = 1000) -> list[Document] | None:
        """The documents of a kind changed after commit `since` (which an epoch is too), removed ones with body None;
        None when there are more than `limit`."""

    def history(self, kind: str = "", key: str = "", limit: int = 100, before: int | None = None) -> list[Document]:
        """Past changes, newest first, each with the body it replaced; the audit trail and the source of undo.

        `before`: only those of commits before this time (Unix milliseconds).
        """

    def forget(self, kind: str, before: int) -> int:
        """Remove the documents of a kind that were last written before a time (Unix milliseconds), and what its
        history holds from before it; return how many documents went. Leaves no trace and moves no epoch: it is for
        kinds that hold what the log held, never for a decision."""

    def forget_history(self, kind: str, before: int) -> None:
        """Remove what the history holds of a kind from before a time (Unix milliseconds); the documents stay. For the
        REPLACED_KINDS among the decisions alone."""


class Store(LogStore, StateStore, Protocol):
    """Both, and a way to set up, check and close."""

    def initialise(self) -> None:
        """Create tables or templates and the generation; harmless when they are there."""

    def check(self) -> list[str]:
        """What is wrong, one sentence each; empty when nothing is."""

    def close(self) -> None: ...


def open_store(url: str, readonly: bool = False) -> Store:
    """The store at a URL: `sqlite:///ABSOLUTE/PATH`, or Elasticsearch at `http(s)://[USER:PASSWORD@]HOST:PORT[,URL...]`.

    Raises `ValueError` for another URL. Nothing is contacted or created yet; `initialise` sets a new store up.
    """
    if url.startswith("sqlite:///"):
        from verdicts.store.sqlite import SqliteStore

        return SqliteStore("/" + url.removeprefix("sqlite:///").lstrip("/"), readonly)
    if url.startswith(("http://", "https://")):
        from verdicts.store.elastic import ElasticStore

        return ElasticStore(url, readonly)
    raise ValueError(f"store {url!r}: expected sqlite:///PATH or http(s)://HOST:PORT")
