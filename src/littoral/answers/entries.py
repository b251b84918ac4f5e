"""One remembered answer, and how it lies in a collection: a point whose vector is that of the question.

The point's id is the first half of the exact digest, as a UUID, so that the same request is found by one look; the
whole digest stands in the payload and is compared. An answer is told again by the very bytes that were kept.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from littoral.answers.asked import Asked
from littoral.answers.labels import Labels
from littoral.answers.observations import Observations
from littoral.errors import ArtifactError, InputError, TooLargeError
from littoral.vectors.indexes import IndexParams
from littoral.vectors.records import FieldSchema

__all__ = [
    "ANSWER_BYTES_MAX",
    "DIGEST_BYTES",
    "ID_BYTES",
    "INDEXES",
    "SEALED_FIELDS",
    "UNPLACED",
    "Entry",
    "Kind",
    "Near",
    "Tier",
    "check_entry",
    "entry_of",
    "id_of",
    "payload_of",
    "point_id",
]

Tier = Literal["learned", "curated"]
"""learned: an upstream gave the answer. curated: somebody wrote or approved it; it wins over learned ones."""

Kind = Literal["chat", "completion"]

DIGEST_BYTES = 32
ID_BYTES = 16
PARTITION_BYTES = 16
ANSWER_BYTES_MAX = 256 << 10
QUESTION_BYTES_MAX = 64 << 10
TAG_COUNT_MAX = 32
TEXT_CHARACTERS_MAX = 256
SHAPE_CHARACTERS_MAX = 4096
AUTHOR_BYTES_MAX = 64
COUNT_MAX = (1 << 62) - 1

INDEXES: Mapping[str, FieldSchema | IndexParams] = {
    "partition": IndexParams(type="keyword", is_tenant=True),
    **{name: IndexParams(type="keyword", enable_hnsw=False) for name in ("tags", "model", "policy", "tenant")},
    "expires_at": IndexParams(type="integer", enable_hnsw=False),
}
"""By which fields of the payload something is looked for; each partition has a graph of its own, nothing else has."""

SEALED_FIELDS = ("question", "answer")
"""What lies sealed where the site has keys; nothing looks for these."""


UNPLACED = "unplaced"
"""Where it stands in the payload."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """id: the first 16 bytes of `exact`. answer: the JSON body of an OpenAI answer that was not streamed, UTF-8.

    made_at_s, expires_at_s: Unix time; expires_at_s 0: never. cost_micro: what it cost, in millionths of the currency.
    shape: `keys.shape_of` its request; nothing where nobody knows. is_unplaced: its vector is yet to be made.
    """

    tenant: str
    model: str
    exact: bytes
    partition: bytes
    question: str
    answer: bytes
    made_at_s: int
    expires_at_s: int = 0
    author: bytes = b""
    tags: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro: int = 0
    policy_version: str = ""
    tier: Tier = "learned"
    kind: Kind = "chat"
    shape: Mapping[str, str] = msgspec.field(default_factory=dict)
    is_unplaced: bool = False

    @property
    def id(self) -> bytes:
        return self.exact[:ID_BYTES]

    @property
    def size_bytes(self) -> int:
        """Of question and answer."""
        return len(self.answer) + len(self.question.encode())

    def is_expired(self, now_s: float) -> bool:
        return 0 < self.expires_at_s <= now_s

    def is_of(self, asked: Asked) -> bool:
        """Whether it answers this very request, of this tenant."""
        return self.exact == asked.exact and self.tenant == asked.tenant and self.partition == asked.partition


class Near(NamedTuple):
    """similarity: cosine of the two questions' vectors. labels: the observations with their authors."""

    entry: Entry
    similarity: float
    observations: Observations
    labels: Labels = Labels()


def point_id(entry_id: bytes) -> str:
    """Of an entry. Raises InputError for what is no id of one."""
    if len(entry_id) != ID_BYTES:
        raise InputError(f"id of an answer has {len(entry_id)} bytes, must be {ID_BYTES}")
    return str(UUID(bytes=entry_id))


def id_of(point: int | str) -> bytes:
    """The way back. Raises InputError for a point that is no answer."""
    try:
        return UUID(str(point)).bytes
    except ValueError as error:
        raise InputError(f"point `{str(point)[:80]}` is no answer: its id is no UUID") from error


def check_entry(entry: Entry) -> None:
    """Raises InputError or TooLargeError for what cannot be kept."""
    for name, found, wanted in (
        ("exact", len(entry.exact), DIGEST_BYTES),
        ("partition", len(entry.partition), PARTITION_BYTES),
    ):
        if found != wanted:
            raise InputError(f"answer: `{name}` has {found} bytes, must be {wanted}")
    for name, found, most in (
        ("answer", len(entry.answer), ANSWER_BYTES_MAX),
        ("question", len(entry.question), QUESTION_BYTES_MAX // 4),
        ("author", len(entry.author), AUTHOR_BYTES_MAX),
        ("tags", len(entry.tags), TAG_COUNT_MAX),
        *((name, len(getattr(entry, name)), TEXT_CHARACTERS_MAX) for name in ("tenant", "model", "policy_version")),
        *(("tags", len(tag), TEXT_CHARACTERS_MAX) for tag in entry.tags),
        ("shape", sum(len(name) + len(value) for name, value in entry.shape.items()), SHAPE_CHARACTERS_MAX),
    ):
        if found > most:
            raise TooLargeError(f"answer: `{name}` has a size of {found}, at most {most}")
    for name in ("made_at_s", "expires_at_s", "prompt_tokens", "completion_tokens", "cost_micro"):
        if not 0 <= getattr(entry, name) <= COUNT_MAX:
            raise InputError(f"answer: `{name}` is {getattr(entry, name)}, must be 0..{COUNT_MAX}")


def payload_of(entry: Entry, labels: Labels) -> dict[str, Any]:
    """As it lies in the collection. Raises InputError for an answer that is no UTF-8."""
    try:
        answer = entry.answer.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"answer: byte {error.start} is no UTF-8") from error
    return {
        "exact": entry.exact.hex(),
        "partition": entry.partition.hex(),
        "tenant": entry.tenant,
        "model": entry.model,
        "policy": entry.policy_version,
        "tags": list(entry.tags),
        "made_at": entry.made_at_s,
        "expires_at": entry.expires_at_s,
        "tokens": [entry.prompt_tokens, entry.completion_tokens],
        "cost": entry.cost_micro,
        "bytes": entry.size_bytes,
        "author": entry.author.hex(),
        "tier": entry.tier,
        "kind": entry.kind,
        **({"shape": dict(entry.shape)} if entry.shape else {}),
        **({UNPLACED: True} if entry.is_unplaced else {}),
        "question": entry.question,
        "answer": answer,
        **labels.told(),
    }


def entry_of(payload: Mapping[str, Any]) -> Entry:
    """The way back. Raises ArtifactError for a payload that is none of an answer."""
    try:
        prompt_tokens, completion_tokens = payload["tokens"]
        return Entry(
            tenant=payload["tenant"],
            model=payload["model"],
            exact=bytes.fromhex(payload["exact"]),
            partition=bytes.fromhex(payload["partition"]),
            question=payload["question"],
            answer=payload["answer"].encode(),
            made_at_s=payload["made_at"],
            expires_at_s=payload["expires_at"],
            author=bytes.fromhex(payload["author"]),
            tags=tuple(payload["tags"]),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost_micro=payload["cost"],
            policy_version=payload["policy"],
            tier=payload["tier"],
            kind=payload["kind"],
            shape={str(name): str(value) for name, value in payload.get("shape", {}).items()},
            is_unplaced=payload.get(UNPLACED) is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"a point of the collection is no answer: {error!r}") from error
