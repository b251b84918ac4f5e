"""What `/api/gateway` tells, as types: the contract between a gateway, its page, and `littoral cache`.

Money is in the currency of the site file's prices, times in Unix seconds, ids in hexadecimal digits.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

__all__ = [
    "ANSWER_CHARACTERS_MAX",
    "AheadTold",
    "BudgetTold",
    "CacheTold",
    "CurveTold",
    "ElsewhereTold",
    "EntriesTold",
    "EntryTold",
    "ErrorTold",
    "ExplainBody",
    "ExplainTold",
    "GatewayTold",
    "HistoryTold",
    "ImportedTold",
    "JudgeBody",
    "JudgeTold",
    "JudgedTold",
    "MissTold",
    "MissesTold",
    "NearTold",
    "NoGatewayTold",
    "PurgeBody",
    "PurgedTold",
    "RuleTold",
    "SavedTold",
    "UpstreamTold",
]

ANSWER_CHARACTERS_MAX = 4_000
"""Of an answer that is shown; it is kept whole."""

Id = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]


class UpstreamTold(Struct, frozen=True):
    """state: of its breaker. seconds: of requests that were answered, summed. first_token_s: likewise, of streams. A
    tenant is not told where a service is, nor how much others ask of it: None.
    """

    name: str
    url: str | None
    models: list[str]
    weight: float
    state: Literal["closed", "open", "half-open"]
    requests: int | None
    failures: int | None
    retries: int | None
    seconds: float | None
    first_token_s: float | None
    streams: int | None


class BudgetTold(Struct, frozen=True):
    """What a tenant may use in a window of so many seconds, and has used in this one. tenant: '' is the operator."""

    tenant: str
    what: Literal["requests", "tokens", "money"]
    window_s: float
    used: float
    limit: float
    refused: int


class RuleTold(Struct, frozen=True):
    """What is never told again, or not to similar questions. setting: its key in the site file."""

    what: str
    why: str
    reach: Literal["nothing", "exact"]
    setting: str


class ErrorTold(Struct, frozen=True):
    """The share of wrong answers among what `target` counts; None while nothing is told to similar questions.

    judged: samples. audited: of these, those that could have been told, at random; wrong: of these. moved: how often
    questions were found to come from elsewhere.
    """

    target: Literal["hit", "request"]
    delta: float
    state: Literal["ok", "alarm"]
    judged: int
    audited: int
    wrong: int
    low: float | None
    estimate: float | None
    high: float | None
    alarms: int
    moved: int


class JudgeTold(Struct, frozen=True):
    """Relative to whom wrong is meant. dropped: not judged, too many waited."""

    name: str
    judged: int
    unsure: int
    waiting: int
    dropped: int


class CacheTold(Struct, frozen=True):
    """embedder: empty where only the same request is known. fit: how a threshold is learned. evicted: for want of room;
    expired: that were taken out.
    """

    embedder: str
    fit: str
    policy_version: str
    ttl_s: float
    entries: int
    entries_max: int
    bytes: int
    bytes_max: int
    evicted: int
    expired: int


class SavedTold(Struct, frozen=True):
    """What answers that were told again would have cost upstream, and what the others did cost."""

    tokens: int
    money: float
    spent_tokens: int
    spent_money: float


class AheadTold(Struct, frozen=True):
    """Requests that a service was asked while they were compared with remembered ones. given_up: of these, since an
    answer was told again. outrun: whose answer could have been told again, but the service was first.
    """

    asked: int
    given_up: int
    outrun: int


class HistoryTold(Struct, frozen=True):
    """rows: when a step began, then how many requests ended as each of `outcomes`."""

    step_s: int
    outcomes: list[str]
    rows: list[list[int]]


class GatewayTold(Struct, frozen=True):
    """similarity_counts: of nearest questions, by twentieth from 0 to 1. joined: of all requests, those that waited for
    the same one in flight."""

    upstreams: list[UpstreamTold]
    budgets: list[BudgetTold]
    rules: list[RuleTold]
    outcomes: dict[str, int]
    joined: int
    ahead: AheadTold
    hit_share: float | None
    saved: SavedTold
    history: HistoryTold
    similarity_counts: list[int]
    cache: CacheTold | None
    error: ErrorTold | None
    judge: JudgeTold | None
    misses: int


class NoGatewayTold(Struct, frozen=True):
    """Of a node whose site file has no table `gateway`."""

    upstreams: None = None


class EntryTold(Struct, frozen=True):
    """answer: its text, cut. threshold: similarity from which it is told again; None: at none yet."""

    id: str
    question: str
    answer: str
    model: str
    kind: str
    tier: Literal["learned", "curated"]
    tags: list[str]
    made_at: float
    expires_at: float | None
    policy_version: str
    tokens: int
    money: float
    observed: int
    wrong: int
    threshold: float | None


class EntriesTold(Struct, frozen=True):
    """next: the cursor of what follows. looked: at how many questions."""

    entries: list[EntryTold]
    next: str | None
    looked: int


class MissTold(Struct, frozen=True):
    """A question that was answered anew beside one that is remembered. judged: what the judge said; None: it could not
    tell."""

    id: str
    entry: str
    model: str
    at: float
    similarity: float
    question: str
    cached_question: str
    fresh_answer: str
    cached_answer: str
    judged: bool | None


class MissesTold(Struct, frozen=True):
    """dropped: no longer to be judged, newer ones took their places."""

    misses: list[MissTold]
    dropped: int


class JudgeBody(Struct, frozen=True, forbid_unknown_fields=True):
    is_correct: bool


class JudgedTold(Struct, frozen=True):
    id: str
    is_correct: bool


class NearTold(Struct, frozen=True):
    """A remembered question. bound: at most so likely is its answer wrong here."""

    id: str
    question: str
    tier: Literal["learned", "curated"]
    similarity: float
    threshold: float | None
    bound: float
    is_served: bool
    reason: str
    observed: int


class ElsewhereTold(Struct, frozen=True):
    """The nearest question that was asked of the same model with something else beside it, so that its answer is never
    told here. differs: what, there and here; long values as a digest. Empty: nobody knows any more.
    """

    id: str
    question: str
    similarity: float
    partition: str
    differs: list[tuple[str, str, str]]


class ExplainBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A question, or a whole request as `/v1/chat/completions` takes it. Nothing is asked upstream."""

    question: Annotated[str, Meta(min_length=1, max_length=32_768)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    request: dict[str, Any] | None = None


class ExplainTold(Struct, frozen=True):
    """outcome: what the request would be told as now. reach: how far its answer may be told again, reason: why no
    further. elsewhere: of at most five other partitions of this tenant and model, where something near is remembered.
    """

    outcome: str
    reach: Literal["nothing", "exact", "semantic"]
    reason: str
    question: str
    model: str
    partition: str
    is_exact: bool
    delta: float
    near: list[NearTold]
    elsewhere: list[ElsewhereTold]


class CurveTold(Struct, frozen=True):
    """points: similarity, and 1 where the answer was right. curve: similarity, and how likely it is wrong, as
    learned.
    """

    id: str
    question: str
    delta: float
    threshold: float | None
    points: list[tuple[float, int]]
    curve: list[tuple[float, float]]


class PurgeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What fits all that is given goes; `everything` stands alone."""

    id: Id | None = None
    tags: Annotated[list[Tag], Meta(max_length=32)] = []
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    policy_version: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    everything: bool = False


class PurgedTold(Struct, frozen=True):
    purged: int


class ImportedTold(Struct, frozen=True):
    """line: of the first that was refused, from 1; everything before it is kept."""

    kept: int
    refused: int
    line: int | None
    why: str
