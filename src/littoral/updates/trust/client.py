"""A node's client: what the director wishes and the image repository lists, verified, or a refusal with its reason.

Whatever is refused, the state is what it was (but for newer roots, which always count), and a good answer is taken
afterwards. Nothing here stops what runs.
"""

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from msgspec import structs
from tuf.api import metadata as tuf

from littoral.clock import SYSTEM, Clock
from littoral.errors import (
    DeploymentFellError,
    DisputedTargetError,
    ExpiredUpdateError,
    FastForwardError,
    InputError,
    MalformedUpdateError,
    TrustStateError,
    UnknownTargetError,
    UnlistedTargetError,
    UpdateClockError,
    WrongNodeError,
)
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName
from littoral.updates.targets import DIRECTOR, IMAGE, TargetFile, read_custom, read_signable, wished
from littoral.updates.trust.bounds import BOUNDS, Bounds
from littoral.updates.trust.fetching import Fetcher, Progress
from littoral.updates.trust.repository import Repository
from littoral.updates.trust.state import FolderFiles, Kept, StateFiles, TrustState, keep, kept
from littoral.updates.trust.transport import Transport
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import Desired

__all__ = ["TrustedClient", "Verified"]

SEEN_EVERY_S = 3600.0


class Verified(NamedTuple):
    """targets: by name, all that `desired` needs, self-tests among it. valid_until_s: Unix time up to which this may be
    installed; what runs by then runs on.
    """

    desired: Desired
    targets: Mapping[str, TargetFile]
    valid_until_s: float


class TrustedClient:
    """For several threads, one at a time in `refresh`. folder: its state, which no guest may write.

    clock: the machine's. what time it is: the latest of that clock, of what the orchestrator has said (`heard_time`),
    and of when something was last found valid.
    """

    def __init__(
        self,
        folder: Path,
        node: str,
        trust: TrustFile,
        transport: Transport,
        *,
        clock: Clock = SYSTEM,
        bounds: Bounds = BOUNDS,
        files: StateFiles | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self._node = node
        self._clock = clock
        self._bounds = bounds
        self._files = files or FolderFiles(folder)
        self._fetcher = fetcher or Fetcher(clock, bounds)
        self.transport = transport
        image_root, director_root = trust.roots
        self._image = Repository(IMAGE, image_root, bounds)
        self._director = Repository(DIRECTOR, director_root, bounds)
        self._heard: tuple[float, float] | None = None
        self._bytes_per_s_max: float | None = None
        self._lock = threading.Lock()

    def heard_time(self, seconds: float) -> None:
        """What the orchestrator says the time is, Unix time."""
        self._heard = (seconds, self._clock.monotonic())

    def refresh(self, since: int = 0) -> Verified:
        """What this node is to run. since: the deployment it knows of; a lower one is refused. What is fetched is under
        the cap that the last wish had.

        Raises an UpdateRefusedError of the reason, PeerError where nobody answers. Also TrustStateError for a state
        that is damaged, or gone while `since` says that there was one.
        """
        with self._lock:
            state = TrustState.read(self._files)
            if since and state.director is None:
                raise TrustStateError(
                    f"deployment {since} is known, but not which versions led to it: the state of trust is gone",
                    hint="`littoral update begin-again` takes the trust file anew",
                )
            clocks = self._clocks()
            now_s = max(*clocks.values(), state.seen_s)
            try:
                return self._refreshed(state, since, now_s)
            except ExpiredUpdateError as error:
                self._raise_expired(error, clocks)

    def fetch(
        self,
        target: TargetFile,
        into: Path,
        *,
        have: Sequence[Path] = (),
        progress: Progress | None = None,
        bytes_per_s_max: float | None = None,
    ) -> Path:
        """The target's bytes, verified, at `into`. have: files whose blocks may be in it, so that they need not travel.

        What was interrupted goes on where it was. Raises as `refresh`, OSError for a full disk.
        """
        return self._fetcher.fetch(
            self.transport, target, into, have=have, progress=progress, bytes_per_s_max=bytes_per_s_max
        )

    def _refreshed(self, state: TrustState, since: int, now_s: float) -> Verified:
        now = dt.datetime.fromtimestamp(now_s, dt.UTC)
        state = self._update(state, self._director, tree.director_metadata(self._node), now)
        desired = self._desired()
        self._bytes_per_s_max = desired.bytes_per_s_max
        state = self._update(state, self._image, tree.image_metadata(), now)
        targets = self._targets(desired)
        keys = tuple(sorted(self._director.trusted.root.roles[tuf.Targets.type].keyids))
        floor = max(since, state.deployment if keys == state.deployment_keys else 0)
        if desired.deployment < floor:
            raise DeploymentFellError(
                f"director: deployment {desired.deployment} is earlier than {floor}, which this node was told",
                hint="a way back is a new deployment with earlier targets",
            )
        if floor and desired.deployment - floor > self._bounds.version_jump_max:
            raise FastForwardError(
                f"director: deployment goes from {floor} to {desired.deployment}, "
                f"at most {self._bounds.version_jump_max} at once",
                hint="somebody has the director's keys: rotate them, docs/guides/recover-update-keys.md",
            )
        new = state
        for repository in (self._director, self._image):
            new = self._keeping(new, repository, repository.roles)
        new = structs.replace(new, deployment=desired.deployment, deployment_keys=keys)
        if new != state or now_s > state.seen_s + SEEN_EVERY_S:
            structs.replace(new, seen_s=now_s).write(self._files)
        return Verified(desired, targets, min(self._image.valid_until_s, self._director.valid_until_s))

    def _update(self, state: TrustState, repository: Repository, folder: str, now: dt.datetime) -> TrustState:
        """What is on the disk afterwards: newer roots count at once, the rest when all of it is right."""
        former: Kept | None = getattr(state, repository.name)
        roles: dict[str, bytes] = {}
        if former is not None and former.bootstrap_sha256 == repository.bootstrap_sha256:
            roles = kept(self._files, former, repository.name)

        def keep_roots(new: dict[str, bytes]) -> None:
            nonlocal state
            state = self._keeping(state, repository, new)
            state.write(self._files)

        def fetch(file: str, bytes_max: int) -> bytes:
            path = f"{folder}{file}"
            return self._fetcher.metadata(self.transport, path, bytes_max, bytes_per_s_max=self._bytes_per_s_max)

        repository.refresh(roles, fetch, now, keep_roots)
        return state

    def _keeping(self, state: TrustState, repository: Repository, roles: dict[str, bytes]) -> TrustState:
        digests = keep(self._files, roles)
        former = Kept(bootstrap_sha256=repository.bootstrap_sha256, roles=digests)
        return structs.replace(state, **{repository.name: former})

    def _desired(self) -> Desired:
        targets = self._director.trusted.targets
        desired = read_signable(Desired, targets.unrecognized_fields, "director: `targets`")
        if desired.node != self._node:
            raise WrongNodeError(
                f"director: `targets` v{targets.version} is for node `{desired.node}`, this is `{self._node}`",
                hint="another node's answer was given to this one",
            )
        return desired

    def _targets(self, desired: Desired) -> dict[str, TargetFile]:
        """Those that the director lists, as the image repository lists them too."""
        listed = self._director.trusted.targets.targets
        for where, name in wished(desired):
            if name not in listed:
                raise UnknownTargetError(
                    f"director: {where} is `{name}`, which its targets do not list", hint="the orchestrator is at fault"
                )
        return {name: self._target(name, target) for name, target in listed.items()}

    def _target(self, name: str, directed: tuf.TargetFile) -> TargetFile:
        try:
            ArtifactName.parse(name)
        except InputError as error:
            raise MalformedUpdateError(f"director: {error.message}", hint=error.hint) from error
        if (valid := self._image.find(name)) is None:
            raise UnlistedTargetError(
                f"`{name}` is listed by the director and not by the image repository",
                hint="nobody with an offline key has signed it: `littoral fleet sign`",
            )
        if (valid.length, valid.hashes) != (directed.length, directed.hashes):
            raise DisputedTargetError(
                f"`{name}`: image repository {_content(valid)}, director {_content(directed)}",
                hint="the orchestrator would have this node install other bytes than were signed for",
            )
        if (digest := valid.hashes.get("sha256")) is None:
            raise MalformedUpdateError(f"`{name}` is listed without its SHA-256")
        return TargetFile(name, valid.length, digest, read_custom(valid.custom, name))

    def _clocks(self) -> dict[str, float]:
        clocks = {"machine": self._clock.wall()}
        if self._heard is not None:
            seconds, at_s = self._heard
            clocks["orchestrator"] = seconds + self._clock.monotonic() - at_s
        return clocks

    def _raise_expired(self, error: ExpiredUpdateError, clocks: Mapping[str, float]) -> NoReturn:
        """By all clocks, or by one of them only, which may be the wrong one."""
        before = {name: now_s for name, now_s in clocks.items() if now_s < error.expires_s}
        if len(clocks) < 2 or not before or len(before) == len(clocks):
            raise error
        told = ", ".join(
            f"{name} {dt.datetime.fromtimestamp(now_s, dt.UTC):%Y-%m-%d %H:%M:%S}" for name, now_s in clocks.items()
        )
        raise UpdateClockError(
            f"{error.message}; clocks differ: {told}", hint="the later one counts: set the clock that is wrong"
        ) from error


def _content(target: tuf.TargetFile) -> str:
    return f"{target.length} bytes, SHA-256 {target.hashes.get('sha256', 'none')}"
