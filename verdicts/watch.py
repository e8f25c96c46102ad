"""Opens incidents from the log, and tells people of them: the acting half of `verdicts.incidents`.

The log is the only source, so that a restart or another replica comes to the same incidents. The present hour is looked
at on each visit, and hours that are over when records came into them late (`verdicts.late`). Of several replicas,
the one whose commit of an incident succeeds sends its alerts; a sink's state stands in the incident itself, so that
another replica goes on where one died, and all of them together keep to the rate.
"""

import logging
import time
from collections.abc import Callable, Container, Sequence, Set
from typing import Any, NamedTuple

import msgspec

from verdicts.history import MODE as IMPORTED
from verdicts.incidents import HOUR, KIND, Incident, Rules, continued, incidents_of, same
from verdicts.late import BACK, LOOK_AGAIN, LateHours
from verdicts.records import Record
from verdicts.sinks import Sink
from verdicts.store import Conflict, Document, Filter, Store, Top

AUTHOR = "verdict"
LATE = 300_000  # after the hour, its last reports are still coming
CLIENTS = 500  # looked at in one visit, those with the most malicious queries, and as many by each of LIKELY
ROWS = 1000  # of one client, read at once
MOST = 10 * ROWS  # of one client and hour; of more, the newest, and those by which it was answered
UPDATE_EVERY = 300_000  # an incident that goes on is written again at most this often
ALERTS_AN_HOUR = 30  # to one sink; what is over waits for the next hour
TRIES = 12
# Where more clients have malicious queries than CLIENTS: what a rule asks for, of which a client may have few.
LIKELY: tuple[dict[str, Any], ...] = ({"rcode": ("NXDOMAIN",)}, {"tier": ("block",), "rcode": ("NOERROR",)})
WRITES = 5  # tries to write down that an alert was sent; unwritten, it would be sent again
FIRST_RETRY = 30_000
LAST_RETRY = HOUR
CLAIM = 120_000  # how long the replica that opened an incident has its alerts to itself

log = logging.getLogger(__name__)


class Look(NamedTuple):
    """At one client and hour. Times are Unix milliseconds."""

    queries: int  # malicious ones by then
    again: int  # when as many are looked at again
    more: int  # when more are: there is much to read of some clients


NEVER = Look(-1, 0, 0)


class Visit(NamedTuple):
    """What one visit to the sinks knows of them."""

    now: int  # Unix milliseconds
    sent: dict[str, list[int]]  # by sink, when alerts were sent within the last hour
    # Sinks that did not take an alert: the others wait for the next visit. One that hangs costs its deadline once, and
    # not for each incident, while lists expire and records age on the same thread.
    failed: set[str]


class Alerts:
    """Of all incidents those whose alerts may still be to send, or count for the rate; in step with a store, of which
    each visit reads what was written since the last one."""

    def __init__(self, sinks: Container[str]) -> None:
        self._sinks = sinks
        self._generation = ""  # of the store that was read
        self._read_to = 0  # the newest commit of an incident that was read
        self._found: dict[str, dict[str, dict[str, Any]]] = {}  # key -> the states of these sinks, see `Incident`

    def follow(self, store: Store, now: int) -> None:
        """Read what was written since; `now` in Unix milliseconds."""
        generation = store.epoch().generation
        if generation != self._generation:
            self._generation, self._read_to, self._found = generation, 0, {}
        changed = store.changes(KIND, self._read_to)
        for document in store.scan(KIND) if changed is None else changed:
            self._read_to = max(self._read_to, document.epoch)
            incident = _incident(document)
            notified = incident.notified if incident is not None else {}
            self._found[document.key] = {name: state for name, state in notified.items() if name in self._sinks}
        self._found = {
            key: states
            for key, states in self._found.items()
            if any(state.get("state") == "pending" or _time(state) > now - HOUR for state in states.values())
        }

    @property
    def keys(self) -> Set[str]:
        """The keys of these incidents."""
        return self._found.keys()

    def due(self, now: int) -> list[str]:
        """The keys of the incidents of which a sink is to be told now."""
        return [key for key, states in self._found.items() if any(_due(state, now) for state in states.values())]

    def sent(self, name: str, now: int) -> list[int]:
        """When alerts went to a sink within the last hour, whichever replica sent them."""
        times = (_time(states.get(name, {})) for states in self._found.values())
        return sorted(time for time in times if time > now - HOUR)

    def drop(self, key: str) -> None:
        """Forget an incident that the store does not have any more."""
        del self._found[key]


class Watch:
    """A chore of the verdict log: called with the store every few seconds."""

    def __init__(
        self, sinks: Sequence[Sink] = (), rules: Rules | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._sinks = {sink.name: sink for sink in sinks}
        self._rules = rules or Rules()
        self._clock = clock
        self._seen: dict[tuple[str, int], Look] = {}  # client and hour -> the last look
        self._late = LateHours()
        self._mine: set[str] = set()  # incidents that this replica opened, of which some sink is to be told
        self._alerts = Alerts(self._sinks)

    def __call__(self, store: Store) -> None:
        now = int(self._clock() * 1000)
        over = (now - LATE) // HOUR * HOUR  # the hours before
        for hour in sorted({over, now // HOUR * HOUR}):
            self._look(store, hour, now)
        self._seen = {key: seen for key, seen in self._seen.items() if key[1] > now - BACK - HOUR}
        self._tell(store, now)
        late = self._late.next(store, now, over)  # last: a day that the store cannot answer for keeps nobody waiting
        if late is not None:
            self._late.looked(late, self._look(store, late, now))

    def _look(self, store: Store, hour: int, now: int) -> int:
        """Open or continue the incidents of one hour; return when it is to be looked at again though no more comes."""
        soonest = now + BACK
        where = Filter(hour, hour + HOUR, label=("malicious",))
        for top in _clients(store, where, self._rules):
            last = self._seen.get((top.key, hour), NEVER)
            next_look = last.again if top.count == last.queries else last.more
            if now >= next_look:
                rows, cut = _records(store, msgspec.structs.replace(where, client=top.key))
                found = incidents_of(top.key, rows, self._rules, cut)
                noted = [self._note(store, incident, now) for incident in found]
                next_look = now + (BACK if all(noted) else LOOK_AGAIN)
                more = now + LOOK_AGAIN if len(rows) >= ROWS else 0
                self._seen[top.key, hour] = Look(top.count, next_look, more)
            soonest = min(soonest, next_look)
        return soonest

    def _note(self, store: Store, incident: Incident, now: int) -> bool:
        """True once all of it is written down; else it is to be looked at again, though the log may get no more."""
        documents = {d.key: d for d in store.scan(KIND, f"{incident.client}-")}
        known = [(key, found) for key, d in documents.items() if (found := _incident(d)) is not None]
        incident.updated = now
        before = same(incident, known, self._rules)
        if before is None:
            incident.notified = {name: {"state": "pending", "tries": 0, "next": now} for name in self._sinks}
            if incident.key in documents:  # closed in its first hour, of which it holds the begin: that stays closed
                return True
            incident.opened = now
            if not self._write(store, incident.key, incident, 0, incident.reason):
                return False
            if self._sinks:
                self._mine.add(incident.key)
            return True
        key, former = before
        grown = continued(former, incident)
        if (grown.names, grown.hours) == (former.names, former.hours):
            return True
        # More of the same names waits until the hour is over: a client may ask for them all day.
        over = (incident.start // HOUR + 1) * HOUR <= now
        another = grown.hours.keys() != former.hours.keys()
        late = over and another  # once an hour; many may come at once
        more = grown.names != former.names or another or over
        if not late and (not more or now - former.updated < UPDATE_EVERY):
            return False
        return self._write(store, key, grown, documents[key].epoch, grown.reason)

    def _tell(self, store: Store, now: int) -> None:
        """Send what is pending and due."""
        if not self._sinks:
            return
        self._alerts.follow(store, now)
        self._mine &= self._alerts.keys
        visit = Visit(now, {name: self._alerts.sent(name, now) for name in self._sinks}, set())
        for key in self._alerts.due(now):
            document = store.get(KIND, key)
            incident = _incident(document) if document is not None else None
            if document is None or incident is None:  # its time was over: nothing of it is kept
                self._alerts.drop(key)
                continue
            if document.key not in self._mine and now - incident.updated < CLAIM:
                continue  # the replica that opened it is at it
            changed = [
                self._send(name, state, document.key, incident, visit) for name, state in incident.notified.items()
            ]
            if any(changed):
                self._note_sent(store, document, incident)

    def _note_sent(self, store: Store, document: Document, incident: Incident) -> None:
        """Write what became of an incident's alerts, also where an analyst wrote to it while they were sent."""
        epoch = document.epoch
        for _ in range(WRITES):
            if self._write(store, document.key, incident, epoch, "alerts"):
                return
            now = store.get(KIND, document.key)
            found = _incident(now) if now is not None else None
            if now is None or found is None:
                return
            found.notified = incident.notified
            incident, epoch = found, now.epoch

    def _send(self, name: str, state: dict[str, object], key: str, incident: Incident, visit: "Visit") -> bool:
        """Try one sink if it is due; True when its state changed."""
        sink, now = self._sinks.get(name), visit.now
        if sink is None or name in visit.failed or not _due(state, now):
            return False
        sent = visit.sent[name]
        if len(sent) >= ALERTS_AN_HOUR:
            state["next"] = sent[-ALERTS_AN_HOUR] + HOUR
            state["error"] = f"over {ALERTS_AN_HOUR} alerts an hour; waits"
            return True
        tries = int(str(state["tries"])) + 1
        state["tries"] = tries
        try:
            sink.send(key, incident)
        except Exception as error:  # also what no sink foresees, as of a host that is no name: the others go on
            visit.failed.add(name)
            delay = min(FIRST_RETRY * 2 ** (tries - 1), LAST_RETRY)
            state |= {
                "state": "failed" if tries >= TRIES else "pending",
                "next": now + delay,
                "error": (str(error) or type(error).__name__)[:300],
            }
            log.warning("alert of incident %s to %s: %s", key, name, error)
        else:
            sent.append(now)
            state |= {"state": "sent", "next": 0, "error": "", "time": now}
        return True

    def _write(self, store: Store, key: str, incident: Incident, expect: int, note: str) -> bool:
        try:
            store.commit([Document(KIND, key, msgspec.to_builtins(incident))], AUTHOR, note, expect)
        except Conflict:  # another replica, or an analyst, was there first: look again next time
            return False
        return True


def _clients(store: Store, where: Filter, rules: Rules) -> list[Top]:
    """The clients that may have an incident, each with its malicious queries or, beyond the first CLIENTS, with those
    that make it likely. Most have too few; and one without a name, of many or of nobody, a filter takes for all."""
    first = store.top(where, "client", CLIENTS)
    found = {top.key: top for top in first if top.count >= rules.names or top.tier == "block"}
    if len(first) == CLIENTS:
        for likely in LIKELY:
            for top in store.top(msgspec.structs.replace(where, **likely), "client", CLIENTS):
                if top.count > rules.nxdomain_share * rules.names or top.tier == "block":
                    found.setdefault(top.key, top)
    found.pop("", None)
    return list(found.values())


def _records(store: Store, where: Filter) -> tuple[list[Record], bool]:
    """What a client was asked for in an hour, newest first; and whether there is more of it than is read."""
    page = store.search(where, ROWS)
    rows = page.records
    while page.cursor is not None and len(rows) < MOST:
        page = store.search(where, ROWS, page.cursor)
        rows += page.records
    if page.cursor is not None:  # one name that resolves may stand behind thousands that do not exist
        read = {row.id for row in rows}
        resolved = store.search(msgspec.structs.replace(where, tier=("block",), rcode=("NOERROR",)), ROWS)
        rows += [row for row in resolved.records if row.id not in read]
    # Of what was imported, the client got an answer before anybody judged it.
    return [row for row in rows if row.mode != IMPORTED], page.cursor is not None


def _time(state: dict[str, Any]) -> int:
    """When an alert was sent; 0 where none was."""
    return int(state.get("time", 0))


def _due(state: dict[str, object], now: int) -> bool:
    return state.get("state") == "pending" and int(str(state.get("next", 0))) <= now


def _incident(document: Document) -> Incident | None:
    """The incident of a document; None for one of another release's form."""
    try:
        return msgspec.convert(document.body, Incident)
    except msgspec.ValidationError:
        return None
