"""The dialog in which a person decides on a name, and the strip that shows the decision reaching the resolvers."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from dashboard.client import Refused
from dashboard.components import READY, Choice, Notice
from dashboard.data import Failure
from dashboard.dialog import Dialog
from dashboard.inputs import Button, RadioGroup, Select, TextInput
from dashboard.page import Context, Page
from dashboard.vetted import DURATIONS, SHOWN_LIST, in_force, overruled
from verdicts import names

CHECK_SECONDS = 0.25
GIVE_UP_SECONDS = 15.0
CHECKED = 50  # names of one decision that are asked about afterwards
VERBS = {"benign": "Allow", "blocklist": "Block", "honeypot": "Honeypot"}


class Decision(Dialog):
    """Allow, block or honeypot one or more names: for how long, how wide, and why."""

    def __init__(self, page: Page, decided: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._page, self._decided = page, decided
        self._names: list[str] = []
        self.force = InForce(page.context)

    def _make_inputs(self) -> None:
        """The dialog and its inputs."""
        self.subject = Notice(status=READY)
        self.kind = Choice(VERBS, value="benign", heading="Decision")
        self.scope = RadioGroup(
            options=["this name and all below it", "its whole registered domain"],
            value="this name and all below it",
            label="How wide",
        )
        self.duration = Select(
            options=list(DURATIONS),
            value="7 days",
            label="For how long",
        )
        self.note = TextInput(label="Why (kept in the history)", max_length=500)
        go = Button(label="Decide", color="primary", variant="contained", on_click=self._submit)
        self._make("Decide", go, self.subject, self.kind, self.scope, self.duration, self.note)

    def ask(self, chosen: list[str], kind: str = "benign") -> None:
        """Open the dialog for these names."""
        if self.dialog is None:
            self._make_inputs()
        self._names = chosen
        self.kind.value = kind
        self.note.value = ""
        self.scope.value = self.scope.options[0]  # who widened the last decision did not mean the next
        text = chosen[0] if len(chosen) == 1 else f"{len(chosen)} names: {', '.join(chosen[:5])}"
        self.subject.text = text if len(text) < 400 else text[:400] + "\u2026"
        self._open()

    def _submit(self, _: Any) -> None:
        self._done(self.submit)

    async def submit(self) -> None:
        """Put the entries on the list and follow the decision to the resolvers."""
        chosen, kind = self._names, self.kind.value  # the dialog may ask about others before all is told
        entries = entries_of(chosen, kind, self.duration.value, self.scope.value.startswith("its"))
        done = f"{VERBS[kind]}: {len(entries)} on the {SHOWN_LIST[kind]}"
        reply = await self._page.act(self._page.context.control.add(entries, self.note.value.strip()), done)
        if reply is None:
            return
        if self._decided is not None:
            self._decided()
        await self.force.follow(int(reply.get("epoch", 0)))
        await self.force.tell_overruled(chosen, kind)


def entries_of(
    chosen: list[str], kind: str, duration: str, registered: bool, now: int | None = None
) -> list[dict[str, Any]]:
    """The list entries of a decision; the same entry once."""
    length = DURATIONS[duration]
    expires = None if length is None else (int(time.time() * 1000) if now is None else now) + length
    suffixes: dict[str, None] = {}
    for name in chosen:
        suffixes[names.split(name).registered if registered else name] = None
    return [{"list": kind, "suffix": suffix, "expires": expires} for suffix in suffixes]


class InForce:
    """Shows at how many resolvers a decision is in force, and after how long."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.notice = Notice(status=READY, visible=False)
        self._latest = 0  # decision, by its number

    async def tell_overruled(self, chosen: list[str], kind: str) -> None:
        """Say so where another entry decides all the same: a longer one, or an allowed name that was blocked."""
        some = chosen[:CHECKED]
        try:
            found = await self._context.data.ask(("overruled", kind, *some), lambda s: overruled(s, some, kind), 0)
        except Failure:
            return
        if not found:
            return
        name, key = found[0]
        of, _, suffix = key.partition("/")
        others = f", and {len(found) - 1} more like it" if len(found) > 1 else ""
        text = (
            f"{name} is still decided by the {SHOWN_LIST[of]}'s entry {suffix}{others}; remove that for this to count."
        )
        self.notice.param.update(visible=True, kind="warn", text=f"Saved, but {text}")

    async def follow(self, epoch: int) -> None:
        """Ask the control API until every resolver that reports knows the epoch, or another decision is followed."""
        began = time.monotonic()
        self._latest += 1
        number = self._latest
        self.notice.param.update(visible=True, kind="wait", text="Saved. Waiting for the resolvers\u2026")
        while (spent := time.monotonic() - began) < GIVE_UP_SECONDS:
            try:
                resolvers, lacking = (await self._context.control.status()).get("resolvers", []), ""
            except Refused as error:
                resolvers, lacking = [], str(error)
            if number != self._latest:  # what is told is taken for the latest one, which they may not know yet
                return
            if lacking:
                self.notice.param.update(kind="warn", text=f"Saved; whether it is in force is not known: {lacking}")
                return
            known, of = in_force(epoch, resolvers, int(time.time() * 1000))
            if known == of:
                text = (
                    f"In force at {of} of {of} resolvers after {spent:.1f} s."
                    if of
                    else "Saved. No resolver reports at present; it is in force as soon as one asks."
                )
                self.notice.param.update(kind="good", text=text)
                return
            self.notice.param.update(kind="wait", text=f"In force at {known} of {of} resolvers\u2026")
            await asyncio.sleep(CHECK_SECONDS)
            if number != self._latest:
                return
        self.notice.param.update(
            kind="warn",
            text=f"Saved, but only {known} of {of} resolvers confirmed within {GIVE_UP_SECONDS:.0f} s; see Health.",
        )
