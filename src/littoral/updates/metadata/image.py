"""The image repository: which artifacts are valid at all, said by people whose keys are offline.

Who holds the online keys alone can tell nodes nothing new: targets are signed by `threshold` of the offline keys, and
the snapshot lists their length and SHA-256. Uploads may be delegated to one online key, for kinds that a site accepts.
"""

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from securesystemslib.signer import Key, Signature, Signer
from tuf.api import metadata as tuf
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, Targets, Timestamp

from littoral.clock import SYSTEM, Clock
from littoral.errors import ConflictError, ForbiddenError, NotFoundError
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom, Kind
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.metadata.online import Online, Published
from littoral.updates.metadata.roles import EXPIRIES, Expiries, Pending, later, packed, read_metadata, sign_all
from littoral.updates.metadata.root import RoleKeys, RootChain
from littoral.updates.metadata.store import MetadataStore
from littoral.updates.targets import IMAGE, NO_CUSTOM, TargetFile, read_custom, signable, wished
from littoral.updates.wire import Desired

__all__ = ["UPLOADS", "ImageRepository"]

UPLOADS = "uploads"
FOLDER = tree.image_metadata()
PENDING_ROOT, PENDING_TARGETS = "image/pending/root.json", "image/pending/targets.json"


class ImageRepository:
    """For several threads. clock: by which expiries are set."""

    def __init__(
        self, store: MetadataStore, ring: KeyRing, *, clock: Clock = SYSTEM, expiries: Expiries = EXPIRIES
    ) -> None:
        self.root = RootChain(IMAGE, store, FOLDER, PENDING_ROOT, clock, expiries)
        self._store = store
        self._ring = ring
        self._clock = clock
        self._expiries = expiries
        self._online = Online(store, ring, clock, expiries)
        self._lock = threading.RLock()

    def init(
        self,
        root_keys: Sequence[Signer],
        targets_keys: Sequence[Signer],
        *,
        threshold: int = 2,
        delegates_uploads: bool = False,
        upload_kinds: Iterable[Kind] = tuple(Kind),
    ) -> bytes:
        """The first root, with empty targets. Online keys are made in the ring. Returns the root.

        Raises ConflictError where there is one, InputError for fewer keys than the threshold.
        """
        online = {role: self._ring.new(f"image-{role}") for role in (Snapshot.type, Timestamp.type)}
        keys = {Root.type: root_keys, Targets.type: targets_keys}
        roles = {role: RoleKeys(tuple(one.public_key for one in given), threshold) for role, given in keys.items()}
        roles |= {role: RoleKeys((one.public_key,), 1) for role, one in online.items()}
        targets = Targets(1, None, later(self._clock, self._expiries.targets_days))
        new: dict[str, bytes] = {}
        if delegates_uploads:
            uploader = self._ring.new(f"image-{UPLOADS}")
            paths = [f"{kind.value}/*/*" for kind in upload_kinds]
            role = DelegatedRole(UPLOADS, [uploader.public_key.keyid], 1, False, paths=paths)
            targets.delegations = Delegations({uploader.public_key.keyid: uploader.public_key}, {UPLOADS: role})
            new[UPLOADS] = sign_all(Metadata(Targets(1, None, targets.expires)), [uploader])
        root = self.root.begin(roles, root_keys)
        new[Targets.type] = sign_all(Metadata(targets), targets_keys)
        self._store.write_all(self._online.files(Published(self._store, FOLDER), self.root.current, new))
        return root

    def add(
        self, name: ArtifactName, length: int, sha256: str, custom: Custom = NO_CUSTOM, *, role: str = Targets.type
    ) -> Pending | None:
        """Lists an artifact: in what waits for the offline keys, or by `uploads` at once (None).

        The same again changes nothing. Raises ConflictError for other bytes under a name that is taken, ForbiddenError
        where uploads are not delegated.
        """
        target = tuf.TargetFile(length, {"sha256": sha256}, str(name), {"custom": signable(custom)})
        tree.target_file(name, sha256)
        with self._store.exclusive(), self._lock:
            if (former := self._listed(Published(self._store, FOLDER)).get(str(name))) is not None:
                if (former.length, former.hashes) != (target.length, target.hashes):
                    raise ConflictError(f"`{name}` is published with other bytes", hint="a new version has a number")
                return None
            if role == UPLOADS:
                self._upload(target)
                return None
            return self._draft_with({str(name): target})

    def withdraw(self, name: ArtifactName) -> Pending | None:
        """No node installs it any more, once that is signed: by `uploads` at once, if it was theirs (None)."""
        with self._store.exclusive(), self._lock:
            published = Published(self._store, FOLDER)
            uploads = published.targets(UPLOADS)
            if uploads is not None and str(name) in uploads.signed.targets:
                del uploads.signed.targets[str(name)]
                self._sign_uploads(published, uploads)
                return None
            return self._draft_with({str(name): None})

    def renew(self) -> Pending:
        """The same targets for another while: before they expire, and after keys were lost."""
        with self._store.exclusive(), self._lock:
            return self._draft_with({})

    def delegate_uploads(self, keys: Sequence[Key], kinds: Iterable[Kind] = tuple(Kind)) -> Pending:
        """Other keys for `uploads`, none to delegate them no more; waits for the offline keys.

        When it counts, what was uploaded is signed again by a new key that is in the ring.
        """
        paths = [f"{kind.value}/*/*" for kind in kinds]
        key_ids = [key.keyid for key in keys]
        role = DelegatedRole(UPLOADS, key_ids, 1, False, paths=paths)

        def edit(targets: Targets) -> None:
            targets.delegations = Delegations({key.keyid: key for key in keys}, {UPLOADS: role}) if keys else None

        with self._store.exclusive(), self._lock:
            return self._draft_with({}, edit)

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What waits for offline keys: of root and targets."""
        with self._lock:
            draft = self._draft()
            found = (self.root.pending, None if draft is None else self._told(draft))
        return tuple(one for one in found if one is not None)

    def pending_bytes(self, role: str) -> bytes | None:
        """For a machine where the keys are, and `attach`."""
        return self.root.pending_bytes if role == Root.type else self._store.read(PENDING_TARGETS)

    def waiting(self) -> dict[str, TargetFile | None]:
        """What the draft would change: targets that are new, and None for those that go."""
        with self._lock:
            if (draft := self._draft()) is None:
                return {}
            now = self._top(Published(self._store, FOLDER)).signed.targets
            new = draft.signed.targets
            changed: dict[str, TargetFile | None] = {name: _told_target(new[name]) for name in new if name not in now}
            return changed | {name: None for name in now if name not in new}

    def sign(self, role: str, signer: Signer) -> Pending:
        """Adds one signature to what waits of `root` or `targets`. Raises NotFoundError where nothing does."""
        if role == Root.type:
            return self.root.sign(signer)
        return self.attach(role, signer.sign(self._waiting_draft().signed_bytes))

    def attach(self, role: str, signature: Signature) -> Pending:
        """Adds a signature that was made elsewhere. Raises ForbiddenError for a key that may not, or a wrong one."""
        if role == Root.type:
            return self.root.attach(signature)
        with self._store.exclusive(), self._lock:
            draft = self._waiting_draft()
            draft.signatures[signature.keyid] = signature
            if signature.keyid not in self._told(draft).signed_by:
                raise ForbiddenError(
                    f"targets v{draft.signed.version}: not signed by a key of it: `{signature.keyid[:16]}`",
                    hint="signed by another key, or of an earlier draft: sign again what waits now",
                )
            self._store.write_all([(PENDING_TARGETS, packed(draft))])
            return self._told(draft)

    def publish(self) -> tuple[str, ...]:
        """What has its signatures counts from now on; the roles that changed.

        Raises ConflictError for a root whose new keys have not signed the targets yet.
        """
        with self._store.exclusive(), self._lock:
            published = Published(self._store, FOLDER)
            new: dict[str, bytes] = {}
            draft = self._draft()
            if draft is not None and not self._told(draft).missing:
                new[Targets.type] = packed(draft)
                new |= self._uploads_again(published, draft.signed)
            waits = self.root.pending
            is_root = waits is not None and not waits.missing
            if not new and not is_root:
                return ()
            if is_root:
                self._check_targets(new.get(Targets.type), published)
                self.root.publish()
            self._store.write_all(self._online.files(published, self.root.current, new))
            if new:
                self._store.remove(PENDING_TARGETS)
            self._online.tidy(Published(self._store, FOLDER))
            return (*((Root.type,) if is_root else ()), *(role for role in new if role != UPLOADS))

    def refresh(self, *, force: bool = False) -> bool:
        """Signs snapshot and timestamp again when less than half their life is left. Whether it did."""

        def due() -> list[tuple[str, bytes]]:
            return self._online.refreshed(Published(self._store, FOLDER), self.root.current, force=force)

        with self._lock:
            if not due():
                return False
        with self._store.exclusive(), self._lock:
            files = due()
            self._store.write_all(files)
            return bool(files)

    def skip(self, versions: int) -> None:
        """After a backup was restored: goes on with versions that nodes have not seen, as no earlier one counts."""
        with self._store.exclusive(), self._lock:
            published = Published(self._store, FOLDER)
            self._store.write_all(self._online.files(published, self.root.current, {}, skip=versions))

    def targets(self) -> dict[str, TargetFile]:
        """Everything that is published, by name."""
        with self._lock:
            listed = self._listed(Published(self._store, FOLDER))
        return {name: _told_target(target) for name, target in listed.items()}

    def targets_for(self, desired: Desired) -> dict[str, TargetFile]:
        """What a node needs for this wish, self-tests among it. Raises NotFoundError for what is not published."""
        listed = self.targets()
        found: dict[str, TargetFile] = {}
        wanted = list(wished(desired))
        while wanted:
            where, name = wanted.pop()
            if name in found:
                continue
            if name not in listed:
                raise NotFoundError(f"{where}: `{name}` is not published", hint="`littoral fleet artifacts` lists them")
            found[name] = listed[name]
            if (test := listed[name].custom.self_test) is not None:
                wanted.append((f"self-test of `{name}`", test))
        return found

    def expiring(self) -> dict[str, float]:
        """When what is signed by people ends, Unix time by role."""
        with self._lock:
            targets = self._top(Published(self._store, FOLDER)).signed
        return {
            Root.type: self.root.current.expires.timestamp(),
            Targets.type: targets.expires.timestamp(),
        }

    def _upload(self, target: tuf.TargetFile) -> None:
        published = Published(self._store, FOLDER)
        uploads = published.targets(UPLOADS)
        delegations = self._top(published).signed.delegations
        role = (delegations.roles or {}).get(UPLOADS) if delegations else None
        if uploads is None or role is None or not role.is_delegated_path(target.path):
            raise ForbiddenError(
                f"`{target.path}`: uploads of this kind are not delegated",
                hint="it waits for the offline keys: `littoral fleet sign`",
            )
        uploads.signed.targets[target.path] = target
        self._sign_uploads(published, uploads)

    def _sign_uploads(self, published: Published, uploads: Metadata[Targets]) -> None:
        delegations = self._top(published).signed.delegations
        role = delegations.roles[UPLOADS] if delegations and delegations.roles else None
        signers = self._ring.signers(role.keyids) if role else []
        if not signers:
            raise ForbiddenError(
                "no key of `uploads` is at hand", hint="`littoral keys rotate` of `uploads` gives a new one"
            )
        uploads.signed.version += 1
        uploads.signed.expires = later(self._clock, self._expiries.targets_days)
        new = {UPLOADS: sign_all(uploads, signers[:1])}
        self._store.write_all(self._online.files(published, self.root.current, new))
        self._online.tidy(Published(self._store, FOLDER))

    def _uploads_again(self, published: Published, top: Targets) -> dict[str, bytes]:
        """By a key that these targets delegate to, where it is not so already. Raises ConflictError without one."""
        role = top.delegations.roles.get(UPLOADS) if top.delegations and top.delegations.roles else None
        if role is None:
            return {}
        former = published.targets(UPLOADS)
        if former is not None and top.get_verification_result(UPLOADS, former.signed_bytes, former.signatures):
            return {}
        if not (signers := self._ring.signers(role.keyids)):
            raise ConflictError(
                "uploads are delegated to a key that is not at hand", hint="it belongs among the online keys"
            )
        uploads = Metadata(Targets(1)) if former is None else former
        uploads.signed.version += 0 if former is None else 1
        uploads.signed.expires = later(self._clock, self._expiries.targets_days)
        return {UPLOADS: sign_all(uploads, signers[:1])}

    def _listed(self, published: Published) -> dict[str, tuf.TargetFile]:
        uploads = published.targets(UPLOADS)
        return {**(uploads.signed.targets if uploads else {}), **self._top(published).signed.targets}

    def _top(self, published: Published) -> Metadata[Targets]:
        if (targets := published.targets()) is None:
            raise NotFoundError("the image repository is not begun", hint="begin with the ceremony of keys")
        return targets

    def _draft(self) -> Metadata[Targets] | None:
        data = self._store.read(PENDING_TARGETS)
        return None if data is None else read_metadata(Targets, data, PENDING_TARGETS)

    def _waiting_draft(self) -> Metadata[Targets]:
        if (draft := self._draft()) is None:
            raise NotFoundError("no targets wait for signatures", hint="add an artifact first")
        return draft

    def _draft_with(
        self, changes: Mapping[str, tuf.TargetFile | None], edit: Callable[[Targets], None] | None = None
    ) -> Pending:
        """What waits, with these changes; nothing new is the same draft with its signatures."""
        former, current = self._draft(), self._top(Published(self._store, FOLDER))
        draft = copy.deepcopy((former or current).signed)
        for name, target in changes.items():
            if target is not None:
                draft.targets[name] = target
            elif draft.targets.pop(name, None) is None:
                raise NotFoundError(f"`{name}` is not listed", hint="`littoral fleet artifacts` lists them")
        if former is not None and changes and draft.targets == former.signed.targets:
            return self._told(former)
        if edit is not None:
            edit(draft)
        draft.version = current.signed.version + 1
        draft.expires = later(self._clock, self._expiries.targets_days)
        new = Metadata(draft)
        self._store.write_all([(PENDING_TARGETS, packed(new))])
        return self._told(new)._replace(dropped=len(former.signatures) if former else 0)

    def _told(self, draft: Metadata[Targets]) -> Pending:
        """By the keys of the root that will count when it is published."""
        found = self._judging().get_verification_result(Targets.type, draft.signed_bytes, draft.signatures)
        return Pending(
            Targets.type,
            draft.signed.version,
            tuple(found.signed),
            (*found.signed, *found.unsigned),
            found.threshold,
            found.missing,
        )

    def _judging(self) -> Root:
        data = self.root.pending_bytes if self.root.pending else None
        return self.root.current if data is None else read_metadata(Root, data, PENDING_ROOT).signed

    def _check_targets(self, new: bytes | None, published: Published) -> None:
        targets = self._top(published) if new is None else read_metadata(Targets, new, PENDING_TARGETS)
        found = self._judging().get_verification_result(Targets.type, targets.signed_bytes, targets.signatures)
        if not found:
            raise ConflictError(
                f"root v{self._judging().version} has other keys for targets: of them {len(found.signed)} of "
                f"{found.threshold} have signed the targets",
                hint="`littoral keys renew targets`, then sign with the new keys: both are published together",
            )


def _told_target(target: tuf.TargetFile) -> TargetFile:
    return TargetFile(target.path, target.length, target.hashes["sha256"], read_custom(target.custom, target.path))
