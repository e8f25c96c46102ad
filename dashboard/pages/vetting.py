"""Vetting: today's names, those alike together, decided by single keys.

Invariants: a key decides on the names that the person saw, once; never on a name that somebody else decided since the
queue was read; and its undo takes back that decision, whole, and nothing that came after it.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from dashboard.alike import grouped, laid_out
from dashboard.client import Refused
from dashboard.components import READY, Characters, Component, Facts, Keys, Table
from dashboard.data import Failure
from dashboard.decision import InForce
from dashboard.facts import facts_of_verdict
from dashboard.inputs import Select, Switch, TextInput
from dashboard.page import Context, Page, aside, columns, panel, schedule, stack, toolbar
from dashboard.queue import CANDIDATES, DAILY, queue
from dashboard.typed import page_of
from dashboard.vetted import DURATIONS, SHOWN_LIST, still_holds, suffixes_listed
from dashboard.vetting_keys import DECISIONS, FOR_ALL, KEYS, UNDO
from dashboard.views import person_of

DAY = 86_400_000  # milliseconds
STEP_S = 30
NOTHING_LEFT = "Nothing left to vet today. New names come as resolvers ask for them."
USED_UP = "The day's number is reached: {} decided in 24 hours. Choose a larger number above to go on."


class Decided(NamedTuple):
    """A decision of this visit, as undo finds it again."""

    names: list[str]
    epoch: int
    time: int  # Unix milliseconds
    listed: bool  # it reached the resolvers


@dataclass
class Kept:
    """What no address says of a visit: who opens a name and comes back goes on where they were."""

    at: int = 0  # the row, for when its name was decided meanwhile
    name: str = ""
    note: str = ""
    duration: str = "30 days"
    opened: set[str] = field(default_factory=set)  # groups whose names stand apart, by their first name
    past: list[Decided] = field(default_factory=list)  # newest last


class Vetting(Page):
    """The queue of the last day; `?daily=` sets how many names a person looks at, the rest expires with the day."""

    path = "/vetting"
    title = "Vetting"
    beat_seconds = STEP_S

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        daily = _number(query.get("daily"), DAILY)
        self.daily = Select(
            label="Names a day",
            options=sorted({10, 20, 50, 100, 200, 500, daily}),
            value=daily,
            width=130,
        )
        self.together = Switch(label="Alike together", value=query.get("alone") != "1")
        for input in (self.daily, self.together):
            input.param.watch(self._changed, "value")
        self.kept = kept = context.kept.setdefault(self.path, Kept())
        self.groups: list[dict[str, Any]] = []
        self.duration = Select(options=list(DURATIONS), value=kept.duration, label="List decisions last", width=170)
        self.note = TextInput(label="Why (for the next decisions)", value=kept.note, width=300)
        self.table = Table(
            caption="names to vet",
            empty=NOTHING_LEFT,
            selectable=True,
            selected=kept.at,
            multiple=self.may("analyst"),
            keys=[*DECISIONS, UNDO, "o", "l"] if self.may("analyst") else ["o", "l"],
            on_message=self._message,
            columns=[
                {"key": "key", "label": "Name", "kind": "name"},
                {"key": "tier", "label": "Tier", "kind": "tier"},
                {"key": "clients", "label": "Clients", "kind": "count"},
                {"key": "count", "label": "Queries", "kind": "count"},
                {"key": "score", "label": "Malicious", "kind": "sure"},
                {"key": "generated", "label": "Machine-made", "kind": "score"},
                {"key": "last", "label": "Last", "kind": "ago"},
            ],
        )
        self.why = Facts(heading="Verdict", empty="Choose a name.", status=READY)
        self.characters = Characters(empty="Choose a name.", status=READY)
        self.force = InForce(context)
        self.keys = Keys(
            keys=[pair for pair in KEYS if self.may("analyst") or pair[0] in FOR_ALL],
            on_message=self._button,
        )
        self.table.param.watch(lambda _: schedule(self.explain), "selected")
        self._progress = ""
        self._back = ""  # the name to go to: the one whose decision was just undone
        self._deciding: set[str] = set()  # names whose decision is on its way
        self._seen = 0  # the last change there was when the queue was read, by its epoch

    def address(self) -> str:
        pairs = {"daily": self.daily.value} if self.daily.value != DAILY else {}
        pairs |= {} if self.together.value else {"alone": 1}
        return self.path + ("?" + urlencode(pairs) if pairs else "")

    def view(self) -> Any:
        side = aside(panel(self.keys), panel(self.why, self.characters))
        return stack(
            toolbar(self.daily, self.duration, self.note, self.together),
            self.force.notice,
            columns(panel(self.table), side, least=310, shares=(12, 1)),
        )

    def parts(self) -> Iterable[Component]:
        return (self.table,)

    def stop(self) -> None:
        super().stop()
        self.kept.note, self.kept.duration = self.note.value, self.duration.value
        for row in self._rows_at([self.table.selected]):
            self.kept.at, self.kept.name = self.table.selected, row["key"]

    async def read(self) -> None:
        data = self.context.data
        # In steps, so that all who vet share one answer: the ranking is the dearest question that the pages put.
        end = (int(time.time()) // STEP_S + 1) * STEP_S * 1000
        where = self.filters.where(start=end - DAY, end=end, tier=("alert", "block"), source=("model",))
        latest = await data.history("", "", 1)  # before the rest: what comes after it was not seen
        # Names of many clients, and the surest: what one infected client asks for is asked by nobody else.
        wide, sure, labels, decisions, listed = await asyncio.gather(
            data.top(where, "qname", CANDIDATES, "clients", keep=STEP_S),
            data.top(where, "qname", CANDIDATES, "score", keep=STEP_S),
            data.documents("label", keep=0),
            data.documents("vetting", keep=0),
            data.ask(("suffixes",), suffixes_listed, 2.0),
        )
        self._seen = latest[0].epoch if latest else 0
        now = int(time.time() * 1000)
        settled = {d.key for d in labels} | {d.key for d in decisions if still_holds(d.body or {}, now)}
        rows = queue({top.key: top for top in wide + sure}.values(), settled, listed)
        # A commit is one decision, on however many names alike.
        done = len({(d.time, d.author) for d in decisions if d.time > now - DAY})
        left = max(0, self.daily.value - done)
        self.groups = grouped(rows, left) if self.together.value else [{"members": [row]} for row in rows[:left]]
        self.table.empty = USED_UP.format(done) if rows and not left else NOTHING_LEFT
        self._progress = f"; {done} of {self.daily.value} decided in 24 hours" if done else ""
        self.lay_out()

    def lay_out(self) -> None:
        """Show the groups, the opened ones name by name."""
        rows = laid_out(self.groups, self.kept.opened)
        # By name: whoever chooses while names come and go decides on what they saw.
        before, place = self.table.rows, {row["key"]: at for at, row in enumerate(rows)}
        at = max(self.table.selected, 0)
        name = before[at]["key"] if at < len(before) else self.kept.name
        if self._back in place:
            name, self._back = self._back, ""
        at = place.get(name, at)
        at = min(at, max(0, len(rows) - 1))
        known = sum(len(group["members"]) for group in self.groups)
        note = f"{known} names" if known == len(self.groups) else f"{known} names, {len(self.groups)} that differ"
        self.table.renew(rows, selected=at, note=note + self._progress)
        schedule(self.explain)

    def open_group(self, at: int) -> None:
        """Show the names of the group in this row one by one, or together again."""
        if at < len(self.table.rows) and self.table.rows[at]["alike"]:
            self.kept.opened ^= {self.table.rows[at]["key"]}
            self.table.selected = at
            self.lay_out()

    async def explain(self) -> None:
        """Show why the selected name has its verdict."""
        rows = self.table.rows
        if not 0 <= self.table.selected < len(rows):
            self.why.param.update(facts=[], empty="Choose a name.")
            self.characters.param.update(characters=[], empty="Choose a name.")
            return
        name = rows[self.table.selected]["key"]
        try:
            said = await self.context.control.explain(name)
            facts, characters = facts_of_verdict(said.get("verdict") or said, said), said.get("characters", [])
            lacking, why_not = "", "The model was not asked."
        except Refused as error:  # what stands there is of another name
            facts, characters, lacking, why_not = [], [], "The cluster gave no verdict.", str(error)
        if 0 <= self.table.selected < len(self.table.rows) and self.table.rows[self.table.selected]["key"] == name:
            self.why.param.update(facts=facts, empty=lacking)
            self.characters.param.update(characters=[c for c in characters if "weight" in c], empty=why_not)

    async def decide(self, key: str, chosen: list[str]) -> None:
        """One decision on one or more names."""
        what, kind, label = DECISIONS[key]
        length = DURATIONS[self.duration.value]
        expires = None if length is None else int(time.time() * 1000) + length
        decisions = [
            {"name": name, "list": kind, "label": label, "expires": expires if kind else None} for name in chosen
        ]
        doing = self.context.control.decide(decisions, self.note.value.strip(), self._seen)
        self._deciding |= set(chosen)
        try:
            reply = await self.act(doing, f"{what}: {_said(chosen)}", functools.partial(self._refused, chosen))
        finally:
            self._deciding -= set(chosen)
        if reply is None:
            return
        await self._remember(chosen, kind is not None)
        gone = set(chosen)
        left = [[row for row in group["members"] if row["key"] not in gone] for group in self.groups]
        self.groups = [{"members": members} for members in left if members]
        self.lay_out()
        if kind:
            await self.force.follow(int(reply.get("epoch", 0)))
            await self.force.tell_overruled(chosen, kind)

    async def _refused(self, chosen: list[str], error: Refused) -> None:
        """Tell why; where somebody else was quicker, who it was and what they decided."""
        if error.code != "conflict":
            self.context.tell(str(error), "error")
            return
        text = "Not decided: somebody changed one of these meanwhile"
        with contextlib.suppress(Failure):  # that it was not decided is told all the same
            found = await self.context.data.several("vetting", tuple(chosen))
            for late in sorted((each for each in found if each.epoch > self._seen), key=lambda each: each.epoch)[:1]:
                kind, label = ((late.body or {}).get(what) for what in ("list", "label"))
                said = [SHOWN_LIST.get(str(kind), str(kind))] * bool(kind) + [f"label {label}"] * bool(label)
                text = f"Not decided: {person_of(late.author)} was quicker on {late.key}"[:200]
                text += f" ({' and '.join(said)})" if said else ""
        self.context.tell(f"{text}. The queue is read again.", "warning")
        await self.reload()

    async def _remember(self, chosen: list[str], listed: bool) -> None:
        try:
            past = await self.context.data.history("vetting", chosen[0], 1)
        except Failure:
            return  # undone from Audit, once the store is there again
        if past and person_of(past[0].author) == self.context.user:
            self.kept.past.append(Decided(chosen, past[0].epoch, past[0].time, listed))

    async def undo(self) -> None:
        """Take the last decision of this visit back: its list entries, its labels, and the marks of the queue."""
        if not self.kept.past:
            self.context.tell("Nothing to undo on this visit; see Audit for earlier decisions.", "info")
            return
        last = self.kept.past.pop()
        self._back = last.names[0]  # whichever reading shows it first
        codes: list[str] = []  # of the refusal

        async def refused(error: Refused) -> None:
            codes.append(error.code)
            self.context.tell(f"Not undone: {error}", "error")

        doing = self.context.control.undo_commit(last.epoch, last.time)
        reply = await self.act(doing, f"Undone: {_said(last.names)}", refused)
        if reply is None:
            self._back = ""
            if codes != ["conflict"]:
                self.kept.past.append(last)  # to be tried again: it is taken back whole or not at all
            return
        await self.reload()
        if last.listed:
            await self.force.follow(int(reply.get("epoch", 0)))

    def _message(self, message: dict[str, Any]) -> None:
        if message.get("action") == "alike":
            self.open_group(int(message["index"]))
        if message.get("action") != "key":
            return
        key, present = message["key"], {row["key"] for group in self.groups for row in group["members"]}
        present -= self._deciding
        # The rows as the person saw them: a key pressed twice does not reach the name that moved up.
        chosen = [name for name in dict.fromkeys(sum((row["names"] for row in message["rows"]), [])) if name in present]
        if key == "l":
            self.open_group(message["index"])
        elif key == UNDO:
            schedule(self.undo)
        elif key == "o" and chosen:
            self.context.go(page_of(chosen[0]))
        elif key in DECISIONS and chosen:
            schedule(lambda: self.decide(key, chosen))

    def _button(self, message: dict[str, Any]) -> None:
        rows = self._rows_at(self.table.chosen or [self.table.selected])
        self._message({"action": "key", "key": message.get("key"), "index": self.table.selected, "rows": rows})

    def _rows_at(self, places: list[int]) -> list[dict[str, Any]]:
        return [self.table.rows[at] for at in places if 0 <= at < len(self.table.rows)]

    def _changed(self, _: Any) -> None:
        self.context.go(self.address())
        schedule(self.reload)


def _said(chosen: list[str]) -> str:
    return chosen[0][:100] if len(chosen) == 1 else f"{len(chosen)} names"


def _number(text: str | None, default: int) -> int:
    return min(500, max(1, int(text[:9]))) if text and text.isdecimal() else default
