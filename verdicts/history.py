"""Logs from before Verdict, as batches of the verdict log: each event stored once, however often its file is imported.

Invariants
- A record's id says where its event stands: `boot` is the digest of the file as it was first imported, `batch` and row
  count on through it; its resolver, where no event says one, is the file's name of then. The same file gives the same
  ids under any name, so that a repeat, also after a crash, meets its first copies.
- A file that grew goes on where its last import ended: what was imported is recognised by its digest, and left out.
- Events are summed within one batch only, by the second, and no batch reaches over the end of an earlier import, so
  that no import changes what another has written.
"""

import codecs
import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from verdicts import names
from verdicts.captures import DNSTAP_MAGIC, BadCapture, CutShort, Event, dnstap_events, opened
from verdicts.collector_logs import BadLine, Read, json_line, text_lines
from verdicts.observations import MAX_ADDRESSES, MAX_TARGETS, Batch, Observation
from verdicts.policy import Verdict

Form = Literal["dnstap", "json", "text"]
FORMS: tuple[Form, ...] = ("dnstap", "json", "text")
KIND = "import"  # of the documents that say what was imported
MODE = "imported"  # of its records
BATCH_EVENTS = 4000
TOLD = 20  # lines that were left out, by their places


class BadHistory(ValueError):
    """A file that cannot be imported; the message names it and what was expected."""


class Leftover(NamedTuple):
    """Something in a file that is no event: where it stands, why it is left out."""

    place: str
    reason: str


class Done(msgspec.Struct):
    """What is known of an imported file: the body of its document, whose key is the boot of its records."""

    name: str  # of the file when it was first imported
    form: str
    resolver: str  # what the caller said; "" where each event's own server counts
    replies: bool  # its replies were imported, else its queries
    size: int  # octets, to the end of the last event
    digest: str  # SHA-256 of these octets
    ends: list[int]  # how many events the file held at each of its imports
    clients: str  # how client addresses were kept
    model: str = ""
    batches: int = 0  # once complete
    complete: bool = False


class Survey(NamedTuple):
    """A file as it stands: `prior` is the import that it repeats or goes on from, under its boot."""

    name: str  # as in `Done`
    size: int
    digest: str
    events: int  # replies, or queries where no reply is among them
    replies: bool
    others: int  # queries beside replies: the same questions
    first: int
    last: int
    leftovers: list[Leftover]
    left_out: int
    cut: str  # what is behind the last whole event, "" for nothing
    prior: tuple[str, Done] | None


class Plan(NamedTuple):
    """What an import has to do: `done` events of the file are stored, as the first `number` batches of `boot`."""

    boot: str
    ends: list[int]  # no batch reaches over one
    done: int = 0
    number: int = 0


class Source:
    """A file of events; each `reading` goes through it from the start."""

    def __init__(self, path: Path, form: Form | None = None, text: Read | None = None) -> None:
        self.path = path
        self.form = form or _guess(path)
        self._line = json_line if self.form == "json" else text or text_lines()

    def reading(self) -> "Reading":
        """A pass through the file."""
        return Reading(self)


class Reading:
    """One pass: its events and what is none of them, and how far it has come."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        self._position = 0
        self.size = 0  # octets, to the end of the last whole item
        self.digest = self._digest.copy()  # of these octets
        self.cut = ""

    def __iter__(self) -> Iterator[Event | Leftover | None]:
        """Events, leftovers, and None for an event of another kind; damage that ends reading is told by `cut`."""
        try:
            with opened(self._source.path) as file:
                self._file = file
                for item in self._dnstap() if self._source.form == "dnstap" else self._lines():
                    self.size, self.digest = self._position, self._digest.copy()
                    yield item
        except (OSError, EOFError, zlib.error) as error:
            raise BadHistory(f"{self._source.path}: {error}") from error

    def read(self, length: int) -> bytes:
        """The next octets, counted and digested: what a frame stream is read by."""
        return self._passed(self._file.read(length))

    def _passed(self, data: bytes) -> bytes:
        self._digest.update(data)
        self._position += len(data)
        return data

    def _dnstap(self) -> Iterator[Event | Leftover | None]:
        try:
            if self.read(4) != DNSTAP_MAGIC:
                raise BadHistory(f"{self._source.path}: expected a dnstap file (frame streams)")
            for item in dnstap_events(self):
                if isinstance(item, Event):
                    yield item
                else:
                    yield Leftover(f"octet {self._position}", str(item))
        except CutShort as error:
            self.cut = f"octet {self.size}: ends inside a frame ({error})"
        except BadCapture as error:
            if not self.size:
                raise BadHistory(f"{self._source.path}: {error}") from error
            self.cut = f"octet {self.size}: damaged, and not read further: {error}"

    def _lines(self) -> Iterator[Event | Leftover | None]:
        for number, line in enumerate(iter(lambda: self._file.readline(), b""), 1):
            if not line.endswith(b"\n"):  # it may still be written
                self.cut = f"line {number}: ends without an end of line"
                return
            self._passed(line)
            text = (line if number > 1 else _bare(line)).decode("utf-8", "surrogateescape").rstrip("\r\n")
            if not text:
                continue
            try:
                yield self._source._line(text)
            except BadLine as error:
                yield Leftover(f"line {number}", str(error))


def survey(source: Source, known: dict[str, Done]) -> Survey:
    """Go through a file once: how much there is, and which import it repeats or goes on from."""
    sizes: dict[int, list[tuple[str, Done]]] = {}
    for boot, done in known.items():
        sizes.setdefault(done.size, []).append((boot, done))
    reading = source.reading()
    counts = [0, 0]  # queries, replies
    first, last, left_out = 2**63, 0, 0
    leftovers: list[Leftover] = []
    prior: tuple[str, Done] | None = None
    for item in reading:
        if isinstance(item, Event):
            counts[item.reply] += 1
            time = int(item.time * 1000)
            first, last = min(first, time), max(last, time)
        elif item is not None:
            left_out += 1
            leftovers += [item] if len(leftovers) < TOLD else []
        for found in sizes.get(reading.size, ()):
            if found[1].digest == reading.digest.hexdigest():
                prior = found
    replies = bool(counts[1]) if prior is None else prior[1].replies
    name = source.path.name if prior is None else prior[1].name
    return Survey(
        name, reading.size, reading.digest.hexdigest(), counts[replies], replies, counts[0] if replies else counts[1],
        first if last else 0, last, leftovers, left_out, reading.cut, prior,
    )  # fmt: skip


def plan(found: Survey) -> Plan:
    """What is left to do of a surveyed file."""
    if found.prior is None:
        return Plan(found.digest[:32], [found.events])
    boot, prior = found.prior
    grown = found.size > prior.size and found.events > prior.ends[-1]  # an earlier release may have read fewer in it
    ends = [*prior.ends, found.events] if grown else prior.ends
    return Plan(boot, ends, prior.ends[-1], prior.batches) if prior.complete else Plan(boot, ends)


def batches(
    source: Source, found: Survey, resolver: str, judge: Callable[[Sequence[str]], tuple[list[Verdict], str]]
) -> Iterator[Batch]:
    """The batches of a surveyed file that its plan holds.

    `judge` gives the verdicts of names, in their order, and the version of the model. Clients are whole: apply the
    privacy before anything is written.
    """
    boot, ends, done, number = plan(found)
    events = (event for event in source.reading() if isinstance(event, Event) and event.reply == found.replies)
    at = 0
    for end in ends:
        part = islice(events, end - at)
        at = end
        if end <= done:
            deque(part, maxlen=0)
            continue
        while chunk := list(islice(part, BATCH_EVENTS)):
            by_server = _rows(chunk, judge, resolver or found.name.partition(".")[0], bool(resolver))
            for server, rows in by_server.items():
                number += 1
                yield Batch(server, boot, number, mode=MODE, seen=sum(row.count for row in rows), rows=rows)


def _rows(
    events: Iterable[Event], judge: Callable[[Sequence[str]], tuple[list[Verdict], str]], default: str, fixed: bool
) -> dict[str, list[Observation]]:
    """Equal outcomes of one second, summed, by server."""
    rows: dict[tuple[object, ...], Observation] = {}
    by_server: dict[str, list[Observation]] = {}
    for event in events:
        time, qname = int(event.time * 1000), _normalised(event.qname)
        server = default if fixed or not event.server else event.server
        key = server, time // 1000, qname, event.qtype, event.client, event.rcode
        row = rows.get(key)
        if row is None:
            row = rows[key] = Observation(
                qname, event.qtype, event.client, "unknown", time, time, count=0, rcode=event.rcode,
                addresses=list(event.addresses[:MAX_ADDRESSES]), targets=list(event.targets[:MAX_TARGETS]),
            )  # fmt: skip
            by_server.setdefault(server, []).append(row)
        row.count += 1
        row.first, row.last = min(row.first, time), max(row.last, time)
    asked = list(dict.fromkeys(row.qname for row in rows.values()))
    verdicts, model = judge(asked)
    told = dict(zip(asked, verdicts, strict=True))
    for row in rows.values():
        verdict = told[row.qname]
        # What the client got was decided long before: the action passthru, never enforced.
        row.label, row.tier, row.source, row.rule = verdict.label, verdict.tier, verdict.source, verdict.rule
        row.score, row.generated = round(verdict.score, 6), round(verdict.generated, 6)  # as on the wire
        row.model = model if verdict.source == "model" else ""
    return by_server


def _normalised(qname: str) -> str:
    """A name as the log holds it; what is no name stays as it came, without what no text can hold."""
    try:
        return names.normalise(qname[:-1] if qname.endswith(".") and len(qname) > 1 else qname)
    except names.BadName:
        return qname.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _guess(path: Path) -> Form:
    try:
        with opened(path) as file:
            head = _bare(file.read(4096))
    except (OSError, EOFError, zlib.error) as error:
        raise BadHistory(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if head.startswith(DNSTAP_MAGIC):
        return "dnstap"
    if not head.strip():
        raise BadHistory(f"{path}: empty, expected one of the forms {', '.join(FORMS)}")
    return "json" if head.lstrip().startswith(b"{") else "text"


def _bare(start: bytes) -> bytes:
    """The start of a file without the mark of its encoding, which some editors write."""
    return start.removeprefix(codecs.BOM_UTF8)
