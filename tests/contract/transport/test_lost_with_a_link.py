"""What is lost with a link that was cut or replaced is asked again and done once; nobody waits for nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from littoral.errors import ConflictError, PeerError
from littoral.mesh.zenoh_transport import ZenohTransport
from littoral.transport import Handler
from littoral.transport import answered as remembering
from littoral.transport.answered import AGAIN, Answered, Fate
from littoral.transport.fake import Network
from mesh_rigs import Counted, Rig, ZenohRig, echo, meet
from udp_relay import UdpRelay
from waiting import until_async

DEADLINE_S = 120.0
LONGEST_S = 60.0
"""Half of the deadline: far more than a link takes to be made anew on a busy machine."""

EVERY_S = 0.05


class Counting:
    """Answers with what it is asked, and counts it."""

    def __init__(self) -> None:
        self.handled: Counter[bytes] = Counter()

    async def __call__(self, _: str, body: bytes) -> bytes:
        self.handled[body] += 1
        return body


async def given(answer: bytes | Exception) -> bytes:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def test_what_has_one_mark_is_done_once_and_told_to_all() -> None:
    answers = Answered()
    gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    begun: list[int] = []

    async def work() -> bytes:
        begun.append(1)
        return await gate

    assert answers.find("gw-1", "a-1").fate is Fate.UNKNOWN
    both = [asyncio.ensure_future(answers.once("gw-1", "a-1", work)) for _ in range(2)]
    await until_async(lambda: answers.find("gw-1", "a-1").fate is Fate.UNDER_WAY)
    gate.set_result(b"done")
    assert await asyncio.gather(*both) == [b"done"] * 2
    assert await answers.once("gw-1", "a-1", work) == b"done"
    assert answers.find("gw-1", "a-1").answer == b"done"
    assert len(begun) == 1
    assert await answers.once("gw-2", "a-1", lambda: given(b"another caller's")) == b"another caller's"
    with pytest.raises(ConflictError, match="no"):
        await answers.once("gw-1", "a-2", lambda: given(ConflictError("no")))
    assert isinstance(answers.find("gw-1", "a-2").error, ConflictError)


async def test_who_gives_up_leaves_nothing_behind() -> None:
    answers = Answered()
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(answers.once("gw-1", "a-1", lambda: never))
    await until_async(lambda: answers.find("gw-1", "a-1").fate is Fate.UNDER_WAY)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert answers.find("gw-1", "a-1").fate is Fate.UNKNOWN


async def test_answers_are_kept_within_bounds_and_never_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "KEPT_BYTES_MAX", 1000)
    monkeypatch.setattr(remembering, "KEPT_ANSWER_BYTES_MAX", 400)
    monkeypatch.setattr(remembering, "REMEMBERED_COUNT_MAX", 8)
    answers = Answered()
    for number in range(4):
        await answers.once("gw-1", f"a-{number}", lambda: given(bytes(300)))
    await answers.once("gw-1", "large", lambda: given(bytes(401)))
    fates = [answers.find("gw-1", mark).fate for mark in ("a-0", "a-1", "a-3", "large")]
    assert fates == [Fate.FORGOTTEN, Fate.ANSWERED, Fate.ANSWERED, Fate.FORGOTTEN]
    with pytest.raises(PeerError, match="not kept any more"):
        await answers.once("gw-1", "large", lambda: given(b"again"))
    for number in range(100, 108):
        await answers.once("gw-1", f"a-{number}", lambda: given(b""))
    assert answers.find("gw-1", "large").fate is Fate.UNKNOWN


async def test_no_service_may_be_called_as_what_asks_again(rig: Rig) -> None:
    one = await rig.join("gw-1")
    with pytest.raises(ConflictError, match=f"`{AGAIN}`"):
        await one.serve(AGAIN, echo)


@pytest.mark.parametrize("way", [("gw-1", "gw-2"), ("gw-2", "gw-1")])
async def test_what_a_short_cut_holds_up_is_answered_and_done_once(way: tuple[str, str]) -> None:
    network = Network()
    one, other = network.join("gw-1"), network.join("gw-2")
    counting = Counting()
    await other.serve("count", counting)
    await meet(one, other)
    cut = network.cut([way[0]], [way[1]], is_one_way=True)
    asked = asyncio.ensure_future(one.request("gw-2", "count", b"x", deadline_s=DEADLINE_S))
    lost: list[Counted] = [one]
    await until_async(lambda: bool(lost[0].traffic.asked) and (way[0] == "gw-1" or counting.handled[b"x"] == 1))
    network.heal(cut)
    async with asyncio.timeout(LONGEST_S):
        assert await asked == b"x"
    assert counting.handled == {b"x": 1}
    await one.close()
    await other.close()


class Load:
    """Requests from one node to another, one after each short while, until they are counted."""

    def __init__(self, node: ZenohTransport, peer: str) -> None:
        self._node = node
        self._peer = peer
        self._asked: list[asyncio.Task[bytes]] = []
        self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while True:
            body = b"%d" % len(self._asked)
            asked = self._node.request(self._peer, "count", body, deadline_s=DEADLINE_S)
            self._asked.append(asyncio.create_task(asked))
            await asyncio.sleep(EVERY_S)

    async def ended(self) -> Counter[str]:
        """What became of them; all that is known long before their deadline."""
        self._asking.cancel()
        async with asyncio.timeout(LONGEST_S):
            told = await asyncio.gather(*self._asked, return_exceptions=True)
        return Counter("answered" if isinstance(one, bytes) else type(one).__name__ for one in told)


@pytest.fixture
async def zenoh(tmp_path: Path) -> AsyncIterator[ZenohRig]:
    made = ZenohRig(tmp_path, "quic")
    yield made
    await made.close()


async def joined(rig: ZenohRig, name: str, peers: dict[str, str | None], handler: Handler) -> ZenohTransport:
    node = await rig.open(replace(rig.options(name), peers=peers))
    await node.serve("count", handler)
    return node


async def test_nobody_waits_for_a_link_that_was_made_anew_at_one_end_only(zenoh: ZenohRig) -> None:
    """`gw-1` gives `gw-2` up, which does not hear of it, and links to it another way before `gw-2` has noticed."""
    countings = [Counting(), Counting()]
    async with UdpRelay(zenoh.ports["gw-1"]) as there, UdpRelay(zenoh.ports["gw-2"]) as back:
        back.mute = {"there", "back"}
        far = await joined(zenoh, "gw-1", {"gw-2": f"127.0.0.1:{back.port}"}, countings[0])
        near = await joined(zenoh, "gw-2", {"gw-1": f"127.0.0.1:{there.port}"}, countings[1])
        await meet(far, near)
        went = asyncio.Event()
        far.watch(lambda _, is_here: None if is_here else went.set())
        loads = [Load(far, "gw-2"), Load(near, "gw-1")]
        there.mute = {"there"}
        asyncio.get_running_loop().call_later(0.75 * zenoh.lease_s, there.mute.add, "back")
        await went.wait()
        back.mute = set()
        await meet(far, near)
        told = [await load.ended() for load in loads]
    assert all(set(outcomes) <= {"answered", "PeerError"} for outcomes in told)
    assert all(outcomes["answered"] for outcomes in told)
    assert all(set(counting.handled.values()) == {1} for counting in countings)
