"""Where the files of a fleet lie: below `/fleet/v1/` of an orchestrator or a peer, in its store, on a stick."""

import re

from littoral.errors import InputError
from littoral.updates.artifacts import SUFFIXES, ArtifactName

__all__ = [
    "BLOCKS_SUFFIX",
    "TARGETS",
    "block_list_file",
    "director_metadata",
    "image_metadata",
    "is_public",
    "target_file",
]

TARGETS = "image/targets"
BLOCKS_SUFFIX = "blocks"
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
METADATA_FILE = r"(?:[0-9]{1,15}\.)?[a-z]{1,32}\.json"
SUFFIX = "|".join(sorted({*SUFFIXES.values(), BLOCKS_SUFFIX}))
PUBLIC = re.compile(
    rf"image/metadata/{METADATA_FILE}|director/[A-Za-z0-9_-]{{1,64}}/metadata/{METADATA_FILE}"
    rf"|{TARGETS}/[0-9a-f]{{64}}\.(?:{SUFFIX})",
    re.ASCII,
)


def image_metadata(file: str = "") -> str:
    """file: such as `timestamp.json` or `3.root.json`; without one, the folder with its slash."""
    return f"image/metadata/{file}"


def director_metadata(node: str, file: str = "") -> str:
    """Of one node; as `image_metadata`."""
    return f"director/{node}/metadata/{file}"


def target_file(name: ArtifactName, sha256: str) -> str:
    """By its content: the same bytes under two names lie there once. Raises InputError for what is no SHA-256."""
    return f"{TARGETS}/{_checked(sha256)}.{SUFFIXES[name.kind]}"


def block_list_file(sha256: str) -> str:
    """Of the target with this SHA-256."""
    return f"{TARGETS}/{_checked(sha256)}.{BLOCKS_SUFFIX}"


def is_public(path: str) -> bool:
    """Whether a path is one that nodes ask for; everything else in a store is its owner's."""
    return PUBLIC.fullmatch(path) is not None


def _checked(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise InputError(f"`{sha256[:80]}` is no SHA-256", hint="64 digits, 0-9 and a-f")
    return sha256
