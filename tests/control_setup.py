"""An ingress replica with a real store behind it and no cluster, for the tests of the control API."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from deployments.messages import Scored, pack, unpack
from serve_app.context import Context
from serve_app.routes import application
from serve_app.settings import settings_of
from tests import told
from verdicts import tokens
from verdicts.follower import Follower
from verdicts.policy import Thresholds
from verdicts.reporters import Reporters
from verdicts.store import Document, Epoch, Store, open_store


class Graph:
    """Behind the ingress: the verdict log writes to the store at once; the model scores by the name's length."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reporters = Reporters()
        self.version = "v1"

    async def judge(self, names: bytes, deadline: float) -> Scored | None:
        scores = np.array([[0.0, len(name) / 100] for name in names.split(b"\n")], np.float32)
        return Scored(self.version, Thresholds(alert_score=0.2), scores)

    async def append(self, batch: bytes) -> None:
        self.reporters.note(batch, 1)

    async def commit(self, documents: list[Document], *more: Any) -> Epoch:
        return self.store.commit(unpack(pack(documents)), *more)

    async def explain(self, name: str, thresholds: Thresholds | None) -> dict[str, Any]:
        said = {
            "score": 0.3,
            "generated": 0.0,
            "tier": "alert",
            "rule": "score>=0.2",
            "head": "malicious",
            "nearest": None,
        }
        return {**said, "name": name, "characters": [{"character": c, "weight": 0.5} for c in name]}

    async def model_status(self) -> dict[str, Any]:
        return {"model": "v1"}

    async def log_status(self) -> dict[str, Any]:
        return {"spool_bytes": 0, "store": "healthy", "since": 1.0, "error": "", "resolvers": self.reporters.present(1)}


class Setup:
    """`replicas` ingress replicas over one store; `ask` goes to the first, or to the one named."""

    def __init__(self, folder: Path, replicas: int = 1, url: str = "") -> None:
        self.url = url or f"sqlite://{folder}/verdict.db"
        self.store = open_store(self.url)
        self.store.initialise()
        self.tokens = {role: tokens.issue(role, f"the-{role}", 1) for role in tokens.ROLES}
        self.store.commit([issued.document for issued in self.tokens.values()], "test")
        self.graph = Graph(self.store)
        args = {"store_url": self.url, "registry": str(folder / "models"), "spool_dir": str(folder / "spool")}
        self.followers = [Follower(self.url) for _ in range(replicas)]
        self.contexts = [
            Context(settings_of(args), follower, self.graph, f"replica-{number}")
            for number, follower in enumerate(self.followers)
        ]
        self.clients = [
            httpx.AsyncClient(transport=httpx.ASGITransport(application(context)), base_url="http://verdict")
            for context in self.contexts
        ]
        self.follow()

    def follow(self) -> None:
        """Every replica reads the store, as it does each quarter of a second."""
        for follower in self.followers:
            follower.poll()

    async def ask(
        self, method: str, path: str, body: Any = None, role: str = "admin", replica: int = 0, **headers: str
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        bearer = {"Authorization": f"Bearer {self.tokens[role].text}"} if role else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = await self.clients[replica].request(method, path, content=content, headers={**bearer, **named})
        told.check(method, reply)
        return reply

    async def good(self, method: str, path: str, body: Any = None, role: str = "admin", **headers: str) -> Any:
        """The reply to a call that succeeds; afterwards every replica has read the store."""
        reply = await self.ask(method, path, body, role, **headers)
        assert reply.status_code == 200, reply.text
        self.follow()
        return reply.json()

    async def verdict(self, name: str, replica: int = 0) -> dict[str, Any]:
        reply = await self.ask("POST", "/v1/verdicts", {"names": [name]}, "resolver", replica)
        return {**reply.json()["verdicts"][0], "epoch": reply.json()["epoch"]}
