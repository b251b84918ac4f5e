"""One replica's way to another: it sends what it wrote, asks for what it lacks, and now and then they compare.

One request at a time; the next batch goes when the last one is on the other's disk. A vector that the other tells is
all that is remembered of it: after any break the link goes on from there.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple, TypeVar

from littoral.clock import Clock
from littoral.errors import LittoralError, TooLargeError
from littoral.mesh.replica_log import ReplicaLog, Seeds
from littoral.mesh.replica_messages import (
    DIGESTS,
    PULL,
    PUSH,
    STATES,
    VERSIONS,
    AskDigests,
    AskStates,
    AskVersions,
    Digests,
    Pull,
    Pulled,
    Push,
    Pushed,
    decode,
    encode,
)
from littoral.transport import Transport

__all__ = ["Lag", "ReplicaLink", "ShippingTimes"]

BATCH_BYTES = 512 << 10
HEADER_BYTES = 4096
DIGEST_NODES = 1024
VERSION_NODES = 32
STATE_KEYS = 64
STATE_PASSES = 3

_log = logging.getLogger("littoral.mesh.replicas")
_T = TypeVar("_T")


class ShippingTimes(NamedTuple):
    """pull_s: how often what others may have is asked for. compare_s: how often digests are compared.

    request_s: within which a peer must answer. pause_*_s: after a failure, doubling.
    """

    pull_s: float = 2.0
    compare_s: float = 60.0
    request_s: float = 5.0
    pause_first_s: float = 0.1
    pause_max_s: float = 5.0


class Lag(NamedTuple):
    """How far a peer's replica is behind this one. entry_count: what it lacks. since_s: since it lacked nothing.

    failure: why it cannot be reached, or None.
    """

    shard: str
    peer: str
    entry_count: int
    since_s: float
    failure: str | None


class ReplicaLink:
    """Works from `start` to `close`. learned: told whenever more is known of what the peer has. seeds: may bring what
    is there faster than a comparison would.
    """

    def __init__(
        self,
        log: ReplicaLog,
        peer: str,
        transport: Transport,
        *,
        clock: Clock,
        rng: Random,
        times: ShippingTimes,
        learned: Callable[[], None],
        seeds: Seeds | None = None,
    ) -> None:
        self.peer = peer
        self.vector: dict[str, int] | None = None
        self.repaired_count = 0
        self.failure: str | None = None
        self.is_gapped = False
        """Whether the peer lacks what no log has any more: it takes a while until it has anything new."""
        self._log = log
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._times = times
        self._learned = learned
        self._seeds = seeds
        self._wake = asyncio.Event()
        self._here = asyncio.Event()
        self._in_step_at = clock.monotonic()
        self._pull_at = self._compare_at = 0.0
        self._must_repair = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work."""
        self._compare_at = self._clock.monotonic() + self._rng.random() * self._times.compare_s
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """What is under way ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def news(self) -> None:
        """There is more to push."""
        self._wake.set()

    def came(self) -> None:
        """The peer is here again."""
        self._pull_at = 0.0
        self._wake.set()
        self._here.set()

    def heard(self, vector: Mapping[str, int]) -> None:
        """The peer has told what it has."""
        self.vector = dict(vector)
        if self.entry_count == 0:
            self._in_step_at = self._clock.monotonic()
            self.is_gapped = False
        self._learned()

    @property
    def entry_count(self) -> int:
        """What the peer lacks of what is here, as far as is known."""
        theirs = self.vector or {}
        return sum(max(0, number - theirs.get(origin, 0)) for origin, number in self._log.vector.items())

    def lag(self) -> Lag:
        """As a fact for others."""
        since_s = self._clock.monotonic() - self._in_step_at if self.entry_count else 0.0
        return Lag(self._log.name, self.peer, self.entry_count, since_s, self.failure)

    async def _work(self) -> None:
        pause_s = self._times.pause_first_s
        while True:
            self._wake.clear()
            self._here.clear()
            awaited = self._wake
            try:
                await self._round()
                self.failure = None
                pause_s = self._times.pause_first_s
                wait_s = max(0.0, min(self._pull_at, self._compare_at) - self._clock.monotonic())
            except Exception as error:  # noqa: BLE001 (the loop's outermost boundary: told, and tried again)
                self._failed(error)
                wait_s = pause_s * (0.5 + self._rng.random() / 2)
                pause_s = min(2 * pause_s, self._times.pause_max_s)
                self._pull_at = 0.0
                awaited = self._here
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await awaited.wait()

    def _failed(self, error: Exception) -> None:
        is_known = isinstance(error, (LittoralError, OSError))
        if self.failure is None or not is_known:
            shown = None if is_known else error
            _log.warning("replica of `%s` at `%s`: %s", self._log.name, self.peer, error, exc_info=shown)
        self.failure = str(error) if is_known else repr(error)

    async def _round(self) -> None:
        now = self._clock.monotonic()
        if self.vector is None or now >= self._pull_at:
            await self._pull()
            self._pull_at = self._clock.monotonic() + self._times.pull_s
        await self._push()
        if self._must_repair or now >= self._compare_at:
            if await self._compare():
                self._must_repair = False
            self._compare_at = self._clock.monotonic() + self._times.compare_s * (0.5 + self._rng.random())

    async def _pull(self) -> None:
        """Asks for what is there beyond what is here, until there is nothing."""
        while True:
            before, settled = dict(self._log.vector), self._log.settled_now
            told = await self._ask(PULL, Pull(self._log.name, before, self._batch_bytes, settled), Pulled)
            await self._see_own_numbers(told.vector)
            if told.entries:
                await self._log.take_entries(told.entries)
            self._must_repair |= told.is_gapped
            self.heard(told.vector)
            if not told.entries or dict(self._log.vector) == before:
                return

    async def _see_own_numbers(self, theirs: Mapping[str, int]) -> None:
        if theirs.get(self._log.origin, 0) > self._log.vector.get(self._log.origin, 0):
            _log.error("replica of `%s`: `%s` knows more of `%s` than it", self._log.name, self.peer, self._log.origin)
            await self._log.begin_life()
            self._must_repair = True

    async def _push(self) -> None:
        """What was written here, from where the peer is."""
        while self.vector is not None:
            origin, own = self._log.origin, self._log.vector
            after = self.vector.get(origin, 0)
            if after >= own.get(origin, 0):
                return
            entries, is_gapped = await self._log.entries_after({**own, origin: after}, self._batch_bytes)
            if is_gapped != self.is_gapped:
                self.is_gapped = is_gapped
                self._learned()
            if is_gapped or not entries:
                return  # the peer sees that when it pulls, and repairs itself
            told = await self._ask(PUSH, Push(self._log.name, entries), Pushed)
            self.heard(told.vector)
            if told.vector.get(origin, 0) <= after:
                return

    async def _compare(self) -> bool:
        """Takes over what is later there. Whether everything was, so that what the peer knew then is known here."""
        root = await self._ask(DIGESTS, AskDigests(self._log.name, [0]), Digests)
        nodes = await self._log.differing({0: root.digests[0]}) if len(root.digests) == 1 else []
        while nodes and (under := self._log.below(nodes)):
            nodes = await self._differing(under)
        if await self._is_seeded(len(nodes)):
            return False
        is_whole, count, at = True, VERSION_NODES, 0
        while at < len(nodes):
            some = nodes[at : at + count]
            try:
                body = await self._request(VERSIONS, AskVersions(self._log.name, some))
            except TooLargeError:
                if count == 1:
                    raise
                count = max(1, count // 2)
                continue
            keys = await self._log.wanted(some, body, root.vector, root.floor)
            is_whole &= await self._take_states(keys)
            at += len(some)
        if is_whole:
            await self._log.learn(root.vector, root.floor)
        return is_whole

    async def _is_seeded(self, differing_count: int) -> bool:
        """What the log still has is shipped as that."""
        if not self._must_repair or self._seeds is None:
            return False
        return await self._seeds.takes(self._log.name, self.peer, differing_count)

    async def _differing(self, nodes: Sequence[int]) -> list[int]:
        found: list[int] = []
        for at in range(0, len(nodes), DIGEST_NODES):
            some = list(nodes[at : at + DIGEST_NODES])
            told = await self._ask(DIGESTS, AskDigests(self._log.name, some), Digests)
            found += await self._log.differing(dict(zip(some, told.digests, strict=False)))
        return found

    async def _take_states(self, keys: list[bytes]) -> bool:
        for _ in range(STATE_PASSES):
            left: list[bytes] = []
            while keys:
                some, keys = keys[:STATE_KEYS], keys[STATE_KEYS:]
                body = await self._request(STATES, AskStates(self._log.name, some, self._batch_bytes))
                told = set(await self._log.take_states(body))
                self.repaired_count += len(told)
                missed = [key for key in some if key not in told]
                (keys if told else left).extend(missed)
            if not left:
                return True
            keys = left
        return False

    @property
    def _batch_bytes(self) -> int:
        return max(1, min(BATCH_BYTES, self._transport.body_bytes_max - HEADER_BYTES))

    async def _ask(self, service: str, message: object, kind: type[_T]) -> _T:
        return decode(await self._request(service, message), kind)

    async def _request(self, service: str, message: object) -> bytes:
        return await self._transport.request(self.peer, service, encode(message), deadline_s=self._times.request_s)
