"""What a fleet delivers: models, agents, site files and dashboards, each named, versioned and known by its content."""

import re
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from littoral.errors import InputError

__all__ = ["NAME", "SUFFIXES", "ArtifactName", "Custom", "Kind", "Provenance"]

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
NUMBER_MAX = 2**31 - 1


class Kind(StrEnum):
    """Of artifacts; the folder of the target, and its suffix."""

    MODEL = "models"
    AGENT = "agents"
    SITE = "sites"
    DASHBOARD = "dashboards"
    SELF_TEST = "selftests"


SUFFIXES = {
    Kind.MODEL: "wasm",
    Kind.AGENT: "wasm",
    Kind.SITE: "toml",
    Kind.DASHBOARD: "json",
    Kind.SELF_TEST: "safetensors",
}


class ArtifactName(NamedTuple):
    """A target of TUF: `models/embedder/3.wasm`."""

    kind: Kind
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}/{self.version}.{SUFFIXES[self.kind]}"

    @classmethod
    def parse(cls, target: str) -> "ArtifactName":
        """Raises InputError for what is no such name."""
        folder, _, rest = target.partition("/")
        name, _, file = rest.partition("/")
        number, _, suffix = file.partition(".")
        kind = next((one for one in Kind if one.value == folder), None)
        is_number = number.isascii() and number.isdecimal() and not number.startswith("0") and len(number) <= 10
        if (
            kind is None
            or not NAME.fullmatch(name)
            or not is_number
            or int(number) > NUMBER_MAX
            or suffix != SUFFIXES[kind]
        ):
            raise InputError(
                f"`{target[:80]}` names no artifact", hint="as `models/embedder/3.wasm`: kind, name, number, suffix"
            )
        return cls(kind, name, int(number))


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an artifact is from. source_sha256: of the ONNX file; calibration_sha256: of the feeds of `int8`. figures:
    what was measured when it was registered, by name with its unit (`p50_ms`).
    """

    source_sha256: str | None = None
    compiler: str | None = None
    calibration_sha256: str | None = None
    tuning_sha256: str | None = None
    made_at: str | None = None
    made_by: str | None = None
    figures: dict[str, float] = {}


class Custom(msgspec.Struct, frozen=True, omit_defaults=True):
    """`custom` of a target in the image repository. self_test: target of its vectors. littoral_min: the oldest release
    of the node that may install it. blocks_sha256: of its list of blocks, for deltas.
    """

    provenance: Provenance = Provenance()
    self_test: str | None = None
    littoral_min: str | None = None
    blocks_sha256: str | None = None
    notes: Annotated[dict[str, Any], Meta(max_length=32)] = {}
