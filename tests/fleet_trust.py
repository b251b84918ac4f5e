"""A fleet's repositories for tests: keys, both repositories in a folder, artifacts, and nodes that trust them."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from littoral.errors import NotFoundError
from littoral.testing.clock import SimulatedClock
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom, Kind
from littoral.updates.metadata.ceremony import begin, new_offline_keys
from littoral.updates.metadata.director import Director
from littoral.updates.metadata.image import ImageRepository
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.roles import EXPIRIES, Expiries
from littoral.updates.metadata.store import FolderStore, MetadataStore
from littoral.updates.targets import NO_CUSTOM
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.client import TrustedClient
from littoral.updates.trust.transport import Transport
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import Desired

NODE = "gateway-1"


class Fleet:
    """Three offline keys each for root and targets, of which two must sign; everything in one folder.

    store: of the metadata, if not `served` in it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        delegates_uploads: bool = False,
        upload_kinds: tuple[Kind, ...] = tuple(Kind),
        expiries: Expiries = EXPIRIES,
        store: MetadataStore | None = None,
    ) -> None:
        self.folder = folder
        self.clock = SimulatedClock()
        self.store = store or FolderStore(folder / "served")
        self.ring = KeyRing(folder / "online")
        offline = new_offline_keys(folder / "offline")
        self.root_keys, self.targets_keys = list(offline.root), list(offline.targets)
        self.image, self.director, roots = begin(
            self.store,
            self.ring,
            offline,
            delegates_uploads=delegates_uploads,
            upload_kinds=upload_kinds,
            clock=self.clock,
            expiries=expiries,
        )
        self.trust = TrustFile.of(*roots, "https://fleet.example")
        self.deployment = 0

    def open(self) -> None:
        """Repositories and keys as they are on the disk now."""
        self.ring = KeyRing(self.folder / "online")
        self.image = ImageRepository(self.store, self.ring, clock=self.clock)
        self.director = Director(self.store, self.ring, clock=self.clock)

    def publish(self, name: str, data: bytes, custom: Custom = NO_CUSTOM, *, role: str = "targets") -> str:
        """The artifact is there and signed; its name."""
        artifact, digest = ArtifactName.parse(name), sha256(data).hexdigest()
        self.store.write_all([(tree.target_file(artifact, digest), data)])
        if self.image.add(artifact, len(data), digest, custom, role=role) is not None:
            self.sign_targets()
        return name

    def sign_targets(self) -> None:
        """By two of three, and published."""
        for key in self.targets_keys[:2]:
            self.image.sign("targets", key)
        assert self.image.publish()

    def tell(self, *models: str, node: str = NODE, deployment: int | None = None) -> Desired:
        """What a node is to run from now on."""
        self.deployment = deployment or self.deployment + 1
        named = {name.split("/")[1]: name for name in models}
        desired = Desired(node=node, deployment=self.deployment, models=named)
        self.director.tell(node, desired, self.image.targets_for(desired))
        return desired

    def client(
        self, folder: str = NODE, *, transport: Transport | None = None, node: str = NODE, bounds: Bounds | None = None
    ) -> TrustedClient:
        """A node that trusts this fleet."""
        return TrustedClient(
            self.folder / "nodes" / folder,
            node,
            self.trust,
            transport or StoreTransport(self.store),
            clock=self.clock,
            bounds=bounds or Bounds(pause_s=0.0),
        )


class StoreTransport:
    """What is in a store, as its orchestrator would serve it."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store

    def read(self, path: str, *, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
        if (data := self._store.read(path)) is None:
            raise NotFoundError(f"`{path}` is not there")
        return iter((data[offset:end],))
