"""What people decided, as an ingress replica follows it: poll the epoch, read what changed, swap it in whole.

Invariant: a `View` holds every change up to its epoch, because the epoch is read before the documents are. It may
hold newer ones; those are applied again with the next epoch, which changes nothing.
"""

import logging
import time
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from verdicts.lists import LIST_KIND, PREVALENCE_KIND, Lists
from verdicts.policy import Policy, policy_of
from verdicts.snapshot import BadSnapshot, Snapshot, load, save
from verdicts.store import Document, Epoch, Misconfigured, StateStore, Unavailable, open_store

MAX_CHANGES = 1000  # suffixes told to a plugin at once; more means: believe no cached list verdict
MAX_FOLLOWED = 50_000  # list entries read one by one, which a part of an import has; for more, all keys are read anew
KEPT_CHANGES = 10_000  # changes remembered, for plugins that were away
PLAIN_KINDS = ("policy", "model", "token")  # followed as documents

log = logging.getLogger(__name__)


class View(NamedTuple):
    """One state of all decisions. `documents` is by (kind, key), for PLAIN_KINDS."""

    epoch: Epoch
    lists: Lists
    policy: Policy
    documents: dict[tuple[str, str], Document]

    def of_kind(self, kind: str) -> dict[str, Document]:
        """The documents of one kind by their key."""
        return {key: document for (found, key), document in self.documents.items() if found == kind}


NOTHING = View(Epoch(0, ""), Lists(), Policy(), {})


class Follower:
    """Keeps `view` in step with a store. `poll` is for one thread and `save` for one; all else may be read from any.

    To write the snapshot of a million entries takes longer than to follow a change, so that it is done apart: a
    change that comes meanwhile is in force at once, and the next `save` holds it.
    """

    def __init__(self, store_url: str | StateStore, snapshot_path: Path | str | None = None) -> None:
        self._store = open_store(store_url, readonly=True) if isinstance(store_url, str) else store_url
        self._snapshot_path = Path(snapshot_path) if snapshot_path else None
        self.view = NOTHING
        self.stale_since: float | None = time.time()  # Unix seconds; None while the store answers
        self.error = "the store has not been read yet"
        self._changed: list[tuple[int, str | None]] = []  # (epoch, suffix or None for a refresh), rising
        self._known_from = 0  # changes after this epoch are all in `_changed`
        self._saved = NOTHING  # the view that the snapshot holds
        self._start_from_snapshot()

    @property
    def epoch(self) -> Epoch:
        return self.view.epoch

    @property
    def policy(self) -> Policy:
        return self.view.policy

    @property
    def loaded(self) -> bool:
        """True once there is something to decide by: a store was read, or a snapshot."""
        return self.view is not NOTHING

    def poll(self) -> bool:
        """Follow the store once; True when the view changed. A store that is away leaves the last view standing."""
        try:
            epoch = self._store.epoch()
            changed = epoch != self.view.epoch
            if changed:
                self._advance(epoch)
        except Exception as error:  # a defect, or a document that nobody thought of: what is not followed must show
            known = isinstance(error, (Unavailable, Misconfigured))
            self.error = str(error) if known else f"{type(error).__name__}: {error}"
            if self.stale_since is None:
                self.stale_since = time.time()
                log.warning(
                    "decisions stand as of epoch %d: %s", self.view.epoch.number, self.error, exc_info=not known
                )
            return False
        self.stale_since, self.error = None, ""
        return changed

    def save(self) -> None:
        """Write the snapshot, if it lacks anything of the view."""
        view = self.view
        if self._snapshot_path is None or view is self._saved:
            return
        contact = int((self.stale_since or time.time()) * 1000)
        try:
            save(self._snapshot_path, Snapshot(view.epoch, view.lists.dump(), list(view.documents.values()), contact))
            self._saved = view
        except OSError as error:
            log.warning("snapshot %s: %s", self._snapshot_path, error)

    def changes_since(self, epoch: int, generation: str = "") -> tuple[list[str] | None, bool]:
        """For the reply to a resolver that has seen `epoch`: suffixes changed since (None: too many or unknown),
        and whether model or policy changed."""
        current, known_from, changed = self.view.epoch, self._known_from, self._changed
        if epoch == current.number and generation in ("", current.generation):
            return [], False
        if generation not in ("", current.generation) or epoch < known_from or epoch > current.number:
            return None, True
        later = changed[bisect_right(changed, epoch, key=lambda change: change[0]) :]
        suffixes = {suffix for _, suffix in later if suffix is not None}
        return sorted(suffixes) if len(suffixes) <= MAX_CHANGES else None, any(suffix is None for _, suffix in later)

    def close(self) -> None:
        """Let the store go."""
        close = getattr(self._store, "close", None)
        if close is not None:
            close()

    def _advance(self, epoch: Epoch) -> None:
        """Read what changed up to `epoch` and swap it in."""
        old = self.view
        continues = epoch.generation == old.epoch.generation and epoch.number > old.epoch.number
        lists, documents = old.lists, dict(old.documents)
        told: list[tuple[int, str | None]] | None = []
        anew = False  # the lists were read as a whole, both kinds of them
        for kind in (LIST_KIND, PREVALENCE_KIND, *PLAIN_KINDS):
            limit = MAX_FOLLOWED if kind == LIST_KIND else MAX_CHANGES
            found = self._store.changes(kind, old.epoch.number, limit) if continues else None
            if found is None:
                told = None
                if kind in PLAIN_KINDS:
                    documents = {k: d for k, d in documents.items() if k[0] != kind}
                    documents |= {(kind, d.key): d for d in self._store.scan(kind)}
                elif not anew:
                    lists, anew = self._all_lists(), True
                continue
            if kind in PLAIN_KINDS:
                for document in found:
                    documents.pop((kind, document.key), None)
                    if document.body is not None:
                        documents[kind, document.key] = document
            elif found:
                lists = lists.apply(found)
            if told is not None:
                told += [change for document in found if (change := _told(document)) is not None]
        if told is None:
            self._changed, self._known_from = [], epoch.number
        else:
            self._remember(told)
        self.view = View(epoch, lists, _policy(documents, old.policy), documents)

    def _all_lists(self) -> Lists:
        runs = {document.key: document.body or {} for document in self._store.scan(PREVALENCE_KIND)}
        return Lists.of_keys(self._store.keys(LIST_KIND), runs)

    def _remember(self, told: list[tuple[int, str | None]]) -> None:
        changed = sorted({*self._changed, *told}, key=lambda change: change[0])
        if len(changed) > KEPT_CHANGES:
            self._known_from = changed[-KEPT_CHANGES - 1][0]
            changed = changed[bisect_right(changed, self._known_from, key=lambda change: change[0]) :]
        self._changed = changed

    def _start_from_snapshot(self) -> None:
        if self._snapshot_path is None:
            return
        try:
            found = load(self._snapshot_path)
        except (BadSnapshot, OSError) as error:
            log.warning("%s; starting without it", error)
            return
        if found is None:
            return
        documents = {(d.kind, d.key): d for d in found.documents}
        self.view = self._saved = View(found.epoch, Lists.load(found.lists), _policy(documents, Policy()), documents)
        self._known_from = found.epoch.number
        self.stale_since = found.time / 1000


def _told(document: Document) -> tuple[int, str | None] | None:
    """What a resolver must hear of a change: a suffix, or None for a refresh."""
    if document.kind == LIST_KIND:
        return document.epoch, document.key.partition("/")[2]
    return (document.epoch, None) if document.kind != "token" else None


def _policy(documents: dict[tuple[str, str], Document], former: Policy) -> Policy:
    """The policy document as a `Policy`; a field that does not fit is as it was."""
    document = documents.get(("policy", "policy"))
    policy, wrong = policy_of((document and document.body) or {}, former)
    for each in wrong:
        log.error("policy of epoch %d, refused in part: %s", document.epoch if document else 0, each)
    return policy
