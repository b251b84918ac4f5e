"""The chain of roots: which keys may sign which role, each version signed by those of the one before and its own."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from securesystemslib.signer import Key, Signature, Signer
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from littoral.clock import Clock
from littoral.errors import ConflictError, ForbiddenError, InputError, NotFoundError
from littoral.updates.metadata.roles import Expiries, Pending, later, packed, read_metadata
from littoral.updates.metadata.store import MetadataStore
from littoral.updates.targets import FIELD

__all__ = ["RoleKeys", "RootChain"]

HINT = "`littoral keys rotate`, `threshold` or `renew`"
ROLES = (Root.type, Targets.type, Snapshot.type, Timestamp.type)


class RoleKeys(NamedTuple):
    """Which keys may sign a role, and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int


class RootChain:
    """Of the repository `name`, in a store: `FOLDER/N.root.json`, and as `PENDING` the next while it waits."""

    def __init__(
        self, name: str, store: MetadataStore, folder: str, pending: str, clock: Clock, expiries: Expiries
    ) -> None:
        self._name = name
        self._store = store
        self._folder = folder
        self._pending = pending
        self._clock = clock
        self._expiries = expiries
        self._known: dict[int, Metadata[Root]] = {}

    def begin(self, roles: dict[str, RoleKeys], signers: Sequence[Signer]) -> bytes:
        """Version 1. Raises ConflictError where there is one, InputError for too few keys."""
        with self._store.exclusive():
            if self._read(1) is not None:
                raise ConflictError(f"`{self._folder}1.root.json` is there already", hint="a fleet is begun once")
            expires = later(self._clock, self._expiries.root_days)
            root = Root(1, None, expires, unrecognized_fields={FIELD: self._name})
            for role, given in roles.items():
                _check(role, given.threshold, len({key.keyid for key in given.keys}))
                root.roles[role].threshold = given.threshold
                for key in given.keys:
                    root.add_key(key, role)
            metadata = Metadata(root)
            for signer in signers:
                metadata.sign(signer, append=True)
            root.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
            data = packed(metadata)
            self._store.write_all([(f"{self._folder}1.root.json", data)])
            return data

    @property
    def current(self) -> Root:
        """The newest. Raises NotFoundError where nothing was begun."""
        return self._current().signed

    def versions(self) -> list[tuple[int, bytes]]:
        """All of them, oldest first."""
        found: list[tuple[int, bytes]] = []
        while (data := self._read(len(found) + 1)) is not None:
            found.append((len(found) + 1, data))
        return found

    @property
    def pending(self) -> Pending | None:
        """What waits for signatures."""
        draft = self._draft()
        return None if draft is None else self._told(draft)

    @property
    def pending_bytes(self) -> bytes | None:
        """For a machine where the keys are."""
        return self._store.read(self._pending)

    def change(self, edit: Callable[[Root], None]) -> Pending:
        """Changes what waits, or begins it. Raises what `edit` raises, InputError where too few keys are left."""
        with self._store.exclusive():
            current, draft = self._current(), self._draft()
            dropped = len(draft.signatures) if draft else 0
            root = copy.deepcopy((draft or current).signed)
            root.version = current.signed.version + 1
            root.expires = later(self._clock, self._expiries.root_days)
            edit(root)
            for role in ROLES:
                _check(role, root.roles[role].threshold, len(root.roles[role].keyids))
            new = Metadata(root)
            self._store.write_all([(self._pending, packed(new))])
            return self._told(new)._replace(dropped=dropped)

    def renew(self) -> Pending:
        """The same keys for another while."""
        return self.change(lambda root: None)  # noqa: ARG005

    def rotate(self, role: str, *, add: Iterable[Key] = (), remove: Iterable[str] = ()) -> Pending:
        """Other keys for a role. remove: their ids. Raises InputError, NotFoundError for a key that it has not."""
        added, removed = list(add), list(remove)

        def edit(root: Root) -> None:
            for key in added:
                root.add_key(key, _role(role))
            for key_id in removed:
                if key_id not in root.roles[_role(role)].keyids:
                    raise NotFoundError(f"role `{role}` has no key `{key_id[:16]}`", hint="`littoral keys roles`")
                root.revoke_key(key_id, role)

        return self.change(edit)

    def set_threshold(self, role: str, threshold: int) -> Pending:
        """So many of a role's keys must sign. Raises InputError where it has fewer."""

        def edit(root: Root) -> None:
            root.roles[_role(role)].threshold = threshold

        return self.change(edit)

    def sign(self, signer: Signer) -> Pending:
        """Adds one signature to what waits. Raises as `attach`."""
        draft = self._draft()
        if draft is None:
            raise NotFoundError("no root waits for signatures", hint=HINT)
        return self.attach(signer.sign(draft.signed_bytes))

    def attach(self, signature: Signature) -> Pending:
        """Adds a signature that was made elsewhere. Raises ForbiddenError for a key that may not, or a wrong one."""
        with self._store.exclusive():
            draft = self._draft()
            if draft is None:
                raise NotFoundError("no root waits for signatures", hint=HINT)
            draft.signatures[signature.keyid] = signature
            if signature.keyid not in self._told(draft).signed_by:
                raise ForbiddenError(
                    f"root v{draft.signed.version}: not signed by a key of it: `{signature.keyid[:16]}`",
                    hint="signed by another key, or of another draft: sign again what `littoral keys pending` writes",
                )
            self._store.write_all([(self._pending, packed(draft))])
            return self._told(draft)

    def publish(self) -> bytes | None:
        """What waited counts from now on; None while signatures are missing."""
        with self._store.exclusive():
            draft = self._draft()
            if draft is None or self._told(draft).missing:
                return None
            data = packed(draft)
            self._store.write_all([(f"{self._folder}{draft.signed.version}.root.json", data)])
            self._store.remove(self._pending)
            return data

    def withdraw(self) -> None:
        """What waits is given up."""
        with self._store.exclusive():
            self._store.remove(self._pending)

    def _told(self, draft: Metadata[Root]) -> Pending:
        found = draft.signed.get_root_verification_result(self.current, draft.signed_bytes, draft.signatures)
        return Pending(
            Root.type,
            draft.signed.version,
            tuple(found.signed),
            tuple(dict.fromkeys((*found.signed, *found.unsigned))),
            max(found.first.threshold, found.second.threshold),
            max(found.first.missing, found.second.missing),
        )

    def _current(self) -> Metadata[Root]:
        version = max(self._known, default=0)
        while (data := self._read(version + 1)) is not None:
            version += 1
            self._known = {version: read_metadata(Root, data, f"{self._folder}{version}.root.json")}
        if not version:
            raise NotFoundError(f"`{self._folder}1.root.json` is not there", hint="begin with the ceremony of keys")
        return self._known[version]

    def _draft(self) -> Metadata[Root] | None:
        if (data := self._store.read(self._pending)) is None:
            return None
        draft = read_metadata(Root, data, self._pending)
        return draft if draft.signed.version == self.current.version + 1 else None

    def _read(self, version: int) -> bytes | None:
        return self._store.read(f"{self._folder}{version}.root.json")


def _role(name: str) -> str:
    if name in ROLES:
        return name
    raise InputError(f"no role `{name}`", hint=f"one of {', '.join(ROLES)}")


def _check(role: str, threshold: int, count: int) -> None:
    if 1 <= threshold <= count:
        return
    raise InputError(
        f"role `{role}`: {threshold} of {count} keys cannot sign", hint="the threshold is 1 up to the number of keys"
    )
