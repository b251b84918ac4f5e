"""One repository as a node trusts it: TUF's client workflow (specification, section 5) over python-tuf's checks.

The checks are `TrustedMetadataSet`: bytes in, exception out. What is here is the order, where bytes come from and go
to, and what a refusal is called. python-tuf's own `Updater` takes the machine's clock, writes without `fsync` and
forgets in silence what it cannot read; ADR 0057.
"""

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NoReturn

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from littoral.errors import (
    ExpiredUpdateError,
    FastForwardError,
    MalformedUpdateError,
    MixedUpdateError,
    NotFoundError,
    ReplayedUpdateError,
    RolledBackUpdateError,
    RootChainError,
    TruncatedUpdateError,
    UnsignedUpdateError,
    WithheldUpdateError,
)
from littoral.updates.targets import FIELD
from littoral.updates.trust.bounds import Bounds

__all__ = ["Fetch", "Repository", "expires_s"]

Fetch = Callable[[str, int], bytes]
"""A metadata file by its name, of so many bytes at most. Raises NotFoundError, EndlessDataError, PeerError."""

KeepRoot = Callable[[dict[str, bytes]], None]
EXPIRED_HINT = "what runs goes on; the publisher signs again, or the orchestrator was away for longer than that"


class Repository:
    """name: in errors, `image` or `director`. bootstrap: the root of the trust file."""

    def __init__(self, name: str, bootstrap: bytes, bounds: Bounds) -> None:
        self.name = name
        self._bootstrap = bootstrap
        self._bounds = bounds
        self._roles: dict[str, bytes] = {}
        self._trusted: TrustedMetadataSet | None = None
        self.bootstrap_sha256 = sha256(bootstrap).hexdigest()

    @property
    def roles(self) -> dict[str, bytes]:
        """What is trusted, by role: to be kept once all of an update is."""
        return dict(self._roles)

    @property
    def trusted(self) -> TrustedMetadataSet:
        """After `refresh`."""
        assert self._trusted is not None
        return self._trusted

    @property
    def valid_until_s(self) -> float:
        """Unix time at which the first of its roles expires."""
        return min(expires_s(signed) for signed in self._signed())

    def refresh(
        self, kept: dict[str, bytes], fetch: Fetch, now: dt.datetime, keep_root: KeepRoot
    ) -> TrustedMetadataSet:
        """Everything that is trusted from now on. kept: what was; keep_root: called when a root is, whatever follows.

        Raises UpdateRefusedError and leaves what was trusted as it is; PeerError.
        """
        former = self._trusted if kept == self._roles else None
        trusted = self._begin(kept.get(Root.type))
        trusted.reference_time = now
        roles = {Root.type: kept.get(Root.type, self._bootstrap)}
        for root in self._next_roots(trusted, fetch):
            roles[Root.type], former = root, None
            keep_root({**kept, Root.type: root})
            kept = {**kept, Root.type: root}
        stamp = self._fetched(fetch, Timestamp.type, f"{Timestamp.type}.json")
        if former is not None and stamp == kept.get(Timestamp.type):
            former.reference_time = now
            self._check_times(former, now)
            return former
        self._timestamp(trusted, kept.get(Timestamp.type), stamp, roles)
        self._snapshot(trusted, kept.get(Snapshot.type), fetch, roles)
        self._targets(trusted, Targets.type, Root.type, kept, fetch, roles)
        self._load_delegated(trusted, kept, fetch, roles)
        self._trusted, self._roles = trusted, roles
        return trusted

    def find(self, name: str) -> TargetFile | None:
        """As TUF's preorder walk: the first role that lists it and may."""
        waiting = [Targets.type]
        seen: set[str] = set()
        while waiting and len(seen) <= self._bounds.delegations_max:
            role = waiting.pop(0)
            targets = self.trusted.get(role)
            if role in seen or not isinstance(targets, Targets):
                continue
            seen.add(role)
            if name in targets.targets:
                return targets.targets[name]
            children = []
            for child, terminates in targets.delegations.get_roles_for_target(name) if targets.delegations else ():
                children.append(child)
                if terminates:
                    waiting = []
                    break
            waiting = [*children, *waiting]
        return None

    def _begin(self, kept_root: bytes | None) -> TrustedMetadataSet:
        with self._refusing(Root.type):
            trusted = TrustedMetadataSet(kept_root or self._bootstrap, EnvelopeType.METADATA)
        self._check_own(trusted.root)
        return trusted

    def _next_roots(self, trusted: TrustedMetadataSet, fetch: Fetch) -> Iterator[bytes]:
        for _ in range(self._bounds.rotations_max):
            try:
                data = fetch(f"{trusted.root.version + 1}.root.json", self._bounds.root_bytes_max)
            except NotFoundError:
                return
            with self._refusing(Root.type, data):
                self._check_own(trusted.update_root(data))
            yield data
        raise RootChainError(
            f"{self.name}: more than {self._bounds.rotations_max} new roots at once, now at v{trusted.root.version}",
            hint="the next try goes on from there; a newer trust file is quicker",
        )

    def _check_own(self, root: Root) -> None:
        """Both repositories have the same root keys: a root of one would be signed well enough for the other."""
        if root.unrecognized_fields.get(FIELD) != self.name:
            raise RootChainError(
                f"{self.name}: root v{root.version} is one of `{root.unrecognized_fields.get(FIELD)}`",
                hint="the other repository's root was put in its place",
            )

    def _timestamp(self, trusted: TrustedMetadataSet, kept: bytes | None, new: bytes, roles: dict[str, bytes]) -> None:
        if kept is not None:
            with contextlib.suppress(tuf.ExpiredMetadataError, tuf.UnsignedMetadataError):
                trusted.update_timestamp(kept)
        former: Timestamp | None = trusted.get(Timestamp.type)
        with self._refusing(Timestamp.type, new, trusted, former):
            try:
                trusted.update_timestamp(new)
            except tuf.EqualVersionNumberError:
                assert kept is not None
                new = kept
                self._check_time(trusted.timestamp, trusted.reference_time)
        if former is not None:
            self._check_jump(Timestamp.type, former.version, trusted.timestamp.version)
            self._check_jump(Snapshot.type, former.snapshot_meta.version, trusted.timestamp.snapshot_meta.version)
        roles[Timestamp.type] = new

    def _snapshot(self, trusted: TrustedMetadataSet, kept: bytes | None, fetch: Fetch, roles: dict[str, bytes]) -> None:
        meta = trusted.timestamp.snapshot_meta
        if kept is not None:
            try:
                trusted.update_snapshot(kept, trusted=True)
            except (tuf.ExpiredMetadataError, tuf.UnsignedMetadataError, tuf.BadVersionNumberError):
                pass
            else:
                roles[Snapshot.type] = kept
                return
        former: Snapshot | None = trusted.get(Snapshot.type)
        data = self._fetched(fetch, Snapshot.type, f"{meta.version}.{Snapshot.type}.json")
        with self._refusing(Snapshot.type, data, trusted, former, meta.length):
            trusted.update_snapshot(data)
        for name, listed in trusted.snapshot.meta.items():
            if former is not None and name in former.meta:
                self._check_jump(name.removesuffix(".json"), former.meta[name].version, listed.version)
        roles[Snapshot.type] = data

    def _targets(
        self,
        trusted: TrustedMetadataSet,
        role: str,
        parent: str,
        kept: dict[str, bytes],
        fetch: Fetch,
        roles: dict[str, bytes],
    ) -> None:
        meta = trusted.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise MixedUpdateError(
                f"{self.name}: snapshot v{trusted.snapshot.version} does not list `{role}`, which is delegated to",
                hint="metadata of different times was put together",
            )
        if role in kept:
            with contextlib.suppress(tuf.RepositoryError):
                trusted.update_delegated_targets(kept[role], role, parent)
                roles[role] = kept[role]
                return
        data = self._fetched(fetch, role, f"{meta.version}.{role}.json")
        with self._refusing(role, data, trusted, None, meta.length):
            trusted.update_delegated_targets(data, role, parent)
        roles[role] = data

    def _load_delegated(
        self, trusted: TrustedMetadataSet, kept: dict[str, bytes], fetch: Fetch, roles: dict[str, bytes]
    ) -> None:
        """All of them, so that what was refreshed is of one moment. Bounded in number."""
        waiting = [Targets.type]
        while waiting:
            parent = waiting.pop(0)
            targets = trusted[parent]
            assert isinstance(targets, Targets)
            for role in targets.delegations.roles or () if targets.delegations else ():
                if role in roles:
                    continue
                if len(roles) > self._bounds.delegations_max + 3:
                    raise MalformedUpdateError(
                        f"{self.name}: more than {self._bounds.delegations_max} delegated roles",
                        hint="`delegations_max` of the node",
                    )
                self._targets(trusted, role, parent, kept, fetch, roles)
                waiting.append(role)

    def _fetched(self, fetch: Fetch, role: str, file: str) -> bytes:
        try:
            return fetch(file, self._bounds.bytes_of(role))
        except NotFoundError as error:
            raise WithheldUpdateError(
                f"{self.name}: `{file}` is not to be had, though it is signed for",
                hint="a copy that is not complete, or somebody who keeps it back",
            ) from error

    def _check_jump(self, role: str, former: int, version: int) -> None:
        if version - former > self._bounds.version_jump_max:
            raise FastForwardError(
                f"{self.name}: `{role}` goes from v{former} to v{version}, "
                f"at most {self._bounds.version_jump_max} at once",
                hint="somebody has the key of that role: rotate it, docs/guides/recover-update-keys.md",
            )

    def _check_times(self, trusted: TrustedMetadataSet, now: dt.datetime) -> None:
        for signed in trusted:
            assert isinstance(signed, Signed)
            self._check_time(signed, now)

    def _check_time(self, signed: Signed, now: dt.datetime) -> None:
        if signed.is_expired(now):
            raise _expired(self.name, signed.type, signed, now)

    def _signed(self) -> Iterator[Signed]:
        for signed in self.trusted:
            assert isinstance(signed, Signed)
            yield signed

    @contextlib.contextmanager
    def _refusing(
        self,
        role: str,
        data: bytes = b"",
        trusted: TrustedMetadataSet | None = None,
        former: Timestamp | Snapshot | None = None,
        length: int | None = None,
    ) -> Iterator[None]:
        """What python-tuf raises, by its reason."""
        try:
            yield
        except DeserializationError as error:
            raise MalformedUpdateError(f"{self.name}: `{role}` cannot be read: {error.__cause__ or error}") from error
        except tuf.UnsignedMetadataError as error:
            raise UnsignedUpdateError(
                f"{self.name}: `{role}`: {error}",
                hint="signed by keys that the trusted root does not list, or changed after it was signed",
            ) from error
        except tuf.ExpiredMetadataError as error:
            self._raise_expired(role, data, trusted, error)
        except tuf.LengthOrHashMismatchError as error:
            self._raise_mixed(role, data, length, error)
        except tuf.BadVersionNumberError as error:
            self._raise_version(role, data, former, error)
        except tuf.RepositoryError as error:
            self._raise_other(role, data, former, error)
        except ValueError as error:
            raise MalformedUpdateError(f"{self.name}: `{role}`: {error}") from error

    def _raise_expired(self, role: str, data: bytes, trusted: TrustedMetadataSet | None, error: Exception) -> NoReturn:
        assert trusted is not None
        now = trusted.reference_time
        for signed in trusted:
            assert isinstance(signed, Signed)
            if signed.is_expired(now):
                raise _expired(self.name, signed.type, signed, now) from error
        raise _expired(self.name, role, Metadata[Targets].from_bytes(data).signed, now) from error

    def _raise_mixed(self, role: str, data: bytes, length: int | None, error: Exception) -> NoReturn:
        told = f"{self.name}: `{role}` of {len(data)} bytes is not what is listed ({error})"
        if length is not None and len(data) < length and not _is_json(data):
            raise TruncatedUpdateError(
                f"{self.name}: `{role}` ends after {len(data)} of {length} bytes", hint="fetched again at the next try"
            ) from error
        raise MixedUpdateError(
            told, hint="metadata of different times was put together, or somebody has a key"
        ) from error

    def _raise_version(self, role: str, data: bytes, former: Timestamp | Snapshot | None, error: Exception) -> NoReturn:
        found = Metadata[Targets].from_bytes(data).signed.version
        if role == Root.type:
            raise RootChainError(f"{self.name}: {error}", hint="roots follow one another without a gap") from error
        if role == Timestamp.type and former is not None and found < former.version:
            raise ReplayedUpdateError(
                f"{self.name}: `{role}` v{found} is earlier than v{former.version}, which this node has seen",
                hint="an old answer, or an orchestrator that was restored: docs/guides/recover-update-keys.md",
            ) from error
        if role == Timestamp.type or _has_fallen(data, former):
            self._raise_rolled_back(role, found, error)
        raise MixedUpdateError(f"{self.name}: `{role}`: {error}", hint="metadata of different times") from error

    def _raise_other(self, role: str, data: bytes, former: Timestamp | Snapshot | None, error: Exception) -> NoReturn:
        if role == Snapshot.type and _has_fallen(data, former):
            self._raise_rolled_back(role, Metadata[Snapshot].from_bytes(data).signed.version, error)
        raise MalformedUpdateError(f"{self.name}: `{role}`: {error}") from error

    def _raise_rolled_back(self, role: str, version: int, error: Exception) -> NoReturn:
        raise RolledBackUpdateError(
            f"{self.name}: `{role}` v{version} lists less than this node has seen: {error}",
            hint="an old answer, or an orchestrator that was restored: docs/guides/recover-update-keys.md",
        ) from error


def expires_s(signed: Signed) -> float:
    """Unix time."""
    return signed.expires.timestamp()


def _expired(name: str, role: str, signed: Signed, now: dt.datetime) -> ExpiredUpdateError:
    return ExpiredUpdateError(
        f"{name}: `{role}` v{signed.version} expired at {signed.expires:%Y-%m-%d %H:%M:%S}, "
        f"it is {now:%Y-%m-%d %H:%M:%S} UTC",
        expires_s=expires_s(signed),
        hint=EXPIRED_HINT,
    )


def _has_fallen(data: bytes, former: Timestamp | Snapshot | None) -> bool:
    """Whether a snapshot lists something in an earlier version, or not at all any more."""
    if not isinstance(former, Snapshot):
        return False
    now = Metadata[Snapshot].from_bytes(data).signed.meta
    return any(name not in now or now[name].version < meta.version for name, meta in former.meta.items())


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
