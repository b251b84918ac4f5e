"""The table `gateway` of a site file: services of language models, what their answers cost, and what is told again."""

from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from littoral.node.site_problems import NAME_PATTERN, Place, nearest_hint

__all__ = [
    "AnswersTable",
    "BudgetTable",
    "GatewayTable",
    "KeyTable",
    "PriceTable",
    "RulesTable",
    "TenantGatewayTable",
    "TrustTable",
    "UpstreamTable",
    "check_gateway",
    "check_plain_keys",
]

UPSTREAMS_MAX = 32
ROUTES = ("/completions", "/embeddings", "/models", "/responses")
PATTERNS_MAX = 256
COLLECTION = "answers"

_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Model = Annotated[str, Meta(min_length=1, max_length=256)]
_Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_Count = Annotated[float, Meta(ge=0, le=1e15)]
_PerSecond = Annotated[float, Meta(ge=0.001, le=1e6)]
_Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Root of the tables: an unknown key is an error."""


class KeyTable(_Table, frozen=True):
    """Where a service's key comes from: one of these."""

    file: Annotated[_Text | None, Meta(description="File that holds it, which nobody else can read")] = None
    env: Annotated[_Text | None, Meta(description="Environment variable that holds it")] = None
    credential: Annotated[_Text | None, Meta(description="Name of a credential that systemd gives to the service")] = (
        None
    )


class UpstreamTable(_Table, frozen=True):
    """A service that speaks OpenAI's API."""

    name: Annotated[_Name, Meta(description="As headers, metrics and logs have it")]
    url: Annotated[_Text, Meta(description="Its address up to `/v1`")]
    models: Annotated[
        list[_Model],
        Meta(min_length=1, max_length=PATTERNS_MAX, description="Names that it is asked for, `*` and `?` in them"),
    ]
    key: Annotated[KeyTable | None, Meta(description="Of the service; callers' keys never go there")] = None
    rename: Annotated[
        dict[_Model, _Model], Meta(max_length=PATTERNS_MAX, description="What callers call a model, and the service")
    ] = {}
    headers_env: Annotated[
        dict[_Header, _Text],
        Meta(max_length=8, description="More headers, and the environment variables that hold them"),
    ] = {}
    weight: Annotated[
        float, Meta(ge=0, le=1e6, description="Share of what several could answer; 0: only where no other can")
    ] = 1.0
    connect_s: Annotated[_Seconds, Meta(description="Until the connection is there")] = 5.0
    first_byte_s: Annotated[_Seconds, Meta(description="Until the answer begins; of a stream its first event")] = 60.0
    idle_s: Annotated[_Seconds, Meta(description="Between two pieces of an answer")] = 60.0
    timeout_s: Annotated[_Seconds, Meta(description="Until the answer ends")] = 300.0
    requests_max: Annotated[int, Meta(ge=1, le=4096, description="At a time")] = 64
    usage: Annotated[bool, Meta(description="Streams are asked to end with their count of tokens")] = True


class PriceTable(_Table, frozen=True):
    """Of a model, per million tokens."""

    input: Annotated[float, Meta(ge=0, le=1e9, description="Tokens of the question")] = 0.0
    output: Annotated[float, Meta(ge=0, le=1e9, description="Tokens of the answer")] = 0.0


class BudgetTable(_Table, frozen=True):
    """What may be used; nothing said: no bound. Days end at midnight UTC."""

    requests_per_s: Annotated[
        _PerSecond | None, Meta(description="Requests; as many at once as come in one second")
    ] = None
    requests_per_day: Annotated[_Count | None, Meta(description="Requests, those that are told again too")] = None
    tokens_per_day: Annotated[_Count | None, Meta(description="Tokens of upstreams, of questions and answers")] = None
    money_per_day: Annotated[_Count | None, Meta(description="By `gateway.prices`")] = None


class AnswersTable(_Table, frozen=True):
    """Answers that are told again."""

    enabled: Annotated[bool, Meta(description="Whether any is")] = True
    collection: Annotated[_Name, Meta(description="Where they lie; made if it is not there")] = COLLECTION
    target: Annotated[
        Literal["hit", "request"], Meta(description="What `delta` is a share of: of what is told again, or of all")
    ] = "hit"
    delta: Annotated[float, Meta(gt=0, lt=0.5, description="Share of wrong answers, by the judge, at most")] = 0.02
    fit: Annotated[Literal["ridge", "firth", "wilson"], Meta(description="How an entry's threshold is learned")] = (
        "firth"
    )
    explore_share: Annotated[
        float, Meta(gt=0, le=0.5, description="Of what could be told again, asked of an upstream to check")
    ] = 0.02
    observations_min: Annotated[
        int, Meta(ge=1, le=64, description="Judgements of an entry before it is told to a similar question")
    ] = 6
    similarity_min: Annotated[
        float, Meta(ge=-1, le=1, description="Less similar questions are not looked at, nor judged")
    ] = 0.6
    ask_ahead: Annotated[
        Literal["never", "unlikely", "always"],
        Meta(description="When an upstream is asked while a question is still compared: where none is told, likely"),
    ] = "unlikely"
    judge: Annotated[
        Literal["exact", "normalised", "embedding", "model", "feedback"], Meta(description="Who says what is wrong")
    ] = "embedding"
    judge_similarity: Annotated[
        float, Meta(ge=0, le=1, description="For `embedding`: answers that are as similar are the same")
    ] = 0.9
    judge_model: Annotated[_Model | None, Meta(description="For `model`: of an upstream of this table")] = None
    judge_waiting_max: Annotated[int, Meta(ge=1, le=65_536, description="Judgements that wait; more are dropped")] = 256
    ttl_s: Annotated[int, Meta(ge=1, le=315_360_000, description="How long an answer is told again")] = 86_400
    stale_if_error_s: Annotated[
        int,
        Meta(
            ge=0, le=315_360_000, description="And so much longer where no upstream answers; only to the same request"
        ),
    ] = 3600
    entries_max: Annotated[int, Meta(ge=1, le=10_000_000, description="The one that saved the least goes first")] = (
        200_000
    )
    disk_mb: Annotated[int, Meta(ge=1, le=1 << 20, description="Likewise, for what they take on disk")] = 2048
    hot_mb: Annotated[int, Meta(ge=0, le=16_384, description="Memory for answers by the bytes of their request")] = 32


class RulesTable(_Table, frozen=True):
    """What is never told again, or only to the same request."""

    temperature_max: Annotated[float, Meta(ge=0, le=2, description="Above it nothing is told again")] = 0.3
    unset_temperature: Annotated[bool, Meta(description="Whether requests that name none are told again")] = True
    tools: Annotated[bool, Meta(description="Whether answers with tools are told again, to the same request")] = False
    images: Annotated[bool, Meta(description="Likewise, for requests with pictures or sound")] = False
    turns_max: Annotated[
        int, Meta(ge=0, le=1000, description="Earlier turns beyond which only the same request is")
    ] = 8
    question_chars_max: Annotated[
        int, Meta(ge=1, le=8192, description="Longer last turns are answered again to the same request alone")
    ] = 800
    private_markers: Annotated[
        list[_Text], Meta(max_length=64, description="Patterns; a request or answer with one is not kept")
    ] = []
    words: Annotated[
        list[_Text], Meta(max_length=256, description="Words of questions whose answers hold for one moment or person")
    ] = []
    policy_version: Annotated[_Text, Meta(description="Answers under another one are not told again")] = "1"
    scan_chars_max: Annotated[
        int,
        Meta(ge=1024, le=1 << 24, description="Longer requests are not told again where there are patterns or words"),
    ] = 262_144
    authors_by_user: Annotated[
        bool, Meta(description="Whether each `user` of one token counts as an author of its own")
    ] = False


class TrustTable(_Table, frozen=True):
    """Whom an answer is told to that somebody else's question brought."""

    told: Annotated[
        Literal["tenant", "confirmed", "author"],
        Meta(description="To everybody of the tenant, once others confirmed it, or to its author alone"),
    ] = "confirmed"
    confirmations_min: Annotated[int, Meta(ge=1, le=16, description="Other authors that confirm an answer")] = 1
    observations_of_one_max: Annotated[
        int, Meta(ge=1, le=64, description="Judgements by one author that count in an entry for others")
    ] = 16
    facts: Annotated[
        bool, Meta(description="Whether numbers, negations, names or lengths that differ keep questions apart")
    ] = True
    scripts: Annotated[
        list[_Text],
        Meta(max_length=64, description="Letters that the embedder knows beside Latin ones, such as `GREEK`"),
    ] = []
    entries_of_one_per_hour: Annotated[int, Meta(ge=1, le=10_000_000, description="New answers of one author")] = 20_000
    judgements_of_one_per_hour: Annotated[
        int,
        Meta(ge=1, le=10_000_000, description="Judgements of one author that decide for all how far answers are told"),
    ] = 2_000


class TenantGatewayTable(_Table, frozen=True):
    """What a tenant has of the gateway: its answers are its own."""

    models: Annotated[
        list[_Model],
        Meta(min_length=1, max_length=PATTERNS_MAX, description="Names that it may ask for, `*` and `?` in them"),
    ]
    budget: Annotated[BudgetTable, Meta(description="What it may use")] = BudgetTable()


class GatewayTable(_Table, frozen=True):
    """OpenAI's chat and completions, by way of other services (extra `littoral[gateway]`)."""

    upstreams: Annotated[
        list[UpstreamTable], Meta(min_length=1, max_length=UPSTREAMS_MAX, description="Services that are asked")
    ]
    embedder: Annotated[
        str | None,
        Meta(description="Pipeline that makes a vector of a text; without it only the same request is known"),
    ] = None
    prices: Annotated[
        dict[_Model, PriceTable], Meta(max_length=PATTERNS_MAX, description="By patterns of services' models")
    ] = {}
    cache: Annotated[AnswersTable, Meta(description="What is told again")] = AnswersTable()
    rules: Annotated[RulesTable, Meta(description="What is not")] = RulesTable()
    trust: Annotated[TrustTable, Meta(description="To whom")] = TrustTable()
    budget: Annotated[BudgetTable, Meta(description="Of the operator's own requests")] = BudgetTable()
    answer_mb_max: Annotated[int, Meta(ge=1, le=256, description="Of one answer of an upstream")] = 16


def check_plain_keys(value: Any, place: Place) -> None:
    """Refuses a key that stands in the file itself, without showing it. value: as it was read."""
    upstreams = value.get("upstreams") if isinstance(value, Mapping) else None
    for index, one in enumerate(upstreams if isinstance(upstreams, list) else ()):
        at = place / "upstreams" / index
        if not isinstance(one, Mapping):
            continue
        if isinstance(one.get("key"), str):
            raise (at / "key").about("a key does not stand in this file", hint='`key = { file = "cloud.key" }`')
        if isinstance(one.get("url"), str) and "@" in one["url"]:
            raise (at / "url").about("holds a name or password", hint="`key` says where the service's key comes from")


def check_gateway(table: GatewayTable | None, pipelines: Container[str], place: Place) -> None:
    """What can be known from the file alone. Raises SettingError."""
    if table is None:
        return
    names = [one.name for one in table.upstreams]
    for index, one in enumerate(table.upstreams):
        at = place / "upstreams" / index
        if names.count(one.name) > 1:
            raise (at / "name").wrong(one.name, "another than that of every other upstream")
        _check_url(one.url, at / "url")
        if one.key is not None and sum(value is not None for value in msgspec.structs.astuple(one.key)) != 1:
            raise (at / "key").about("needs exactly one of file, env, credential")
    if table.embedder is not None and table.embedder not in pipelines:
        known = pipelines if isinstance(pipelines, Mapping) else {}
        raise (place / "embedder").wrong(
            table.embedder, "a pipeline of this file", hint=nearest_hint(table.embedder, known)
        )
    if table.cache.judge == "model" and table.cache.judge_model is None:
        raise (place / "cache" / "judge_model").about('`judge = "model"` needs the name of one')


def _check_url(url: str, place: Place) -> None:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        is_right = is_right and (parts.port is None or parts.port > 0) and not parts.path.rstrip("/").endswith(ROUTES)
    except ValueError:
        is_right = False
    if not is_right:
        raise place.wrong(url, "an address such as `https://api.example.com/v1`, without a route behind it")
