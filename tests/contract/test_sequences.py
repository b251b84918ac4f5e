"""State between requests: fed back, in order, bounded in number and time; the same as feeding it by hand."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from littoral import settings
from littoral.errors import ConflictError, InputError, UnavailableError
from littoral.node.sequences import WAITING_MAX, Flags, Sequences
from littoral.testing import SimulatedClock
from node_fixture import Served, node_in_thread
from oip_site import write_oip_site
from supervised import short_folder
from waiting import until_async

IDLE_S = 10.0


def sequences(clock: SimulatedClock, count_max: int = 3) -> Sequences[str]:
    return Sequences("m", {"state": "next"}, count_max=count_max, idle_s=IDLE_S, clock=clock)


async def one(
    found: Sequences[str], key: int | str, *, start: bool = False, end: bool = False, version: str = "v"
) -> Any:
    """The state before, which becomes one more."""
    async with found.turn(Flags(key, start, end), version) as sequence:
        before = 0 if sequence.state is None else int(sequence.state["state"])
        sequence.state = {"state": np.array(before + 1)}
        return sequence.version, before


async def test_state_goes_from_request_to_request() -> None:
    found = sequences(SimulatedClock())
    assert [await one(found, 1, start=start) for start in (True, False, False)] == [("v", 0), ("v", 1), ("v", 2)]
    assert await one(found, "a", start=True) == ("v", 0)
    assert await one(found, 1) == ("v", 3)
    assert await one(found, 1, start=True, version="w") == ("w", 0)
    assert await one(found, 1, version="x") == ("w", 1)  # it stays with the version that it began with


async def test_a_sequence_ends() -> None:
    found = sequences(SimulatedClock())
    await one(found, 1, start=True)
    assert await one(found, 1, end=True) == ("v", 1)
    with pytest.raises(InputError, match="model `m`: sequence `1` is unknown · hint: begin it with `sequence_start`"):
        await one(found, 1)
    assert await one(found, 2, start=True, end=True) == ("v", 0)
    assert found.statistics() == (0, 2, 2, 0)


async def test_their_number_is_bounded() -> None:
    found = sequences(SimulatedClock())
    for key in range(3):
        await one(found, key + 1, start=True)
    with pytest.raises(UnavailableError, match="3 sequences are open, which is the most"):
        await one(found, 9, start=True)
    assert await one(found, 1, start=True) == ("v", 0)
    await one(found, 2, end=True)
    assert await one(found, 9, start=True) == ("v", 0)


async def test_a_pause_ends_one() -> None:
    clock = SimulatedClock()
    found = sequences(clock)
    for key in (1, 2, 3):
        await one(found, key, start=True)
    clock.advance(IDLE_S / 2)
    await one(found, 1)
    clock.advance(IDLE_S / 2 + 0.1)
    assert found.statistics() == (1, 3, 0, 2)
    assert await one(found, 1) == ("v", 2)
    with pytest.raises(InputError):
        await one(found, 2)


async def test_requests_of_one_take_turns_as_they_came() -> None:
    found = sequences(SimulatedClock())
    order: list[int] = []
    go_on = asyncio.Event()

    async def request(number: int) -> None:
        async with found.turn(Flags("a", number == 0), "v"):
            await go_on.wait()
            order.append(number)

    running = [asyncio.create_task(request(number)) for number in range(WAITING_MAX)]
    await until_async(lambda: next(iter(found._open.values())).waiting == WAITING_MAX if found._open else False)
    with pytest.raises(ConflictError, match="requests of sequence `a` are waiting, at most 16"):
        await one(found, "a")
    go_on.set()
    await asyncio.gather(*running)
    assert order == list(range(WAITING_MAX))


async def test_a_failure_leaves_the_state_as_it_was() -> None:
    found = sequences(SimulatedClock())
    await one(found, 1, start=True)
    with pytest.raises(RuntimeError):
        async with found.turn(Flags(1), "v"):
            raise RuntimeError
    assert await one(found, 1) == ("v", 1)


# --- over HTTP ---


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_oip_site(folder)) as served,
    ):
        yield served


def tensor(name: str, values: list[float]) -> triton.InferInput:
    found = triton.InferInput(name, [1, 2], "FP32")
    found.set_data_from_numpy(np.float32([values]))
    return found


def test_a_sequence_is_as_state_fed_by_hand(served: Served) -> None:
    client = triton.InferenceServerClient(served.address)
    total = np.zeros((1, 2), np.float32)
    values = [[1, 2], [3, 4], [-10, 0.5], [7, 7]]
    for i, x in enumerate(values):
        inputs = [tensor("x", x), tensor("total", total[0].tolist())]
        by_hand = client.infer("sums", inputs)
        total = by_hand.as_numpy("next_total")
        ends = {"sequence_start": i == 0, "sequence_end": i == len(values) - 1}
        for key in (7, "seven"):
            kept = client.infer("sums", [tensor("x", x)], sequence_id=key, **ends)
            assert kept.as_numpy("y").tolist() == by_hand.as_numpy("y").tolist()
            only = client.infer("sums", [tensor("x", x)], sequence_id=99, sequence_start=True, sequence_end=True)
            assert only.as_numpy("next_total").tolist() == [x]
    with pytest.raises(InferenceServerException, match="sequence `7` is unknown"):
        client.infer("sums", [tensor("x", [1, 2])], sequence_id=7)
    client.close()


def test_what_a_sequence_cannot_have_is_told(served: Served) -> None:
    client = triton.InferenceServerClient(served.address)
    inputs = [tensor("x", [1, 2]), tensor("total", [0, 0])]
    with pytest.raises(InferenceServerException, match="input `total` is unknown, takes `x` FP32"):
        client.infer("sums", inputs, sequence_id=3, sequence_start=True)
    with pytest.raises(InferenceServerException, match="input `total` is missing"):
        client.infer("sums", inputs[:1])
    with pytest.raises(InferenceServerException, match="at most 128 characters"):
        client.infer("sums", inputs[:1], sequence_id="s" * 129, sequence_start=True)
    client.close()


def test_a_sequence_stays_with_its_version(served: Served) -> None:
    client = triton.InferenceServerClient(served.address)
    client.infer("sums", [tensor("x", [1, 2])], sequence_id=5, sequence_start=True)
    client.load_model(
        "sums",
        config="{}",
        files={"file:7/model.wasm": (served.node.data.parent / "sums.wasm").read_bytes() + b"\0\x05\x04more"},
    )
    result = client.infer("sums", [tensor("x", [1, 2])], sequence_id=5)
    assert (result.get_response()["model_version"], result.as_numpy("next_total").tolist()) == ("1", [[2, 4]])
    fresh = client.infer("sums", [tensor("x", [1, 2])], sequence_id=6, sequence_start=True, sequence_end=True)
    assert fresh.get_response()["model_version"] == "7"
    client.load_model("sums")
    client.close()
