"""Enforcement report: what would break if the resolvers enforced, and the way to enforce or to stop."""

import asyncio
from collections.abc import Iterable
from typing import Any

from dashboard.client import Refused
from dashboard.components import READY, Component, Facts, Table, Tiles
from dashboard.confirm import Confirm
from dashboard.decision import Decision, InForce
from dashboard.filters import RANGE_FIELDS
from dashboard.inputs import Button, TextInput
from dashboard.page import Context, Page, columns, panel, schedule, stack, toolbar
from dashboard.rows import counts_of, top_row
from dashboard.typed import BadFilter, client_of, page_of
from dashboard.vetted import allowed, enforcing
from dashboard.widgets import range_bar, text
from verdicts.names import split

NAMES = 100
EVERYONE = ("0.0.0.0/0", "::/0")


class Enforcement(Page):
    """Would-be blocks by name, clients and popularity, over any range."""

    path = "/enforcement"
    title = "Enforcement report"
    beat_seconds = 15
    usual_range = "7d"
    taken = (*RANGE_FIELDS, "client")

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.decision = Decision(self, decided=lambda: schedule(self.reload))
        self.tiles = Tiles()
        analyst = self.may("analyst")
        self.names = Table(
            heading="Names that would be blocked",
            caption="names that would be blocked",
            empty="Enforcing would have blocked nothing in this range.",
            multiple=analyst,
            actions=[
                {"id": "allow", "label": "Allow\u2026", "style": "good", "when": "open"},
                {"id": "allowed", "label": "Allowed", "when": "passing"},
            ]
            * analyst,
            on_message=self._row,
            columns=[
                {"key": "key", "label": "Name", "kind": "name"},
                {"key": "clients", "label": "Clients", "kind": "count"},
                {"key": "count", "label": "Queries", "kind": "bar", "tier": "block"},
                {"key": "popularity", "label": "Domain's queries", "kind": "count"},
                {"key": "generated", "label": "Machine-made", "kind": "score"},
                {"key": "last", "label": "Last", "kind": "ago"},
            ],
        )
        self.clients = Table(
            heading="Clients that would notice",
            caption="clients that would notice",
            empty="None.",
            columns=[
                {"key": "key", "label": "Client", "kind": "client"},
                {"key": "count", "label": "Queries", "kind": "bar", "tier": "block"},
            ],
        )
        self.policy = Facts(heading="Policy", empty="The policy is read through the control API.", status=READY)
        self.force, self.confirm = InForce(context), Confirm()
        self.prefix = TextInput(label="Clients (prefix; empty: all)", width=210, placeholder="192.0.2.0/24")
        self.note = TextInput(label="Why", width=210)

    def view(self) -> Any:
        f = self.filters
        admin = {"disabled": not self.may("admin")}
        analyst = {**admin, "disabled": not self.may("analyst")}
        allow = Button(
            label="Allow chosen\u2026",
            icon="check",
            color="success",
            variant="outlined",
            disabled=not self.may("analyst"),
            on_click=self._allow_chosen,
        )
        switch = toolbar(
            self.prefix,
            self.note,
            Button(
                label="Enforce",
                icon="gavel",
                color="error",
                variant="contained",
                on_click=lambda _: self.ask("enforce"),
                **admin,
            ),
            Button(
                label="Only monitor",
                icon="visibility",
                variant="outlined",
                on_click=lambda _: self.ask("monitor"),
                **admin,
            ),
            Button(
                label="Pause everything",
                icon="pause",
                variant="outlined",
                color="warning",
                on_click=lambda _: schedule(lambda: self.pause(True)),
                **analyst,
            ),
            Button(
                label="Resume",
                icon="play_arrow",
                variant="outlined",
                on_click=lambda _: schedule(lambda: self.pause(False)),
                **analyst,
            ),
        )
        return stack(
            range_bar(f, text(f, "client", "Client or prefix"), allow),
            self.decision.force.notice,
            self.tiles,
            panel(self.policy, switch),
            self.force.notice,
            columns(panel(self.names), panel(self.clients), least=280, shares=(9, 1)),
            self.decision.place,
            self.confirm.place,
        )

    def parts(self) -> Iterable[Component]:
        return self.tiles, self.names, self.clients

    async def start(self) -> None:
        await asyncio.gather(super().start(), self.read_policy())

    async def beat(self) -> None:
        await super().beat()
        if self._seconds % self.beat_seconds == 0:
            await self.read_policy()

    async def read(self) -> None:
        data = self.context.data
        would = self.filters.where(tier=("block",), enforced=False)
        tops, clients, by_source, all_queries = await asyncio.gather(
            data.top(would, "qname", NAMES, "clients", keep=10),
            data.top(would, "client", 20, keep=10),
            data.totals(would, "source", keep=10),
            data.totals(self.filters.where(), keep=10),
        )
        totals = counts_of(by_source)
        domains = tuple(sorted({split(top.key).registered for top in tops}))
        listed = [top.key for top in tops]
        counts, passing = await asyncio.gather(
            data.domains(self.filters.where(), domains, keep=60),
            data.ask(("allowed", *listed), lambda store: allowed(store, listed), 5),
        )
        rows = [
            {
                **top_row(top),
                "popularity": counts.get(split(top.key).registered, 0),
                "passing": top.key in passing,
                "open": top.key not in passing,
            }
            for top in tops
        ]
        self.names.renew(rows)
        self.clients.rows = [top_row(top) for top in clients]
        blocked, everything = sum(totals.values()), sum(cell.count for cell in all_queries)
        share = f"{100 * blocked / everything:.2f} % of all queries" if everything else ""
        if since := sum(top.count for top in tops if top.key in passing):
            share += f"; {since:,} of names allowed since"
        self.tiles.tiles = [
            {"label": "Queries that would be blocked", "value": blocked, "hint": share, "tier": "block"},
            {"label": "by the model", "value": totals.get("model", 0), "hint": "block tier", "tier": "alert"},
            {
                "label": "by lists",
                "value": blocked - totals.get("model", 0),
                "hint": "blocklist and honeypot",
                "tier": "none",
            },
            {
                "label": "Names",
                "value": len(tops),
                "hint": f"or more: {NAMES} are shown" if len(tops) == NAMES else "all of them",
                "tier": "plain",
            },
            {
                "label": "Clients",
                "value": len(clients),
                "hint": "or more: 20 are shown" if len(clients) == 20 else "all of them",
                "tier": "plain",
            },
        ]

    async def read_policy(self) -> None:
        """Show the policy in force."""
        try:
            policy = await self.context.control.policy()
        except Refused as error:
            self.policy.param.update(facts=[], empty=str(error))
            return
        wrong, policy = policy.get("wrong") or [], policy.get("policy", policy)
        overrides = policy.get("overrides") or []
        self.policy.facts = [
            enforcing(bool(policy.get("paused"))),
            *({"label": "As it was before", "value": each} for each in wrong),
            {"label": "Block tier", "value": policy.get("block_action", "nxdomain")},
            {"label": "Blocklist", "value": policy.get("blocklist_action", "nxdomain")},
            {
                "label": "Thresholds",
                "value": "the model's own" if not policy.get("thresholds") else str(policy["thresholds"]),
            },
            *({"label": override.get("client", ""), "value": override.get("mode", "")} for override in overrides),
        ]

    def ask(self, mode: str) -> None:
        """Enforce or monitor: at once for some clients, asking once more for all."""
        try:
            prefix = client_of(self.prefix.value)
        except BadFilter as error:
            self.context.tell(str(error), "error")
            return
        if prefix not in ("", *EVERYONE):  # 10.0.0.0/0 is everybody as well
            schedule(lambda: self.switch(mode, prefix))
            return
        verb, what = {
            "enforce": ("Enforce", "blocks what is judged so, for all of its clients"),
            "monitor": ("Only monitor", "blocks nothing any more, for all of its clients"),
        }[mode]
        would = self.tiles.tiles[0]["value"] if self.tiles.tiles else 0
        of = f" of {self.filters.client}" if self.filters.client else ""
        seen = f" In the range shown that would have been {would:,} queries{of}." if mode == "enforce" else ""
        says = f"Every resolver {what}; prefixes with a mode of their own keep it.{seen}"
        self.confirm.ask(verb, says, lambda: self.switch(mode, prefix))

    async def switch(self, mode: str, prefix: str) -> None:
        """Enforce or monitor for a prefix of clients, or, where it is empty, for all."""
        chosen = [prefix] if prefix else list(EVERYONE)

        async def write() -> dict[str, Any]:
            control = self.context.control
            policy = await control.policy()
            kept = [o for o in policy.get("policy", policy).get("overrides") or [] if o.get("client") not in chosen]
            overrides = kept + [{"client": client, "mode": mode} for client in chosen]
            # The whole list is written: refused where somebody else changed it since it was read.
            return await control.set_policy({"overrides": overrides}, self.note.value.strip(), policy.get("epoch"))

        await self._changed(write(), f"{mode} for {', '.join(chosen)}")

    async def pause(self, paused: bool) -> None:
        """Put every resolver into monitor, or back."""
        await self._changed(
            self.context.control.pause(paused, self.note.value.strip()), "Everything is paused" if paused else "Resumed"
        )

    async def _changed(self, doing: Any, done: str) -> None:
        reply = await self.act(doing, done)
        if reply is not None:
            self.note.value = ""  # the next change has a reason of its own
            await self.read_policy()
            await self.force.follow(int(reply.get("epoch", 0)))

    def _allow_chosen(self, _: Any) -> None:
        chosen = [row["key"] for row in self.names.chosen_rows()]
        if chosen:
            self.decision.ask(chosen, "benign")
        else:
            self.context.tell("Choose names in the table first.", "info")

    def _row(self, message: dict[str, Any]) -> None:
        if message.get("action") == "allow":
            self.decision.ask([str(message["row"]["key"])], "benign")
        elif message.get("action") == "allowed":  # by which entry, until when, and the way back
            self.context.go(page_of(str(message["row"]["key"])))
