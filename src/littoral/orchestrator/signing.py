"""What the fleet's nodes can trust: both repositories of TUF over the orchestrator's objects, and its online keys.

Without keys (`littoral orchestrator init` makes them) an orchestrator keeps nodes and artifacts, and tells nobody
anything. Everything here blocks.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import ForbiddenError, LittoralError, NotFoundError
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.store.rows import ArtifactRow, NodeRow
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName
from littoral.updates.metadata.director import Director, Told
from littoral.updates.metadata.image import UPLOADS, ImageRepository
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.roles import Pending
from littoral.updates.metadata.signatures import made_elsewhere
from littoral.updates.metadata.store import Writing
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import Desired

__all__ = ["KEYS", "ROLES", "ObjectsMetadata", "Signing", "desired_of"]

KEYS = "keys"
"""Folder of the online keys, below the data folder."""

METADATA = "metadata/"
TARGETS, DIRECTOR_ROOT = "targets", "director-root"
ROLES = ("root", TARGETS, DIRECTOR_ROOT)
"""That people sign."""


class ObjectsMetadata:
    """Metadata among the objects. A `MetadataStore`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._writing = Writing(objects.lock(METADATA.rstrip("/")))

    def read(self, path: str) -> bytes | None:
        return self._objects.get(METADATA + path)

    def write_all(self, files: Sequence[tuple[str, bytes]]) -> None:
        with self._writing.each() as lock:
            for path, data in files:
                lock.keep()
                self._objects.put(METADATA + path, data)

    def remove(self, path: str) -> None:
        with self._writing.each() as lock:
            lock.keep()
            self._objects.delete(METADATA + path)

    def list(self, folder: str) -> Iterator[str]:
        for name in self._objects.names(f"{METADATA}{folder}".rstrip("/") + "/"):
            yield name.removeprefix(METADATA)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._writing.exclusive()


class Signing:
    """Of one orchestrator, for several threads."""

    def __init__(self, objects: Objects, keys: Path, clock: Clock) -> None:
        self.store = ObjectsMetadata(objects)
        ring = KeyRing(keys)
        self.image = ImageRepository(self.store, ring, clock=clock)
        self.director = Director(self.store, ring, clock=clock)

    @property
    def is_begun(self) -> bool:
        """Whether there was a ceremony of keys."""
        return self.store.read(tree.image_metadata("1.root.json")) is not None

    def check(self) -> None:
        """Raises ForbiddenError without keys."""
        if not self.is_begun:
            raise ForbiddenError("this orchestrator has no keys", hint="`littoral orchestrator init` begins with them")

    def trust(self, url: str, ca: str | None) -> TrustFile:
        """For nodes, with the newest roots."""
        self.check()
        roots = (self.image.root.versions()[-1][1], self.director.root.versions()[-1][1])
        return TrustFile.of(*roots, url, ca)

    def register(self, row: ArtifactRow) -> None:
        """Lists an artifact: at once where uploads are delegated, else it waits for the offline keys. The same again
        changes nothing.
        """
        name = ArtifactName.parse(row.target)
        try:
            self.image.add(name, row.length, row.sha256, row.custom, role=UPLOADS)
        except ForbiddenError:
            self.image.add(name, row.length, row.sha256, row.custom)

    def states(self) -> tuple[set[str], dict[str, Pending]]:
        """Targets that are published; those that wait, with who has signed."""
        published = set(self.image.targets())
        pending = next((one for one in self.image.pending if one.role == TARGETS), None)
        return published, {} if pending is None else dict.fromkeys(self.image.waiting(), pending)

    def waiting(self) -> list[tuple[str, Pending, bytes]]:
        """What waits for people: role (`root`, `targets`, `director-root`), who has signed, and the draft."""
        found = [(one.role, one, self.image.pending_bytes(one.role) or b"") for one in self.image.pending]
        if (root := self.director.root.pending) is not None:
            found.append((DIRECTOR_ROOT, root, self.director.root.pending_bytes or b""))
        return found

    def attach(self, role: str, key_id: str, signature: str) -> Pending:
        """A signature that was made elsewhere; what has enough of them counts. Raises ForbiddenError, NotFoundError."""
        self.check()
        found = made_elsewhere(key_id, signature)
        if role == DIRECTOR_ROOT:
            pending = self.director.root.attach(found)
            if not pending.missing:
                self.director.publish_root()
            return pending
        pending = self.image.attach(role, found)
        if not pending.missing:
            self.image.publish()
        return pending

    def told(self, node: str) -> int:
        """The deployment that is signed for a node; 0 for none."""
        try:
            found = self.director.told(node)
        except NotFoundError:
            return 0
        return 0 if found is None else found.deployment

    def tell(self, nodes: Sequence[NodeRow]) -> dict[str, LittoralError | None]:
        """Signs what each is to run; why not, where it could not be."""
        found: dict[str, LittoralError | None] = {}
        told: dict[str, Told] = {}
        for node in nodes:
            desired = desired_of(node)
            try:
                told[node.name] = Told(desired, self.image.targets_for(desired))
            except LittoralError as error:
                found[node.name] = error
        try:
            self.director.tell_all(told)
        except LittoralError:
            return found | {name: self._tell_one(name, one) for name, one in told.items()}
        return found | dict.fromkeys(told, None)

    def _tell_one(self, name: str, one: Told) -> LittoralError | None:
        try:
            self.director.tell(name, one.desired, one.targets)
        except LittoralError as error:
            return error
        return None


def desired_of(node: NodeRow) -> Desired:
    """As its director says it."""
    return Desired(
        node=node.name,
        deployment=node.deployment,
        models=node.assigned.models,
        agents=node.assigned.agents,
        site=node.assigned.site,
        dashboards=node.assigned.dashboards,
        gates=node.gates,
        windows=node.windows,
        bytes_per_s_max=node.bytes_per_s_max,
        is_frozen=node.is_frozen,
    )
