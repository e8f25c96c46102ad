"""What changed since a person's last visit: incidents, what others decided, malicious names that are new."""

import asyncio
from collections.abc import Iterable, Mapping

from dashboard.data import DAY, Data
from dashboard.rows import Row, top_row
from dashboard.views import person_of
from verdicts.store import Document, Filter

GAP = 30 * 60_000  # milliseconds without a page open, after which a new visit begins
LONGEST = 30 * DAY  # looked back at most
WEEK = 7 * DAY
CHANGES = 500
NAMES = 8
SHOWN_KINDS = {
    "list": ("list entry", "list entries"),
    "policy": ("change of the policy", "changes of the policy"),
    "model": ("change of the serving model", "changes of the serving model"),
    "vetting": ("name vetted", "names vetted"),
}


def last_visit(cookies: Mapping[str, str], now: int) -> int:
    """When the visit before this one ended (Unix milliseconds), by what the browser keeps; 0: there was none."""
    seen, before = (_number(cookies.get(name, "")) for name in ("seen", "before"))
    ended = seen if seen and now - seen > GAP else before
    return max(ended, now - LONGEST) if 0 < ended <= now else 0


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0


async def news(data: Data, since: int, now: int, user: str) -> tuple[list[dict[str, str]], list[Row]]:
    """What others changed, as sentences with the page that tells more; and the new malicious names as rows."""
    changes, incidents, names = await asyncio.gather(
        data.history("", "", CHANGES), data.incidents(keep=5), new_names(data, since, now)
    )
    new = [item for item in incidents if _opened(item) > since]
    done = any((item.body or {}).get("state", "open") != "open" for item in new)  # by others, meanwhile
    href = "/incidents" + "?state=all" * done  # where as many are seen
    items = [{"text": f"{len(new)} new incident{'s' * (len(new) > 1)}", "href": href}] if new else []
    return items + by_others(changes, since, user, len(changes) == CHANGES and changes[-1].time > since), names


def _opened(incident: Document) -> int:
    """When it was written down: reports come late, and an incident of hours ago is news. Of an earlier release's, when
    it began."""
    body = incident.body or {}
    return int(body.get("opened") or body.get("start") or incident.time)


def by_others(changes: Iterable[Document], since: int, user: str, cut: bool = False) -> list[dict[str, str]]:
    """One sentence a kind of decision that others changed. `cut`: there are more changes than these."""
    found: dict[str, list[str]] = {}
    for change in changes:
        person = person_of(change.author)
        if change.time > since and change.kind in SHOWN_KINDS and person != user:
            found.setdefault(change.kind, []).append(person)
    items = []
    for kind, people in found.items():
        what = SHOWN_KINDS[kind][len(people) > 1 or cut]
        least = "at least " if cut else ""
        items.append({"text": f"{least}{len(people)} {what}, by {_people(people)}", "href": f"/audit?kind={kind}"})
    return items


def _people(people: list[str]) -> str:
    named = sorted(set(people), key=lambda person: -people.count(person))
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


async def new_names(data: Data, since: int, now: int) -> list[Row]:
    """The malicious names asked for since then, by most clients first, that nobody asked for in the week before."""
    where = Filter(since, now, label=("malicious",))
    tops = await data.top(where, "qname", NAMES * 3, "clients", keep=60)
    pages = await asyncio.gather(*(data.search(Filter(since - WEEK, since, name=top.key), 1, keep=300) for top in tops))
    fresh = [top for top, page in zip(tops, pages, strict=True) if not page.records]
    return [top_row(top) for top in fresh[:NAMES]]
