"""Health: is every part there, and is every query accounted for?"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from dashboard.client import Refused
from dashboard.components import READY, Component, Facts, Notice, Table
from dashboard.page import Context, Page, columns, panel, stack
from dashboard.rows import counts_of
from dashboard.vetted import enforcing
from dashboard.widgets import range_bar
from verdicts.reconciliation import EDGE_MS, gaps_of, state_of
from verdicts.store import BatchState

LATE_S = 10
COUNTED = ("seen", "rows", "stored", "dead", "pending", "missing", "lost", "discarded")  # of a resolver's row


class Health(Page):
    """Resolvers with version, mode and reconciliation; cluster, store and spool."""

    path = "/health"
    title = "Health"
    beat_seconds = 3
    usual_range = "15m"

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.resolvers = Table(
            heading="Resolvers",
            caption="resolvers",
            empty="No resolver has reported in this range.",
            columns=[
                {"key": "resolver", "label": "Resolver", "kind": "text"},
                {"key": "state", "label": "State", "kind": "state"},
                {"key": "version", "label": "Version", "kind": "word"},
                {"key": "mode", "label": "Mode", "kind": "word"},
                {"key": "epoch", "label": "Epoch", "kind": "count"},
                {"key": "last", "label": "Last report", "kind": "ago"},
                {"key": "seen", "label": "Queries", "kind": "count"},
                {"key": "rows", "label": "Rows promised", "kind": "count"},
                {"key": "stored", "label": "stored", "kind": "count"},
                {"key": "dead", "label": "rejected", "kind": "count"},
                {"key": "pending", "label": "pending", "kind": "count"},
                {"key": "missing", "label": "missing", "kind": "count"},
                {"key": "lost", "label": "Batches missing", "kind": "count"},
                {"key": "discarded", "label": "Discarded", "kind": "count"},
            ],
        )
        self.deployments = Table(
            heading="Cluster",
            caption="deployments",
            empty="The control API tells; it is not configured or does not answer.",
            status=READY,
            columns=[
                {"key": "name", "label": "Deployment", "kind": "text"},
                {"key": "status", "label": "State", "kind": "state"},
                {"key": "replicas", "label": "Replicas", "kind": "text"},
            ],
        )
        self.store = Facts(heading="Store and spool")
        self.reasons = Table(
            heading="Queries without a verdict",
            caption="reasons",
            empty="No query in this range went without a verdict.",
            columns=[
                {"key": "key", "label": "Reason", "kind": "text"},
                {"key": "count", "label": "Queries", "kind": "bar", "tier": "unknown"},
            ],
        )
        self.trouble = Notice(status=READY, kind="warn", visible=False)

    def view(self) -> Any:
        return stack(
            range_bar(self.filters),
            self.trouble,
            panel(self.resolvers),
            columns(panel(self.deployments), panel(self.store), panel(self.reasons), least=320),
        )

    def parts(self) -> Iterable[Component]:
        return self.resolvers, self.store, self.reasons

    async def read(self) -> None:
        start, end = self.filters.span()
        unknown = self.filters.where(label=("unknown",))
        status = await self._status()
        facts = [
            {"label": "Model", "value": _model(status.get("model"))},
            *([enforcing(bool(status["paused"]))] if "paused" in status else []),
            *log_facts(status.get("spool") or {}, status.get("store") or {}),
        ]
        try:
            epoch, batches, reasons = await asyncio.gather(
                self.context.data.epoch(),
                self.context.data.batches(max(start, end - 3_600_000), end, 2),
                self.context.data.totals(unknown, "reason"),
            )
        finally:
            self.store.facts = facts
        self.store.facts = [
            {"label": "Epoch", "value": epoch.number, "kind": "count", "more": epoch.generation},
            *facts,
        ]
        known = {
            str(resolver.get("name") or resolver.get("resolver", "")): resolver
            for resolver in status.get("resolvers", [])
        }
        now = min(end, int(time.time() * 1000))  # a long range moves in steps: it ends up to half a minute from now
        self.resolvers.param.update(
            rows=resolver_rows(batches, known, now), note="of the last hour" if end - start > 3_600_000 else ""
        )
        self.reasons.rows = [
            {"key": key or "(none)", "count": count}
            for key, count in sorted(counts_of(reasons).items(), key=lambda item: -item[1])
        ]

    async def _status(self) -> dict[str, Any]:
        try:
            status = await self.context.control.status()
        except Refused as error:
            self.trouble.param.update(visible=True, text=f"Cluster: {error}")
            self.deployments.rows = []  # of before
            return {}
        told = store_trouble(status.get("spool") or {}, status.get("store") or {})
        self.trouble.param.update(visible=bool(told), text=told)
        self.deployments.rows = deployment_rows(status.get("deployments") or {})
        return status


def resolver_rows(batches: Sequence[BatchState], known: dict[str, dict[str, Any]], now: int) -> list[dict[str, Any]]:
    """One row a resolver: what its reports promised against what the log holds."""
    rows: dict[str, dict[str, Any]] = {}

    def row_of(resolver: str) -> dict[str, Any]:
        return rows.setdefault(resolver, {"resolver": resolver, **dict.fromkeys(COUNTED, 0), "last": 0})

    for batch in batches:
        row = row_of(batch.resolver)
        for key in ("seen", "rows", "stored", "dead", "discarded"):
            row[key] += getattr(batch, key) or 0
        if (state := state_of(batch, now)) in ("pending", "missing"):
            row[state] += batch.missing
        row["last"] = max(row["last"], batch.time)
    for gap in gaps_of(batches, min((batch.time for batch in batches), default=0) + EDGE_MS):
        if state_of(gap, now) == "missing":
            row_of(gap.resolver)["lost"] += gap.batches
    for name, said in known.items():
        row = row_of(name)
        row |= {"version": said.get("version", ""), "mode": said.get("mode", ""), "epoch": said.get("epoch", 0)}
        row["last"] = max(row["last"], int(said.get("time") or 0))
    for row in rows.values():
        late = now - row["last"] > LATE_S * 1000
        lossy = any(row[key] for key in ("discarded", "dead", "missing", "lost"))
        row["state"] = "silent" if late else "lossy" if lossy else "good"
    return [rows[name] for name in sorted(rows)]


def deployment_rows(deployments: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a deployment, with its replicas by state."""
    rows = []
    for name, said in sorted(deployments.items()):
        status = str(said.get("status", ""))
        replicas = ", ".join(f"{count} {state.lower()}" for state, count in (said.get("replicas") or {}).items())
        shown = (
            "good" if status in ("HEALTHY", "RUNNING") else "warning" if status in ("UPDATING", "UPSCALING") else status
        )
        rows.append({"name": name, "status": shown.lower(), "replicas": replicas})
    return rows


def log_facts(spool: dict[str, Any], store: dict[str, Any]) -> list[dict[str, Any]]:
    """How the verdict log fares: what waits on its disk, what it stored and gave up, and the store's state."""
    facts: list[dict[str, Any]] = []
    if "spool_bytes" in spool:
        limit = spool.get("spool_limit")
        of = {"more": f"of {octets(limit)} before reports are refused"} if limit else {}
        facts.append({"label": "Waiting on disk", "value": octets(spool["spool_bytes"]), **of})
    if place := " ".join(str(spool[name]) for name in ("spool_host", "spool_name") if spool.get(name)):
        facts.append({"label": "Spool", "value": place})
    for name, label in (("stored", "Rows stored"), ("dead", "Rows given up")):
        if name in spool:
            more = {"more": "rejected by the store; kept with the reason"} if name == "dead" and spool[name] else {}
            facts.append({"label": label, "value": spool[name], "kind": "count", **more})
    if store.get("state"):
        facts.append({"label": "Store", "value": str(store["state"])})
    if isinstance(store.get("since"), int | float):
        facts.append({"label": "Store since", "value": int(store["since"] * 1000), "kind": "time"})
    if store.get("error"):
        facts.append({"label": "Store says", "value": str(store["error"])})
    return facts


def store_trouble(spool: dict[str, Any], store: dict[str, Any]) -> str:
    """What a person should know where the store takes nothing of the verdict log; "" where it does."""
    state = str(store.get("state") or "healthy")
    if state == "healthy":
        return ""
    if "spool_bytes" not in spool:
        return f"The verdict log does not answer: {store.get('error') or state}"
    waits = f"{octets(spool['spool_bytes'])} of {octets(spool.get('spool_limit', '?'))}"
    says = f"The store takes nothing of the verdict log: {store.get('error') or state}."
    return f"{says} What resolvers report waits on disk ({waits}) and goes in by itself once the store takes it."


def octets(number: Any) -> str:
    """A number of octets as people read it; what is no number stays as it is."""
    if not isinstance(number, int | float):
        return str(number)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _model(said: Any) -> str:
    if isinstance(said, dict):
        return str(said.get("version") or said.get("unreachable") or "\u2013")
    return str(said or "\u2013")
