"""`python -m tests.hostile_dashboard`: the demonstration with hostile text in every field that a page shows."""

import time
from typing import Any

from dashboard import demo, sample
from dashboard.sample_control import SampleControl
from tests.stores import BOOT, batch_of, observation
from verdicts.records import records_of
from verdicts.store import Document, Promise, Store

TEXTS = (
    "<img src=x onerror=alert(1)>",
    "<b>bold</b> [x](javascript:alert(1)) {{7*7}}",
    "\u202egnp.exe\u202c \u200bhidden\u2066",
    "\x1b[31mred\x07 \U0001f600\U000e0041",
    "=cmd|'/c calc'!a1",
)
FAR = 1 << 53  # milliseconds: no calendar goes there
RESOLVER = "<b>edge</b>\u202e"


def prepare(store: Store, now: int) -> None:
    """Hostile names that lead every ranking, and hostile words in every document."""
    store.initialise()
    rows = []
    for number in range(240):
        name, tier = sample.HOSTILE[number % len(sample.HOSTILE)], ("alert", "block")[number % 2]
        rows.append(
            observation(
                name, now - 1000 * number, client=f"192.0.2.{number % 40}", count=9, tier=tier, label="malicious",
                score=0.6, generated=0.6, rcode="NXDOMAIN", rule="<u>rule</u>", model="<i>model</i>\u202e",
                source="model", action="nxdomain" if tier == "block" else "passthru",
            )
        )  # fmt: skip
    rows += [observation(name, now - 500, count=50, model="<i>model</i>") for name in sample.HOSTILE]
    rows += [observation(name, now, label="unknown", source="none", reason=TEXTS[0]) for name in sample.HOSTILE]
    batch = batch_of(rows, resolver=RESOLVER)
    records = list(records_of(batch))
    store.append(records, [Promise(RESOLVER, BOOT, 1, now, batch.seen, 0, len(rows))])
    for text, record in zip(TEXTS, records, strict=False):
        documents = [
            Document("list", f"blocklist/{record.qname}", {"note": text, "expires": FAR, "author": text}),
            Document("label", f"label-{record.qname}", {"name": record.qname, "label": text}),
            Document("incident", f"192.0.2.31-{text}", _incident(text, record.qname, now)),
            Document("view", f"{text}/{text}", {"name": text, "address": "/queries", "author": text}),
        ]
        store.commit(documents, text, text)
        decided = {**_incident(text, record.qname, now), "state": "acknowledged"}
        store.commit([Document("incident", f"192.0.2.31-{text}", decided)], text, text)


def _incident(text: str, name: str, now: int) -> dict[str, Any]:
    return {
        "client": "192.0.2.31", "state": "open", "assignee": text, "start": now - 240_000, "end": now,
        "names": [name, text], "count": 9, "nxdomain": 9, "reason": text,
    }  # fmt: skip


class HostileControl(SampleControl):
    """Answers with hostile words where the real one passes on what others wrote."""

    def _status(self, *rest: Any) -> dict[str, Any]:
        resolver = {
            "name": RESOLVER,
            "mode": TEXTS[0],
            "version": TEXTS[1],
            "epoch": 1,
            "time": int(time.time() * 1000),
        }
        return {
            **super()._status(*rest), "resolvers": [resolver], "store": {"error": TEXTS[0]},
            "spool": {"spool_host": TEXTS[1], "spool_name": TEXTS[2], "spool_bytes": TEXTS[0], "dead": 1},
            "model": {"version": TEXTS[0]},
            "deployments": {text: {"status": text, "replicas": {text: 1}} for text in TEXTS},
        }  # fmt: skip

    def _jobs(self, method: str, rest: list[str], body: Any, author: str) -> dict[str, Any]:
        job = {"id": TEXTS[1], "kind": TEXTS[2], "state": TEXTS[0], "started": 1, "progress": {}, "error": TEXTS[3]}
        return {**job, "history": []} if rest else {"jobs": [job]}

    def _models(self, method: str, rest: list[str], body: Any, author: str) -> dict[str, Any]:
        manifest = {"version": TEXTS[0], "network": TEXTS[1], "parent": TEXTS[2], "notes": TEXTS[3]}
        return {"manifest": manifest} if rest else {"serving": TEXTS[0], "models": [manifest]}

    def _explain(self, method: str, rest: list[str], body: Any, author: str) -> dict[str, Any]:
        said = super()._explain(method, rest, body, author)
        return {**said, "nearest": {"family": TEXTS[0]}, "verdict": {**said["verdict"], "rule": TEXTS[1]}}


if __name__ == "__main__":
    vars(demo).update(prepare=prepare, SampleControl=HostileControl)
    demo.main()
