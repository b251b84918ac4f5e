"""The director: what each node is to run, in a small repository of its own, signed by keys that are online.

It can choose among what the image repository lists, and nothing else. The root is one for all nodes, its keys are
offline.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from securesystemslib.signer import Signer
from tuf.api import metadata as tuf
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from littoral.clock import SYSTEM, Clock
from littoral.errors import ConflictError, InputError, NotFoundError
from littoral.updates import tree
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.online import Online, Published, online_signers
from littoral.updates.metadata.roles import EXPIRIES, Expiries, half_is_over, later, sign_all
from littoral.updates.metadata.root import RoleKeys, RootChain
from littoral.updates.metadata.store import MetadataStore
from littoral.updates.targets import DIRECTOR, TargetFile, read_signable, signable, wished
from littoral.updates.wire import Desired

__all__ = ["Director", "Told"]

ROOTS = "director-root/"
PENDING_ROOT = "director-root/pending.json"
ONLINE = (Targets.type, Snapshot.type, Timestamp.type)


class Told(NamedTuple):
    """To one node. targets: those that `desired` names, with their self-tests, as the image repository lists them."""

    desired: Desired
    targets: Mapping[str, TargetFile]


class Director:
    """For several threads. clock: by which expiries are set."""

    def __init__(
        self, store: MetadataStore, ring: KeyRing, *, clock: Clock = SYSTEM, expiries: Expiries = EXPIRIES
    ) -> None:
        self.root = RootChain(DIRECTOR, store, ROOTS, PENDING_ROOT, clock, expiries)
        self._store = store
        self._ring = ring
        self._clock = clock
        self._expiries = expiries
        self._online = Online(store, ring, clock, expiries._replace(snapshot_days=expiries.director_days))
        self._lock = threading.RLock()

    def init(self, root_keys: Sequence[Signer], *, threshold: int = 2) -> bytes:
        """The first root; online keys are made in the ring. Returns the root. Raises ConflictError where there is one,
        InputError for fewer keys than the threshold.
        """
        online = {role: self._ring.new(f"director-{role}") for role in ONLINE}
        roles = {Root.type: RoleKeys(tuple(one.public_key for one in root_keys), threshold)}
        roles |= {role: RoleKeys((one.public_key,), 1) for role, one in online.items()}
        return self.root.begin(roles, root_keys)

    def tell(self, node: str, desired: Desired, targets: Mapping[str, TargetFile]) -> int:
        """Signs what this node is to run; the version of its targets. The same again changes nothing.

        Raises ConflictError for a deployment that is not newer than the one before, InputError for another node's, or
        for targets that are missing.
        """
        return self.tell_all({node: Told(desired, targets)})[node]

    def tell_all(self, told: Mapping[str, Told]) -> dict[str, int]:
        """As `tell`, for many nodes: what is wrong with one of them is told before anything is written."""
        with self._store.exclusive(), self._lock:
            root = self.root.current
            files: list[tuple[str, bytes]] = []
            versions = {}
            touched = []
            for node, one in told.items():
                _check(node, one)
                published = Published(self._store, tree.director_metadata(node))
                versions[node], new = self._new_targets(node, one, published, root)
                if not new:
                    continue
                if published.timestamp is None:
                    files += self._roots(node)
                files += self._online.files(published, root, {Targets.type: new})
                touched.append(node)
            self._store.write_all(files)
            for node in touched:
                self._online.tidy(Published(self._store, tree.director_metadata(node)))
            return versions

    def told(self, node: str) -> Desired | None:
        """What a node is to run by what is signed; None where nothing is."""
        with self._lock:
            targets = Published(self._store, tree.director_metadata(node)).targets()
        return None if targets is None else _desired(targets.signed, node)

    def refresh(self, node: str, *, force: bool = False) -> bool:
        """Signs again what has less than half its life left. Whether it did. force: a whole life from now on.

        Cheap when there is nothing to do: to be called whenever a node asks. Raises NotFoundError for an unknown node.
        """
        with self._lock:
            if not self._due(node, force=force):
                return False
        with self._store.exclusive(), self._lock:
            files = self._due(node, force=force)
            self._store.write_all(files)
            return bool(files)

    def publish_root(self) -> bool:
        """A root that has its signatures counts from now on, for every node. Whether there was one."""
        with self._store.exclusive(), self._lock:
            if self.root.publish() is None:
                return False
            self.sign_again()
            return True

    def sign_again(self, *, skip: int = 0) -> None:
        """Everything by the keys of the root that counts now, for every node. skip: versions to leave out, after a
        backup was restored.
        """
        with self._store.exclusive(), self._lock:
            root = self.root.current
            for node in self.nodes():
                published = Published(self._store, tree.director_metadata(node))
                targets = published.targets()
                assert targets is not None
                new = {Targets.type: self._again(targets, root, skip=skip)}
                self._store.write_all(
                    [*self._roots(node), *self._online.files(published, root, new, skip=skip)],
                )

    def forget(self, node: str) -> None:
        """A node that is no more."""
        with self._store.exclusive(), self._lock:
            for path in list(self._store.list(tree.director_metadata(node))):
                self._store.remove(path)

    def nodes(self) -> list[str]:
        """Those that were told something."""
        found = (path.split("/") for path in self._store.list("director"))
        return sorted({parts[1] for parts in found if parts[-1] == "timestamp.json"})

    def _due(self, node: str, *, force: bool) -> list[tuple[str, bytes]]:
        published = Published(self._store, tree.director_metadata(node))
        targets = published.targets()
        if targets is None:
            raise NotFoundError(f"node `{node}` was told nothing yet")
        root = self.root.current
        if force or half_is_over(targets.signed, self._clock, self._expiries.director_days):
            return self._online.files(published, root, {Targets.type: self._again(targets, root)})
        return self._online.refreshed(published, root)

    def _roots(self, node: str) -> list[tuple[str, bytes]]:
        return [(tree.director_metadata(node, f"{version}.root.json"), data) for version, data in self.root.versions()]

    def _new_targets(self, node: str, one: Told, published: Published, root: Root) -> tuple[int, bytes]:
        listed = {
            name: tuf.TargetFile(target.length, {"sha256": target.sha256}, name) for name, target in one.targets.items()
        }
        version = 1
        if (former := published.targets()) is not None:
            before = _desired(former.signed, node)
            if before == one.desired and former.signed.targets == listed:
                return former.signed.version, b""
            if one.desired.deployment <= before.deployment:
                raise ConflictError(
                    f"node `{node}`: deployment {one.desired.deployment} is not newer than {before.deployment}",
                    hint="a way back is a new deployment with earlier targets",
                )
            version = former.signed.version + 1
        expires = later(self._clock, self._expiries.director_days)
        targets = Targets(version, None, expires, listed, unrecognized_fields=signable(one.desired))
        return version, self._signed(targets, root)

    def _again(self, targets: Metadata[Targets], root: Root, *, skip: int = 0) -> bytes:
        targets.signed.version += 1 + skip
        targets.signed.expires = later(self._clock, self._expiries.director_days)
        return self._signed(targets.signed, root)

    def _signed(self, targets: Targets, root: Root) -> bytes:
        return sign_all(Metadata(targets), online_signers(self._ring, root, Targets.type))


def _desired(targets: Targets, node: str) -> Desired:
    return read_signable(Desired, targets.unrecognized_fields, f"targets of node `{node}`")


def _check(node: str, one: Told) -> None:
    if one.desired.node != node:
        raise InputError(f"node `{node}` is told what is for `{one.desired.node}`")
    lacking: Iterable[str] = sorted({name for _, name in wished(one.desired)} - one.targets.keys())
    if lacking:
        raise InputError(
            f"node `{node}`: no target for {', '.join(f'`{name}`' for name in lacking)}",
            hint="`ImageRepository.targets_for` gives all that a wish needs",
        )
