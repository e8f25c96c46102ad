"""Which hours that are over are to be looked at for incidents: those into which records came late.

After an outage, of the store or of the verdict log, the spool brings records of hours ago. What the log counts of each
hour tells where. No count is kept anywhere: a restart looks into each hour once more, and finds the incidents there.
"""

from collections import Counter
from typing import NamedTuple

from verdicts.history import MODE as IMPORTED
from verdicts.incidents import HOUR
from verdicts.store import Filter, Store

BACK = 72 * HOUR  # a weekend; what comes later than this opens no incident
COUNT_EVERY = 60_000
LOOK_AGAIN = 60_000  # where not all was seen or written down


class Look(NamedTuple):
    """At one hour. Times are Unix milliseconds."""

    queries: int  # malicious ones by then
    time: int
    again: int  # when as many are looked at again


NEVER = Look(0, 0, 1 << 62)


class LateHours:
    """One hour a visit is looked at: after a restart there are as many as BACK has, and each may have many clients."""

    def __init__(self) -> None:
        self._counted = -COUNT_EVERY  # when
        self._counts: dict[int, int] = {}  # hour -> malicious queries
        self._looks: dict[int, Look] = {}

    def next(self, store: Store, now: int, end: int) -> int | None:
        """Of the hours before `end` one to look at now: the first of those that wait longest, or none."""
        if not 0 <= now - self._counted < COUNT_EVERY:  # also where the clock was set back
            self._counts = _counts(store, max(now - BACK, store.retained_to()), end)
            self._counted = now
            self._looks = {hour: look for hour, look in self._looks.items() if hour in self._counts}
        waiting = []
        for hour, count in self._counts.items():
            look = self._looks.get(hour, NEVER)
            if count != look.queries or now >= look.again:
                waiting.append((look.time, hour))
        if not waiting:
            return None
        _, hour = min(waiting)
        self._looks[hour] = Look(self._counts[hour], now, now + LOOK_AGAIN)  # should the look fail
        return hour

    def looked(self, hour: int, again: int) -> None:
        """That hour was looked at; `again`: when it is to be though no more comes."""
        self._looks[hour] = self._looks[hour]._replace(again=again)


def _counts(store: Store, start: int, end: int) -> dict[int, int]:
    """Malicious queries of each hour that lies wholly in a range and has any. What was imported is none: it opens no
    incident, and an import is millions of records."""
    whole = Filter(-(-start // HOUR) * HOUR, end, label=("malicious",))
    found: Counter[int] = Counter()
    if whole.start < end:
        for bucket in store.histogram(whole, HOUR, "mode"):
            found[bucket.time] += bucket.count if bucket.key != IMPORTED else 0
    return {hour: count for hour, count in found.items() if count}
