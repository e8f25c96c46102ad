"""What a page shows: parameters only, restored from and written to the page's address."""

import math
import time
from typing import Any
from urllib.parse import urlencode

import param

from dashboard.typed import BadFilter, client_of, pattern_of
from verdicts.observations import LABELS
from verdicts.store import Filter

MINUTE, QUARTER, DAY = 60_000, 900_000, 86_400_000  # milliseconds
RANGES = {"15m": 15 * MINUTE, "1h": 60 * MINUTE, "24h": 1440 * MINUTE, "7d": 10_080 * MINUTE, "30d": 43_200 * MINUTE}
CUSTOM = "custom"
LATEST = 253_402_300_799_999  # Unix milliseconds: the end of the year 9999, beyond which no calendar goes
BARS = 90  # about as many as a chart can show apart
INTERVALS = tuple(m * MINUTE for m in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 10_080))


class Filters(param.Parameterized):  # type: ignore[misc]
    """The filters of one page. Times are Unix milliseconds; an empty value filters nothing.

    `usual`: the range of a page whose address names none.
    """

    range = param.Selector(default="1h", objects=[*RANGES, CUSTOM])
    start = param.Integer(default=0, bounds=(0, LATEST), doc="of a custom range")
    end = param.Integer(default=0, bounds=(0, LATEST), doc="of a custom range")
    qname = param.String(default="", doc="exact; `.example.org` with all below it; or with `*`")
    registered = param.String(default="")
    client = param.String(default="", doc="an address or a prefix")
    resolver = param.List(default=[], item_type=str)
    qtype = param.List(default=[], item_type=str)
    label = param.List(default=[], item_type=str)
    tier = param.List(default=[], item_type=str)
    action = param.List(default=[], item_type=str)
    source = param.List(default=[], item_type=str)
    rcode = param.List(default=[], item_type=str)
    model = param.List(default=[], item_type=str)
    reason = param.List(default=[], item_type=str)
    enforced = param.Selector(default="", objects=["", "yes", "no"])
    min_score = param.Number(default=None, bounds=(0, 1), allow_None=True)
    max_score = param.Number(default=None, bounds=(0, 1), allow_None=True)

    def __init__(self, usual: str = "1h", **params: Any) -> None:
        self._usual = usual
        super().__init__(**{"range": usual, **params})

    def span(self, now: int | None = None) -> tuple[int, int]:
        """Start and end; a relative range ends after this second, so that equal questions are equal in the cache.

        One of a day or more begins with a whole quarter of an hour, for what the store keeps of the time that is over.
        """
        if self.range == CUSTOM:
            return self.start, max(self.end, self.start + 1)
        now = int(time.time() * 1000) if now is None else now
        length = RANGES[self.range]
        # A long range moves in larger steps: a day's chart does not change visibly within a second.
        step = max(1000, length // 86_400 // 1000 * 1000)
        end = (now // step + 1) * step
        start = end - length
        return start if length < DAY else start // QUARTER * QUARTER, end

    def where(self, now: int | None = None, **changes: Any) -> Filter:
        """The question to the store, with `changes` over it. Raises `dashboard.typed.BadFilter`."""
        if self.range == CUSTOM and self.end < self.start:
            raise BadFilter("the range ends before it begins")
        start, end = self.span(now)
        fields: dict[str, Any] = {
            "start": start,
            "end": end,
            "name": pattern_of(self.qname),
            "registered": self.registered,
            "client": client_of(self.client),
            "min_score": self.min_score,
            "max_score": self.max_score,
            "enforced": {"": None, "yes": True, "no": False}[self.enforced],
        }
        fields |= {key: tuple(getattr(self, key)) for key in LISTS}
        if "none" in self.tier and not self.label:  # stored so, and shown as unknown (`dashboard.rows.shown_tier`)
            fields["label"] = tuple(label for label in LABELS if label != "unknown")
        return Filter(**(fields | changes))

    def query(self) -> str:
        """The filters that differ from their defaults, as the query of an address."""
        pairs: list[tuple[str, str]] = []
        for key in FIELDS:
            value = getattr(self, key)
            if value == self._default(key) or (key in ("start", "end") and self.range != CUSTOM):
                continue
            pairs.append((key, ",".join(value) if key in LISTS else str(value)))
        return urlencode(pairs)

    def range_query(self) -> str:
        """The range alone, for the address of another page: whatever is usual there."""
        keys = ("range", "start", "end") if self.range == CUSTOM else ("range",)
        return urlencode({key: getattr(self, key) for key in keys})

    def _default(self, key: str) -> Any:
        return self._usual if key == "range" else type(self).param[key].default  # the instance's would first be made

    def restore(self, query: dict[str, str]) -> None:
        """Set all filters from the query of an address; what does not fit its field is left at its default."""
        values = {key: self._default(key) for key in FIELDS}
        for key in FIELDS:
            if key in query:
                try:
                    value = _parsed(key, query[key])
                    type(self).param[key]._validate(value)
                except ValueError:
                    continue
                values[key] = value
        self.param.update(**{key: value for key, value in values.items() if value != getattr(self, key)})


LISTS = ("resolver", "qtype", "label", "tier", "action", "source", "rcode", "model", "reason")
RANGE_FIELDS = ("range", "start", "end")
FIELDS = (
    *RANGE_FIELDS,
    "qname",
    "registered",
    "client",
    *LISTS,
    "enforced",
    "min_score",
    "max_score",
)


def _parsed(key: str, text: str) -> Any:
    if key in LISTS:
        return [part for part in text.split(",") if part]
    if key in ("start", "end"):
        return int(text)
    if key in ("min_score", "max_score"):
        if not math.isfinite(number := float(text)):
            raise ValueError(f"{key} {text}: expected a number")
        return number
    return text


def interval_of(start: int, end: int) -> int:
    """The width of a bar (milliseconds) that gives about BARS bars."""
    for interval in INTERVALS:
        if (end - start) / interval <= BARS:
            return interval
    return INTERVALS[-1] * (1 + (end - start) // (INTERVALS[-1] * BARS))


def before(where: Filter) -> tuple[int, int]:
    """The period of equal length that ends where this one starts."""
    return 2 * where.start - where.end, where.start
