"""A made-up control API for trying the dashboard out: answers in memory, writes to the made-up store.

It stands where the real one's transport would (`Client(transport=...)`). Verdicts and weights are arithmetic on
the characters of a name, no model's; what it knows of models and jobs is invented.
"""

import ipaddress
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from verdicts import list_formats
from verdicts.names import normalise, shown, suffixes
from verdicts.policy import LIST_NAMES, ListHit, Policy, decide_listed
from verdicts.store import Document, Store

VOWELS = frozenset("aeiou.-")
EPOCH_S = 3  # of a made-up training
EPOCHS = 20
RANK = ("viewer", "analyst", "admin")
Json = dict[str, Any]


class _Not(Exception):
    """A call that is not done: the status, the code and the message of its answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class SampleControl(httpx.AsyncBaseTransport):
    """The calls that the pages make."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._jobs_begun = {"20261122-101500-a1b2c3": clock() - 8 * EPOCH_S}
        self._begun = clock()
        self._cancelled: dict[str, int] = {}  # job: its epochs then
        self._kinds: dict[str, str] = {}  # of jobs
        self.serving = "cnn-2026-11-20"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content) if request.content else dict(request.url.params)
        role, author = request.headers.get("Verdict-Role", "viewer"), request.headers.get("Verdict-User", "")
        path = request.url.path.removeprefix("/v1/").split("/")
        writes = request.method != "GET" and path[0] not in ("explain", "views")
        needed = "admin" if path[0] in ("policy", "models") and path != ["policy", "pause"] else "analyst"
        if writes and RANK.index(role) < RANK.index(needed):
            return httpx.Response(403, json={"code": "forbidden", "message": f"role {role}: expected {needed}"})
        try:
            answer = getattr(self, f"_{path[0]}")(request.method, path[1:], body, author)
        except _Not as error:
            return httpx.Response(error.status, json={"code": error.code, "message": str(error)})
        return httpx.Response(200, json=answer)

    def _commit(self, documents: list[Document], author: str, note: str) -> Json:
        epoch = self._store.commit(documents, author, note)
        return {"epoch": epoch.number, "generation": epoch.generation}

    def _status(self, *_: Any) -> Json:
        now, epoch = int(self._clock() * 1000), self._store.epoch()
        names = (("edge-1", "enforce"), ("edge-2", "enforce"), ("office", "monitor"))
        resolvers = [
            {"name": name, "mode": mode, "version": "0.1.0", "epoch": epoch.number, "time": now} for name, mode in names
        ]
        up = {"status": "HEALTHY", "replicas": {"RUNNING": 2}}
        return {
            "epoch": epoch.number,
            "generation": epoch.generation,
            "paused": self._policy_now().paused,
            "model": {"version": self.serving},
            "resolvers": resolvers,
            "spool": {"spool_bytes": 4096, "spool_limit": 4 << 30, "stored": 81_204, "dead": 0},
            "store": {"state": "healthy", "since": self._begun},
            "deployments": {
                "Ingress": up,
                "Preprocessor": up,
                "Classifier": {**up, "replicas": {"RUNNING": 1}},
                "VerdictLog": up,
            },
        }

    def _explain(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        name = normalise(body["name"])
        head = name.split(".")[0]
        odd = sum(c not in VOWELS for c in head) / max(1, len(head)) * min(1.0, len(head) / 14)
        tier = "block" if odd > 0.75 else "alert" if odd > 0.5 else "none"
        weights = [(0.4 if c not in VOWELS else -0.3) + (0.5 if c.isdigit() else 0) for c in head]
        rest_of_it = [0.0] * (len(name) - len(head))
        scores = {"score": round(odd, 3), "generated": round(odd * 0.98, 3)}
        alone = {"tier": tier, "rule": "generated>=0.95" if tier == "block" else "", **scores}
        label, action = "benign" if tier == "none" else "malicious", "nxdomain" if tier == "block" else "passthru"
        hit = self._hit(name)
        verdict = {"label": label, "action": action, "source": "model", **alone}
        if hit is not None:
            verdict = msgspec.to_builtins(decide_listed(Policy(), hit))
        characters = [{"character": c, "weight": w} for c, w in zip(name, weights + rest_of_it, strict=True)]
        entry = None if hit is None else {"list": hit.list, "suffix": hit.suffix}
        return {
            "name": name, "verdict": verdict, "entry": entry, "alone": alone, "characters": characters, "nearest": None,
        }  # fmt: skip

    def _hit(self, name: str) -> ListHit | None:
        for suffix in suffixes(name):
            for kind in LIST_NAMES:
                entry = self._store.get("list", f"{kind}/{suffix}")
                if entry is not None and entry.body is not None:
                    return ListHit(kind, suffix)
        return None

    def _lists(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        if rest == ["import"]:
            return self._import(body, author)
        documents = []
        for entry in body["entries"]:
            gone = method == "DELETE"
            content = (
                None if gone else {"note": body.get("note", ""), "expires": entry.get("expires"), "author": author}
            )
            documents.append(Document("list", f"{entry['list']}/{entry['suffix']}", content))
        return self._commit(documents, author, body.get("note", ""))

    def _import(self, body: Json, author: str) -> Json:
        lines = body["text"].splitlines()
        form, now = list_formats.guess("\n".join(lines[:200])), int(self._clock() * 1000)
        parsed = list_formats.parse(lines, form, None, body["list"] == "benign", now)
        problems = [{"line": line, "reason": reason} for line, reason in parsed.problems]
        if not parsed.rows:
            first = problems[0] if problems else {"line": 1, "reason": "expected at least one name"}
            raise _Not(400, "malformed", f"text, line {first['line']}: {first['reason']}")
        documents = [
            Document(
                "list",
                f"{body['list']}/{row.name}",
                {"note": row.note or body["note"], "expires": row.expires or body["expires"], "author": author},
            )
            for row in parsed.rows
        ]
        committed = self._commit(documents, author, body["note"])
        return {**committed, "entries": len(parsed.rows), "left_out": parsed.left_out, "problems": problems}

    def _vetting(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        documents = []
        for decision in body["decisions"]:
            name = normalise(decision["name"])
            if decision["list"]:
                content = {"note": body["note"], "expires": decision["expires"], "author": author}
                documents.append(Document("list", f"{decision['list']}/{name}", content))
            if decision["label"]:
                documents.append(Document("label", name, {"name": name, "label": decision["label"]}))
            documents.append(Document("vetting", name, decision))
        return self._commit(documents, author, body["note"])

    def _audit(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        past = self._store.history(body["kind"], body.get("key", ""), 10_000)
        changes = [change for change in past if (change.epoch, change.time) == (body["epoch"], body["time"])]
        reply = self._commit([Document(each.kind, each.key, each.previous) for each in changes], author, "undo")
        return {**reply, "undone": len(changes)}

    def _incidents(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        key = "/".join(rest)
        present = self._store.get("incident", key)
        if present is None:
            raise _Not(404, "not-found", f"incident {shown(key)}: no such incident")
        if present.epoch > body["expect"]:
            raise _Not(409, "conflict", f"incident {key}: {present.author} changed it at epoch {present.epoch}")
        changes = {k: v for k, v in body.items() if k in ("state", "assignee")}
        return self._commit([Document("incident", key, {**(present.body or {}), **changes})], author, body["note"])

    def _policy(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        present = self._store.get("policy", "policy")
        policy = msgspec.to_builtins(self._policy_now())
        if method == "GET":
            return {"policy": policy, "epoch": present.epoch if present else 0}
        changes = {"paused": body["paused"]} if rest else body["policy"]
        for override in changes.get("overrides") or []:
            try:
                ipaddress.ip_network(override["client"])
            except ValueError:
                expected = "expected an address or a prefix such as 192.0.2.0/24"
                raise _Not(400, "malformed", f"policy.overrides {shown(override['client'])}: {expected}") from None
        return self._commit([Document("policy", "policy", {**policy, **changes})], author, body.get("note", ""))

    def _policy_now(self) -> Policy:
        present = self._store.get("policy", "policy")
        return msgspec.convert((present and present.body) or {}, Policy)

    def _models(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        manifests = [_manifest("cnn-2026-11-20", "segments", 8.1e-5), _manifest("seed", "seed", None)]
        known = {manifest["version"]: manifest for manifest in manifests}
        if rest and rest[0] not in (*known, "rollback"):
            raise _Not(404, "not-found", f"model {shown(rest[0])}: expected one of {', '.join(known)}")
        if rest[-1:] == ["replay"]:
            change = {
                "name": "login-docs-verify.example.net",
                "count": 41,
                "before": "alert",
                "after": "none",
                "rule": "",
            }
            return {"names": 1204, "queries": 80_112, "changes": [change], "changed": 1}
        if method == "POST":
            self.serving = rest[0] if rest[-1] == "promote" else "seed"
            return self._commit([Document("model", "serving", {"version": self.serving})], author, body.get("note", ""))
        if rest:
            manifest = known[rest[0]]
            worse = 1.0 if manifest["network"] == "segments" else 1.8
            return {"manifest": manifest, "history": _history(EPOCHS), "evaluation": _evaluation(worse)}
        return {"serving": self.serving, "models": manifests}

    def _views(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        view = {"name": rest[0], "address": body.get("address", ""), "author": author}
        return self._commit([Document("view", f"{author}/{rest[0]}", None if method == "DELETE" else view)], author, "")

    def _jobs(self, method: str, rest: list[str], body: Json, author: str) -> Json:
        if rest and rest[0] not in self._jobs_begun:
            raise _Not(404, "not-found", f"job {shown(rest[0])}: no such training job")
        if method == "POST" and rest:
            self._jobs_begun[rest[0]] = self._clock() - EPOCH_S * (self._cancelled.pop(rest[0]) - 1)
            return {"id": rest[0]}
        if method == "POST":
            number = f"{time.strftime('%Y%m%d-%H%M%S')}-{len(self._jobs_begun):06x}"
            self._jobs_begun[number], self._kinds[number] = self._clock(), body["kind"]
            return {"id": number}
        if method == "DELETE":
            self._cancelled[rest[0]] = self._epochs(rest[0])
        if rest:
            return {**self._job(rest[0]), "history": _history(self._epochs(rest[0]))[int(body.get("after", 0)) :]}
        return {"jobs": [self._job(number) for number in reversed(self._jobs_begun)]}

    def _epochs(self, number: str) -> int:
        spent = int((self._clock() - self._jobs_begun[number]) / EPOCH_S)
        return self._cancelled.get(number, min(EPOCHS, 1 + spent))

    def _job(self, number: str) -> Json:
        done = self._epochs(number)
        state = "cancelled" if number in self._cancelled else "done" if done == EPOCHS else "running"
        begun, progress = int(self._jobs_begun[number] * 1000), _history(done)[-1]
        kind = self._kinds.get(number, "retrain")
        return {
            "id": number, "kind": kind, "state": state, "started": begun, "progress": progress, "error": "",
            "resumable": kind == "train" and state == "cancelled",
        }  # fmt: skip


def _manifest(version: str, network: str, bound: float | None) -> Json:
    return {
        "version": version,
        "network": network,
        "encoding": "segments",
        "base_rate": 0.01,
        "parent": "",
        "thresholds": {"block": {"value": 0.95, "bound": bound}},
        "metrics": {"test_accuracy": 0.97},
    }


def _history(epochs: int) -> list[Json]:
    return [
        {
            "epoch": e,
            "epochs": EPOCHS,
            "loss": 0.7 / (1 + 0.35 * e) + 0.05,
            "val_loss": 0.72 / (1 + 0.3 * e) + 0.07,
            "accuracy": 0.99 - 0.4 / (1 + e),
            "val_accuracy": 0.975 - 0.4 / (1 + e),
        }
        for e in range(1, epochs + 1)
    ]


def _evaluation(worse: float) -> Json:
    parts = {}
    for name, size, good in (("train", 50_000, 1), ("validation", 10_000, 1.3), ("test", 40_000, 1.4)):
        slip = good * worse
        half = size // 2
        confusion = {
            "true_negative": half - int(half * 0.001 * slip),
            "false_positive": int(half * 0.001 * slip),
            "false_negative": int(half * 0.06 * slip),
            "true_positive": half - int(half * 0.06 * slip),
        }
        rates = [
            {"fpr": f, "recall": r / slip**0.2, "precision": 1 - f * 2, "threshold": t}
            for f, r, t in ((1e-4, 0.81, 0.95), (1e-3, 0.92, 0.7), (1e-2, 0.97, 0.3))
        ]
        bins = [
            {
                "predicted": p / 10 + 0.05,
                "observed": min(1.0, p / 10 + 0.05 + 0.02 * slip * ((p % 3) - 1)),
                "count": 100,
            }
            for p in range(10)
        ]
        parts[name] = {"names": size, "confusion": confusion, "at_fpr": rates, "reliability": bins}
    return {"parts": parts}
