"""Which model made the vectors of a collection. Two never mix in one: their distances mean nothing to each other."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta

from littoral.errors import ConflictError, InputError

__all__ = [
    "ModelVersion",
    "ToldModels",
    "are_same",
    "heard_by_vector",
    "heard_over_the_mesh",
    "listed",
    "mixed",
    "parse_told",
    "parse_version",
    "told_by_vector",
    "told_instead",
    "told_over_the_mesh",
]

DIGEST_SHOWN = 16
_VERSION = re.compile(r"(?:([a-zA-Z0-9_+-]{1,200})(?:@([0-9]{1,10}))?)?:([0-9a-f]{16,64})")


class ModelVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """name, number: as a site file knows it, `NAME@NUMBER`. digest: SHA-256 of what it computes; it alone is compared.

    stands_for: the model in whose place it stands in pipelines, since a migration; "" = itself.
    """

    name: Annotated[str, Meta(max_length=200)]
    digest: Annotated[str, Meta(min_length=DIGEST_SHOWN, max_length=64)]
    number: Annotated[int, Meta(ge=0)] = 0
    stands_for: Annotated[str, Meta(max_length=200)] = ""

    def __str__(self) -> str:
        number = f"@{self.number}" if self.number else ""
        return f"{self.name}{number}:{self.digest[:DIGEST_SHOWN]}"

    def is_same(self, other: "ModelVersion") -> bool:
        """Whether vectors of the one are those of the other; what a request tells may be the digest's beginning."""
        size = min(len(self.digest), len(other.digest))
        return self.digest[:size] == other.digest[:size]


def parse_version(text: str) -> ModelVersion:
    """`NAME@NUMBER:DIGEST`, where name and number may be missing. Raises InputError."""
    if (found := _VERSION.fullmatch(text.strip())) is None:
        raise InputError(
            f"version of a model is `{text[:80]}`, must be `NAME@NUMBER:DIGEST`",
            hint="answers that hold embeddings tell it in the header `littoral-model`",
        )
    return ModelVersion(found[1] or "", found[3], int(found[2] or 0))


class ToldModels(NamedTuple):
    """Whose vectors somebody says that he brings. rest: those that `named` does not have; None: he does not say."""

    rest: ModelVersion | None = None
    named: Mapping[str, ModelVersion] = {}

    def of(self, vector: str) -> ModelVersion | None:
        """None: not told."""
        return self.named.get(vector, self.rest)


def parse_told(text: str) -> ToldModels:
    """`VERSION`, or `VECTOR=VERSION, …` where vectors are of several models; a name's other characters as `%XX`.

    Raises InputError.
    """
    rest: ModelVersion | None = None
    named: dict[str, ModelVersion] = {}
    for word in text.split(","):
        name, equals, version = word.strip().rpartition("=")
        if not equals:
            rest = parse_version(version)
        else:
            named[unquote(name)] = parse_version(version)
    return ToldModels(rest, named)


def listed(models: Sequence[ModelVersion]) -> str:
    """For people."""
    return ", ".join(f"`{model}`" for model in models) or "an unknown model"


def mixed(
    collection: str, holds: Sequence[ModelVersion], given: ModelVersion | None, vector: str = ""
) -> ConflictError:
    """What is raised where vectors of `given` would meet others of that name. None: of a model that was not told."""
    where = f", vector `{vector}`," if vector else ""
    if given is None:
        return ConflictError(
            f"collection `{collection}`{where} is strict and holds embeddings of {listed(holds)}, the model of these "
            f"vectors is not told",
            hint="the header `littoral-model` tells it, as answers with embeddings do",
        )
    return ConflictError(
        f"collection `{collection}`{where} holds embeddings of {listed(holds)}, these vectors are of `{given}`",
        hint="two models never mix in a collection: `littoral collections migrate` takes it to another one",
    )


def told_over_the_mesh(models: Sequence[ModelVersion]) -> str:
    """The same on every node that has the same models, whatever their numbers are there."""
    return " ".join(sorted(f"{model.name}:{model.digest[:DIGEST_SHOWN]}" for model in models))


def heard_over_the_mesh(text: str) -> tuple[ModelVersion, ...]:
    """What `told_over_the_mesh` was given, as far as it was told; words that name no version are left out."""
    found = (_VERSION.fullmatch(word) for word in text.split())
    return tuple(ModelVersion(one[1] or "", one[3], int(one[2] or 0)) for one in found if one is not None)


def told_by_vector(models: Mapping[str, Sequence[ModelVersion]]) -> str:
    """As `told_over_the_mesh`, of vectors that have their own."""
    words = [
        f"{quote(name, safe='')}={word}" for name in sorted(models) for word in told_over_the_mesh(models[name]).split()
    ]
    return " ".join(words)


def heard_by_vector(text: str) -> dict[str, tuple[ModelVersion, ...]]:
    """What `told_by_vector` was given, as far as it was told, among whatever else the text says."""
    found: dict[str, tuple[ModelVersion, ...]] = {}
    for word in text.split():
        name, equals, version = word.partition("=")
        if equals:
            found[unquote(name)] = (*found.get(unquote(name), ()), *heard_over_the_mesh(version))
    return found


def told_instead(text: str, vectors: Mapping[str, ModelVersion], *, is_single: bool = False) -> str:
    """The same with other versions of these vectors; all other words stay. is_single: the vector without a name is the
    only one there is.
    """
    words = text.split()
    if is_single:
        words = [word for word in words if _VERSION.fullmatch(word) is None]
        return " ".join([*words, told_over_the_mesh(list(vectors.values()))])
    heads = tuple(f"{quote(name, safe='')}=" for name in vectors)
    kept = [word for word in words if not word.startswith(heads)]
    return " ".join([*kept, *told_by_vector({name: [model] for name, model in vectors.items()}).split()])


def are_same(one: Sequence[ModelVersion], other: Sequence[ModelVersion]) -> bool:
    """Whether vectors of the ones may meet those of the others; true where it is not known of either."""
    if not one or not other:
        return True
    return all(any(a.is_same(b) for b in other) for a in one)
