"""Look up: what happened to a name and why, what to do about it, and its history."""

import asyncio
import functools
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from dashboard.client import Refused
from dashboard.components import READY, Characters, Component, Facts, Notice, Table
from dashboard.decision import Decision
from dashboard.facts import facts_of_record, facts_of_verdict
from dashboard.history import History
from dashboard.inputs import Button, Switch
from dashboard.page import Context, Page, columns, panel, schedule, stack, toolbar
from dashboard.registration import Registration
from dashboard.typed import BadFilter, client_in, name_of, pattern_of
from dashboard.vetted import entries_over, entry_row, removed
from dashboard.widgets import range_bar
from verdicts import names
from verdicts.store import Filter

ENTRY_ACTIONS = [{"id": "remove", "label": "Remove", "style": "danger"}]


class Lookup(Page):
    """One name: `?q=`; `below=1`, or a dot before it, for all below it as well; a `*` in it makes a wildcard."""

    path = "/lookup"
    title = "Look up"
    beat_seconds = 5
    usual_range = "7d"

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        text = query.get("q", "").strip()
        below = text.startswith(".") and text != "." and "*" not in text
        self.asked = text[1:] if below else text
        self.client, self.name, self.problem = _understood(self.asked)
        self.wide = below or query.get("below") == "1"
        self.many = "*" in self.name
        self.decision = Decision(self, decided=lambda: schedule(self.explain))
        self.why = Facts(heading="Verdict", empty="Nobody asked for this name in this range.")
        self.characters = Characters(
            empty="The model is asked through the control API; it gave no explanation.", status=READY
        )
        self.entries = Table(
            heading="List entries",
            caption="list entries over this name",
            on_message=self._entry,
            empty="No list holds this name or a domain above it.",
            actions=ENTRY_ACTIONS if self.may("analyst") else [],
            columns=[
                {"key": "list", "label": "List", "kind": "list"},
                {"key": "suffix", "label": "Entry", "kind": "name"},
                {"key": "note", "label": "Why", "kind": "text"},
                {"key": "author", "label": "Who", "kind": "text"},
                {"key": "time", "label": "Since", "kind": "time"},
                {"key": "expires", "label": "Until", "kind": "until"},
            ],
        )
        self.history = History(self.zoom)
        self._epoch: int | None = None  # the store's, when it was last read
        self._judged = self._current = False  # whether a verdict is shown; whether nothing was decided since it was
        self.registration = Registration(self.name)

    def address(self) -> str:
        pairs = {"q": self.asked, **({"below": "1"} if self.wide else {})}
        rest = self.filters.query()
        return self.path + "?" + urlencode(pairs) + (f"&{rest}" if rest else "")

    def view(self) -> Any:
        if not self.name:
            text = (
                self.problem or "Type or paste a name or a client address into the field above; the key / goes there."
            )
            return Notice(text=text, kind="warn" if self.problem else "info", status=READY)
        # Many names have no verdict, no entry and no registration that is theirs.
        of_one = (
            columns(panel(self.why, self.characters), panel(*self.registration.view())),
            panel(self.entries),
        )
        return stack(
            Notice(text=self.asked if self.many else self.name, kind="title", status=READY),
            self._buttons(),
            self.decision.force.notice,
            *(() if self.many else of_one),
            range_bar(self.filters, self._scope()),
            *self.history.view(),
            self.decision.place,
        )

    def parts(self) -> Iterable[Component]:
        if not self.name:
            return ()
        return self.history.parts if self.many else (self.why, self.entries, *self.history.parts)

    async def start(self) -> None:
        if self.client:
            self.context.go("/clients?" + urlencode({"client": self.client}))
            return
        if self.name:
            await asyncio.gather(super().start(), self.explain())

    async def beat(self) -> None:
        if not self.name:
            return
        await super().beat()
        # A second after the reading that showed a decision: by then every ingress has read it too.
        if not self._current and self._seconds % self.beat_seconds == 1:
            await self.explain()

    async def read(self) -> None:
        registered = "" if self.many else names.split(self.name).registered
        where, siblings = self.where(), self.filters.where(registered=registered)
        epoch, latest, entries = await asyncio.gather(
            self.context.data.epoch(),
            self.history.read(self.context.data, where, siblings, self.name),
            entries_over(self.context.data, self.name) if registered else _none(),
        )
        self.entries.rows = [entry_row(entry) for entry in entries]
        self.history.log.more = f"/queries?{urlencode({'qname': where.name})}&{self.filters.range_query()}"
        if self._epoch not in (None, epoch.number):
            self._current = False
        self._epoch = epoch.number
        if self._judged or self.many:
            return
        if latest is not None and latest.qname != self.name:  # of a name below it
            page = await self.context.data.search(self.filters.where(name=self.name), 1)
            latest = page.records[0] if page.records else None
        if not self._judged:  # nor meanwhile
            self.why.facts = facts_of_record(latest) if latest is not None else []

    async def explain(self) -> None:
        """Ask the control API for the verdict as it would be now, with what each character did."""
        self._current = True
        if self.many:
            return
        try:
            said = await self.context.control.explain(self.name)
        except Refused as error:
            self._judged = self._current = False
            self.characters.param.update(characters=[], empty=str(error))
            return
        self._judged = True
        self.why.facts = facts_of_verdict(said.get("verdict") or said, said)
        self.characters.characters = [c for c in said.get("characters", []) if "weight" in c]
        if not self.characters.characters:
            self.characters.empty = "The model was not asked."

    def where(self) -> Filter:
        """The filter of the history: the name, with all below it where asked for."""
        name = f".{self.name}" if self.wide and not self.many else self.name
        return self.filters.where(name=name)

    def _buttons(self) -> Any:
        def ask(kind: str) -> Any:
            return lambda _: self.decision.ask([self.name], kind)

        allowed = self.may("analyst") and not self.many
        make = {"disabled": not allowed, "variant": "outlined"}
        return toolbar(
            Button(label="Allow\u2026", icon="check", color="success", on_click=ask("benign"), **make),
            Button(label="Block\u2026", icon="block", color="error", on_click=ask("blocklist"), **make),
            Button(label="Honeypot\u2026", icon="hive", color="warning", on_click=ask("honeypot"), **make),
        )

    def _scope(self) -> Any:
        wide = Switch(label="and all below it", value=self.wide, disabled=self.many)

        def changed(event: Any) -> None:
            self.wide = event.new
            self._filters_changed()

        wide.param.watch(changed, "value")
        return wide

    def _entry(self, message: dict[str, Any]) -> None:
        if message.get("action") == "remove":
            row = message["row"]
            schedule(lambda: self.remove(row["list"], row["suffix"]))

    async def remove(self, kind: str, suffix: str) -> None:
        """Take an entry off its list and follow that to the resolvers."""
        doing = self.context.control.remove([{"list": kind, "suffix": suffix}], "removed on the look-up page")
        reply = await self.act(doing, functools.partial(removed, 1))
        if reply is not None:
            await asyncio.gather(self.reload(), self.explain(), self.decision.force.follow(int(reply.get("epoch", 0))))


def _understood(text: str) -> tuple[str, str, str]:
    """What was typed as a client, or as a name or a wildcard; or why it is none."""
    try:
        if not text:
            return "", "", ""
        if client := client_in(text):
            return client, "", ""
        return "", pattern_of(text) if "*" in text else name_of(text), ""
    except (BadFilter, names.BadName) as error:
        return "", "", str(error)


async def _none() -> list[Any]:
    return []
