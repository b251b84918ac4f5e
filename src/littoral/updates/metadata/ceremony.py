"""The beginning of a fleet: keys for people to take away, keys that stay online, both repositories, the trust file."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from securesystemslib.signer import Signer

from littoral.clock import SYSTEM, Clock
from littoral.updates.artifacts import Kind
from littoral.updates.metadata.director import Director
from littoral.updates.metadata.image import ImageRepository
from littoral.updates.metadata.keys import KeyRing, new_key
from littoral.updates.metadata.roles import EXPIRIES, Expiries
from littoral.updates.metadata.store import MetadataStore

__all__ = ["Begun", "Offline", "begin", "new_offline_keys"]


class Offline(NamedTuple):
    """Signers of people."""

    root: Sequence[Signer]
    targets: Sequence[Signer]


class Begun(NamedTuple):
    """roots: of image and director, for `TrustFile.of`."""

    image: ImageRepository
    director: Director
    roots: tuple[bytes, bytes]


def new_offline_keys(folder: Path, *, count: int = 3, passphrase: Callable[[str], str | None] | None = None) -> Offline:
    """`root-1.key` … and `targets-1.key` …, each to be taken to another place. passphrase: by the name of a key.

    Raises ConflictError for what is there.
    """

    def made(role: str) -> list[Signer]:
        names = [f"{role}-{number}" for number in range(1, count + 1)]
        return [new_key(folder / name, passphrase(name) if passphrase else None) for name in names]

    return Offline(made("root"), made("targets"))


def begin(
    store: MetadataStore,
    ring: KeyRing,
    offline: Offline,
    *,
    threshold: int = 2,
    delegates_uploads: bool = False,
    upload_kinds: Iterable[Kind] = tuple(Kind),
    clock: Clock = SYSTEM,
    expiries: Expiries = EXPIRIES,
) -> Begun:
    """Both repositories, with online keys in the ring. Raises ConflictError where they are there already."""
    image = ImageRepository(store, ring, clock=clock, expiries=expiries)
    director = Director(store, ring, clock=clock, expiries=expiries)
    roots = (
        image.init(
            offline.root,
            offline.targets,
            threshold=threshold,
            delegates_uploads=delegates_uploads,
            upload_kinds=upload_kinds,
        ),
        director.init(offline.root, threshold=threshold),
    )
    return Begun(image, director, roots)
