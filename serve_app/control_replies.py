"""What the control API answers, as types: handlers return them, and the OpenAPI document is made of them.

Times are Unix milliseconds unless a field says otherwise.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from model.manifest import Manifest
from model.replay import Change
from verdicts.policy import ListHit, ListName, Policy, Tier, Verdict
from verdicts.store import Document

Label = Literal["generated", "malicious", "benign", "unsure"]  # of an analyst


class Committed(TypedDict):
    """From which epoch on a change is in force, and of which store."""

    epoch: int
    generation: str


class Changed(Committed):
    """`entries`: how many were added or removed."""

    entries: int


class Undone(Committed):
    """`undone`: how many changes were taken back."""

    undone: int


class Removed(Changed):
    """`absent`: the suffixes that were on no such list."""

    absent: list[str]


class Problem(TypedDict):
    """A line of an import that was left out."""

    line: int
    reason: str


class Imported(Committed):
    """`left_out`: how many lines were; `problems` tells the first of them."""

    entries: int
    left_out: int
    problems: list[Problem]


class Entry(TypedDict):
    """A vetted entry; `expires` null: never."""

    list: ListName
    suffix: str
    note: str
    expires: int | None
    author: str
    time: int
    epoch: int


class Entries(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    entries: list[Entry]
    after: str | None


class Exported(TypedDict):
    """A list as text, a name a line."""

    list: str
    text: str


class Changes(TypedDict):
    """Who changed what, newest first."""

    changes: list[Document]


class PolicyState(TypedDict):
    """The policy in the store, and its last change; epoch 0: none was made."""

    policy: Policy
    epoch: int
    author: str
    time: int


class Models(TypedDict):
    """Every model that may serve, and the version that does ("" for none)."""

    serving: str
    models: list[Manifest]


class Model(TypedDict):
    """One model; `history` as its training wrote it, a line an object."""

    manifest: Manifest
    history: list[dict[str, Any]]
    evaluation: dict[str, Any]
    serving: bool


class Served(Committed):
    """The version that serves from now on; `notices` says what to know of it, such as that it never blocks."""

    serving: str
    notices: list[str]


class Replayed(TypedDict):
    """What a candidate would change: `names` and their `queries` asked again, queries by tier before and after."""

    names: int
    queries: int
    before: dict[Tier, int]
    after: dict[Tier, int]
    changes: list[Change]  # the first of them
    changed: int  # all of them
    start: int
    end: int
    notices: list[str]  # what to know of the candidate, such as that it never blocks


class Character(TypedDict):
    """How much the explained head's logit falls when this character is hidden."""

    character: str
    weight: float


class Family(TypedDict):
    """The known family that a name resembles most, with its share of the likelihood over all of them."""

    family: str
    share: float


class Alone(TypedDict):
    """What the model says of a name without the lists."""

    tier: Tier
    rule: str
    score: float
    generated: float


class Explained(TypedDict):
    """Why a name has its verdict: the entry that decides, else what moved the model."""

    name: str
    verdict: Verdict
    model: str
    entry: ListHit | None
    characters: list[Character]
    head: str
    nearest: Family | None
    alone: Alone | None


class Job(TypedDict):
    """A training job, as `deployments.trainer` tells it; `ended` 0: not yet."""

    id: str
    kind: str
    state: Annotated[str, Meta(extra_json_schema={"enum": ["queued", "running", "done", "failed", "cancelled"]})]
    settings: dict[str, Any]
    version: str
    device: str
    started: int
    ended: int
    progress: dict[str, Any]
    error: str


class JobWithHistory(Job):
    """`history`: its lines from the asked one on."""

    history: list[dict[str, Any]]


class Jobs(TypedDict):
    """All training jobs, newest first."""

    jobs: list[Job]


class Started(Committed):
    """The job that began."""

    id: str


class Settled(TypedDict):
    """What was decided on a name of the queue."""

    key: str
    name: str
    list: ListName | None
    label: Label | None
    note: str
    author: str
    time: int
    expires: int | None


class Vetting(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    decisions: list[Settled]
    after: str | None


class Taught(TypedDict):
    """A label that teaches."""

    key: str
    name: str
    label: Label
    author: str
    time: int


class Labels(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    labels: list[Taught]
    after: str | None


# The fields of `verdicts.incidents.Incident` beside its key and its epoch; one written by an earlier release may lack
# some.
Incident = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "$ref": "#/components/schemas/Incident",
            "properties": {"key": {"type": "string"}, "epoch": {"type": "integer"}},
            "required": ["key", "epoch"],
        }
    ),
]


class Incidents(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    incidents: list[Incident]
    after: str | None


class KeptView(TypedDict):
    """A page of the dashboard that somebody keeps."""

    name: str
    address: str
    author: str
    time: int


class Views(TypedDict):
    views: list[KeptView]


class Token(TypedDict):
    """A token without its secret."""

    id: str
    role: str
    name: str
    created: int
    expires: int | None
    note: str
    author: str
    successor: NotRequired[str]


class Tokens(TypedDict):
    tokens: list[Token]


class Issued(Committed):
    """`token`: the text to hand over, told this once."""

    id: str
    token: str


class Resolver(TypedDict):
    """The last report of a resolver's engine."""

    time: int
    resolver: str
    boot: str
    batch: int
    epoch: int
    generation: str
    mode: str
    version: str
    seen: int
    discarded: int


class Deployment(TypedDict):
    """A deployment's state and its replicas by state, as Serve has them."""

    status: str
    replicas: dict[str, int]


class Status(TypedDict):
    """What runs, and how well. `stale_since` null: decisions are followed; `spool` and `store` of one replica."""

    epoch: int
    generation: str
    paused: bool
    stale_since: int | None
    error: str
    model: dict[str, Any]
    resolvers: list[Resolver]
    spool: dict[str, Any]
    store: dict[str, Any]
    deployments: dict[str, Deployment]
    in_flight: int
    limit: float
