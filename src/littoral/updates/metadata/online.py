"""Snapshot and timestamp: signed by keys that are online, whenever something changed or half their life is over."""

from collections.abc import Mapping, Sequence

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from littoral.clock import Clock
from littoral.errors import TrustError
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.roles import Expiries, half_is_over, later, meta_of, read_metadata, sign_all, stamped
from littoral.updates.metadata.store import MetadataStore

__all__ = ["Online", "Published", "online_signers"]

KEPT_VERSIONS = 16
TIMESTAMP = "timestamp.json"


class Published:
    """What a repository serves: read from its timestamp down, so that what was half written never counts."""

    def __init__(self, store: MetadataStore, folder: str) -> None:
        self._store = store
        self.folder = folder
        stamp = store.read(f"{folder}{TIMESTAMP}")
        self.timestamp = None if stamp is None else read_metadata(Timestamp, stamp, f"{folder}{TIMESTAMP}").signed
        self.snapshot: Snapshot | None = None
        if self.timestamp is not None:
            name = f"{folder}{self.timestamp.snapshot_meta.version}.snapshot.json"
            self.snapshot = read_metadata(Snapshot, self._whole(name), name).signed

    @property
    def meta(self) -> dict[str, MetaFile]:
        """Of roles by file, `targets.json`."""
        return {} if self.snapshot is None else dict(self.snapshot.meta)

    def targets(self, role: str = Targets.type) -> Metadata[Targets] | None:
        """None where this role has signed nothing yet. Raises TrustError for what is damaged."""
        if (meta := self.meta.get(f"{role}.json")) is None:
            return None
        name = f"{self.folder}{meta.version}.{role}.json"
        return read_metadata(Targets, self._whole(name), name)

    def _whole(self, name: str) -> bytes:
        if (data := self._store.read(name)) is None:
            raise TrustError(f"`{name}` is gone from the store", hint="take it from a backup of the repository")
        return data


class Online:
    """Of one repository, image or director."""

    def __init__(self, store: MetadataStore, ring: KeyRing, clock: Clock, expiries: Expiries) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._expiries = expiries

    def files(
        self, published: Published, root: Root, new: Mapping[str, bytes], *, skip: int = 0
    ) -> list[tuple[str, bytes]]:
        """To write in this order. new: signed targets by role, whose versions are taken from their own text.

        skip: versions to leave out, where some were signed that the store knows nothing of.
        """
        files = []
        meta = published.meta
        for role, data in new.items():
            version = read_metadata(Targets, data, role).signed.version
            meta[f"{role}.json"] = meta_of(version, data)
            files.append((f"{published.folder}{version}.{role}.json", data))
        snapshot = Snapshot(
            (published.snapshot.version if published.snapshot else 0) + 1 + skip,
            None,
            later(self._clock, self._expiries.snapshot_days),
            meta,
        )
        packed = sign_all(Metadata(snapshot), online_signers(self._ring, root, Snapshot.type))
        files.append((f"{published.folder}{snapshot.version}.snapshot.json", packed))
        return [*files, self.stamp(published, root, meta_of(snapshot.version, packed), skip=skip)]

    def stamp(self, published: Published, root: Root, snapshot: MetaFile, *, skip: int = 0) -> tuple[str, bytes]:
        """A new timestamp of this snapshot."""
        version = (published.timestamp.version if published.timestamp else 0) + 1 + skip
        expires = later(self._clock, self._expiries.timestamp_days)
        signers = online_signers(self._ring, root, Timestamp.type)
        return f"{published.folder}{TIMESTAMP}", sign_all(stamped(version, expires, snapshot), signers)

    def refreshed(self, published: Published, root: Root, *, force: bool = False) -> list[tuple[str, bytes]]:
        """What to write because half of a life is over; nothing before. force: a whole life from now on."""
        if published.timestamp is None or published.snapshot is None:
            return []
        if force or half_is_over(published.snapshot, self._clock, self._expiries.snapshot_days):
            return self.files(published, root, {})
        if half_is_over(published.timestamp, self._clock, self._expiries.timestamp_days):
            return [self.stamp(published, root, published.timestamp.snapshot_meta)]
        return []

    def tidy(self, published: Published) -> None:
        """Versions that nobody asks for any more."""
        if published.timestamp is None:
            return
        for name, meta in {**published.meta, "snapshot.json": published.timestamp.snapshot_meta}.items():
            if meta.version > KEPT_VERSIONS:
                self._store.remove(f"{published.folder}{meta.version - KEPT_VERSIONS}.{name}")


def online_signers(ring: KeyRing, root: Root, role: str) -> Sequence[Signer]:
    """As many as the role needs. Raises TrustError where they are not at hand."""
    wanted = root.roles[role]
    found = ring.signers(wanted.keyids)
    if len(found) >= wanted.threshold:
        return found[: wanted.threshold]
    raise TrustError(
        f"role `{role}` needs {wanted.threshold} of the keys {', '.join(one[:16] for one in wanted.keyids)}, "
        f"{len(found)} are at hand",
        hint="a lost key is replaced by `littoral keys rotate`",
    )
