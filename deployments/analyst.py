"""What the control API does with the registry. Changes of what serves have a process of their own, and replays another.

They need TensorFlow, which an ingress replica must not load. Every function here blocks: call it from a thread.
"""

import json
import time
from typing import Any

import msgspec
import ray

from deployments.actors import actor

NAME = "verdict-analyst"
REPLAYS = "verdict-replays"  # another actor: no roll-back waits for a replay, or ends with one that lacks memory
PATIENCE_S = 120.0
SPARE_S = 10.0  # of it, for the end of what has begun: later than that nothing begins, least of all a change


class TooLate(Exception):
    """The time for an answer is over; nothing was changed."""


class Refused(Exception):
    """What was asked cannot be; `code` is the wire's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return Refused, (self.code, str(self))


class Unanswered(Exception):
    """No answer, or not in time. Of a change: nothing was changed, and nothing will be."""


class Analyst:
    """The actor, one for changes and one for replays: one question at a time each."""

    def __init__(self, registry: str) -> None:
        from model.registry import Registry

        self._registry = Registry(registry)

    def ask(self, what: str, until: float, *arguments: Any) -> Any:
        """Promote, roll back or replay; `until` in `time.time()` seconds. Raises `Refused`, `TooLate`."""
        from model.artifact import BadArtifact
        from model.registry import GuardFailed, UnknownVersion

        self._until = until
        try:
            self._in_time()  # it waited for the questions before it
            return getattr(self, f"_{what}")(*arguments)
        except UnknownVersion as error:
            raise Refused("not-found", str(error)) from None
        except (GuardFailed, BadArtifact, BlockingIOError) as error:
            raise Refused("conflict", str(error)) from None

    def _in_time(self) -> None:
        if time.time() > self._until:
            raise TooLate(f"it was not begun within {PATIENCE_S - SPARE_S:.0f} s")

    def _promote(self, version: str, force: bool, in_force: Any) -> str:
        from model.replay import guard

        self._registry.promote(version, lambda artifact: guard(artifact, in_force), force, self._in_time)
        return version

    def _roll_back(self) -> str:
        return self._registry.rollback(self._in_time)

    def _replay(self, version: str, names: list[tuple[str, int]], policy: Any, popular: set[str]) -> dict[str, Any]:
        from model.replay import replay
        from model.scorer import Scorer

        serving, candidate = (Scorer(self._registry.get(v), (1024,)) for v in (self._registry.serving(), version))
        report: dict[str, Any] = msgspec.to_builtins(replay(names, serving, candidate, policy, popular))
        return report


def models(registry: str) -> dict[str, Any]:
    """The manifests of all models, and which of them serves ("" for none)."""
    from model.registry import Registry

    found = Registry(registry)
    return {"serving": _serving(found), "models": [msgspec.to_builtins(manifest) for manifest in found.list()]}


def known(registry: str, version: str) -> Any:
    """The manifest of a model, of whose other files none is read. Raises `Refused`."""
    from model.artifact import BadArtifact
    from model.registry import Registry, UnknownVersion

    try:
        return Registry(registry).manifest(version)
    except UnknownVersion as error:
        raise Refused("not-found", str(error)) from None
    except BadArtifact as error:
        raise Refused("conflict", str(error)) from None


def model(registry: str, version: str) -> dict[str, Any]:
    """One manifest, with the history of its training and its evaluation. Raises `Refused`."""
    from model.artifact import EVALUATION, HISTORY, BadArtifact, check_digests
    from model.registry import Registry

    manifest, path = known(registry, version), Registry(registry).path(version)
    try:
        check_digests(path, manifest)  # what somebody altered says nothing of the model
    except BadArtifact as error:
        raise Refused("conflict", str(error)) from None
    history, evaluation = path / HISTORY, path / EVALUATION
    return {
        "manifest": msgspec.to_builtins(manifest),
        "history": [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else [],
        "evaluation": json.loads(evaluation.read_text()) if evaluation.exists() else {},
        "serving": version == _serving(Registry(registry)),
    }


def notices(registry: str, version: str, in_force: Any) -> list[str]:
    """What whoever lets this model serve, by the policy's thresholds `in_force` if there are any, should know of it;
    none of one that cannot be read."""
    from model.artifact import BadArtifact, read_manifest
    from model.registry import Registry, UnknownVersion

    try:
        return read_manifest(Registry(registry).path(version)).notices(in_force)
    except (UnknownVersion, BadArtifact):
        return []


def change(registry: str, what: str, *arguments: Any) -> str:
    """Promote or roll back; the version that serves then. Raises `Refused`, or `Unanswered` where it was not done."""
    from model.registry import Registry

    pointer = Registry(registry).pointer()
    done = [arguments[0]] if what == "promote" else pointer[1:2]
    try:
        return str(ask(registry, what, *arguments))
    except Unanswered as error:
        # By now it is done or will not be, so the pointer tells.
        if done and Registry(registry).pointer()[:1] == done:
            return str(done[0])
        raise Unanswered(f"{error}; nothing was changed") from None


def pointer(registry: str) -> list[str]:
    """The version that serves, then those that served before."""
    from model.registry import Registry

    return Registry(registry).pointer()


def take_back(registry: str, served: str, former: list[str]) -> None:
    """Set the pointer as it was before a change from which `served` serves, unless another version does by now."""
    from model.registry import Registry

    Registry(registry).point(former, served)


def ask(registry: str, what: str, *arguments: Any) -> Any:
    """Put a question to the cluster's analyst, which is started when it is first needed."""
    until = time.time() + PATIENCE_S - SPARE_S
    name = REPLAYS if what == "replay" else NAME
    try:
        return ray.get(actor(Analyst, name, registry).ask.remote(what, until, *arguments), timeout=PATIENCE_S)
    except ray.exceptions.GetTimeoutError:
        raise Unanswered(f"no answer within {PATIENCE_S:.0f} s") from None
    except ray.exceptions.RayActorError:
        raise Unanswered("what does it ended meanwhile") from None
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Refused):
            raise error.cause from None
        if isinstance(error.cause, TooLate):
            raise Unanswered(str(error.cause)) from None
        raise


def _serving(registry: Any) -> str:
    from model.registry import UnknownVersion

    try:
        return str(registry.serving())
    except UnknownVersion:
        return ""
