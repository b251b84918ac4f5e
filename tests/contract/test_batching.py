"""Micro-batching: the bits of single runs, no wait for who is alone, no one spoilt by another, deadlines kept."""

import asyncio
import gc
import threading
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import littoral
from littoral.clock import SYSTEM
from littoral.errors import InputError, TrapError, UnavailableError
from littoral.runtime.agents import Agent
from littoral.runtime.batch_costs import BatchCosts, measured
from littoral.runtime.batching import Batcher
from littoral.runtime.call import Call, calling
from littoral.runtime.fitting import Fitting
from littoral.runtime.guest_steps import AgentStep, ModelStep
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.pool import Pool
from littoral.tensors import Array, encode_frame
from modules_in_text import agent, model, port, variant
from waiting import until_async

SIZES = (1, 2, 4, 8)


def layers(*widths: int) -> bytes:
    """Products and activations, of [batch, widths[0]]."""
    rng = np.random.default_rng(7)
    nodes, weights, at = [], [], "x"
    for i, (depth, width) in enumerate(pairwise(widths)):
        weights.append(numpy_helper.from_array(rng.standard_normal((depth, width)).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Tanh", [f"m{i}"], [f"t{i}"]))
        at = f"t{i}"
    shape = ["batch", widths[0]]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(at)],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.fixture(scope="module")
def network() -> littoral.Model:
    return littoral.compile(layers(24, 40, 5), variants=[{"x": (size, 24)} for size in SIZES])


@pytest.fixture
def threads() -> Iterator[GuestThreads]:
    with GuestThreads(2) as found:
        yield found


@pytest.fixture
def pool(network: littoral.Model, threads: GuestThreads) -> Iterator[Pool[Session]]:
    with Pool(littoral.load(network), name="m", threads=threads) as found:
        yield found
        assert found.statistics().busy == 0


def costs_of(session: Session, **by_size: float) -> BatchCosts:
    """Seconds of each size of a model whose one input is `x`; `s1=…`."""
    shapes = {v.key["batch"]: (v.inputs[0].shape,) for v in session.manifest.variants}
    return BatchCosts({shapes[int(size[1:])]: seconds for size, seconds in by_size.items()})


def batcher(pool: Pool[Session], *, window_ms: float = 0, batch_max: int = 8, **by_size: float) -> Batcher:
    """By default one for which larger batches pay."""
    costs = costs_of(pool.first, **(by_size or {"s1": 1e-3, "s2": 1.2e-3, "s4": 1.6e-3, "s8": 2.4e-3}))
    return Batcher(pool, costs, batch_max=batch_max, window_ms=window_ms)


def rows(count: int, width: int = 24) -> list[dict[str, Array]]:
    rng = np.random.default_rng(count)
    return [{"x": rng.standard_normal((1, width)).astype(np.float32)} for _ in range(count)]


class Held:
    """Keeps the pool's one instance busy."""

    def __init__(self, through: Pool[Session] | Batcher) -> None:
        self._run: Any = through.run_alone if isinstance(through, Batcher) else through.run
        self._begun, self._go = threading.Event(), threading.Event()

    async def __aenter__(self) -> "Held":
        self._running = asyncio.ensure_future(self._run(self._hold))
        assert await asyncio.to_thread(self._begun.wait, 60)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        await self._running

    def _hold(self, _: Session) -> None:
        self._begun.set()
        assert self._go.wait(60)


async def test_requests_that_meet_are_computed_together_with_the_same_bits(pool: Pool[Session]) -> None:
    requests = rows(40)
    singles = [await pool.run(lambda session, feeds=feeds: session.run(feeds)) for feeds in requests]
    found = batcher(pool)
    answers = await asyncio.gather(*(found.run(feeds) for feeds in requests))
    for single, answer in zip(singles, answers, strict=True):
        assert single.keys() == answer.keys()
        assert all(single[name].tobytes() == array.tobytes() for name, array in answer.items())
    counts = found.statistics()
    assert (counts.waiting, counts.largest) == (0, 8)
    assert counts.batches < 12


async def test_requests_of_several_items_share_a_run_too(pool: Pool[Session]) -> None:
    rng = np.random.default_rng(3)
    requests = [{"x": rng.standard_normal((items, 24)).astype(np.float32)} for items in (1, 3, 2, 8, 9, 2, 1, 1)]
    answers = await asyncio.gather(*(batcher(pool).run(feeds) for feeds in requests))
    for feeds, answer in zip(requests, answers, strict=True):
        single = pool.first.run(feeds)
        assert all(np.array_equal(single[name], array) for name, array in answer.items())


async def test_who_is_alone_never_waits(pool: Pool[Session]) -> None:
    """The window is a minute; twenty requests one after the other take far less."""
    found = batcher(pool, window_ms=60_000)
    began = SYSTEM.monotonic()
    for feeds in rows(20):
        await found.run(feeds)
    assert SYSTEM.monotonic() - began < 30
    assert found.statistics().batches == 0


async def test_within_the_window_others_are_waited_for(pool: Pool[Session]) -> None:
    """Two wait while the instance is busy, the others come when it is free again."""
    found = batcher(pool, window_ms=60_000)
    requests = rows(8)
    async with Held(pool):
        first = asyncio.ensure_future(found.run(requests[0]))
        await until_async(lambda: pool.statistics().waiting == 1)
        tasks = [asyncio.ensure_future(found.run(feeds)) for feeds in requests[1:4]]
        await until_async(lambda: found.statistics().waiting == 3)
    await first
    tasks += [asyncio.ensure_future(found.run(feeds)) for feeds in requests[4:]]
    began = SYSTEM.monotonic()
    await asyncio.gather(*tasks)
    assert SYSTEM.monotonic() - began < 30


async def test_a_deadline_ends_the_wait(pool: Pool[Session]) -> None:
    found = batcher(pool, window_ms=60_000, s1=1e-4, s8=2e-4)
    async with Held(pool):
        first = asyncio.ensure_future(found.run(rows(1)[0]))
        await until_async(lambda: pool.statistics().waiting == 1)
        with calling(Call(SYSTEM.monotonic() + 3)):
            late = asyncio.ensure_future(found.run(rows(2)[1]))
        await asyncio.sleep(0)
    began = SYSTEM.monotonic()
    await asyncio.gather(first, late)
    assert SYSTEM.monotonic() - began < 30


async def test_where_batches_do_not_pay_nobody_is_held_up_for_one(pool: Pool[Session]) -> None:
    found = batcher(pool, window_ms=10_000, s1=1e-3, s2=2.1e-3, s4=4.4e-3, s8=9e-3)
    await asyncio.gather(*(found.run(feeds) for feeds in rows(20)))
    assert found.statistics().batches == 0, "they went to the pool at once"
    for _ in range(25):
        await asyncio.gather(*(found.run(feeds) for feeds in rows(20)))
    counts = found.statistics()
    assert 1 <= counts.batches <= 16, "a few met, to learn"
    assert counts.requests <= 8


MAY_TRAP = "(if (f32.lt (f32.load (i32.const {})) (f32.const 0)) (then (unreachable)))"


def trapping() -> bytes:
    """y = x for [1, 4] and [2, 4]; a row that begins below 0 is a trap."""
    copy = "(memory.copy (i32.const 1280) (i32.const 1024) (i32.const {}))"
    ports = {n: ([port("x", "float32", [n, 4], 1024)], [port("y", "float32", [n, 4], 1280)]) for n in (1, 2)}
    return model(
        MAY_TRAP.format(1024) + copy.format(16),
        extra=f'(func (export "run2") {MAY_TRAP.format(1024)} {MAY_TRAP.format(1040)} {copy.format(32)})',
        variants=[variant("run", *ports[1], batch=1), variant("run2", *ports[2], batch=2)],
        axes={"batch": {"inputs": {"x": 0}, "outputs": {"y": 0}, "pad": "repeat", "split": True}},
    )


async def test_who_fails_spoils_it_for_nobody_else(threads: GuestThreads) -> None:
    with Pool(littoral.load(trapping()), name="m", threads=threads) as pool:
        found = batcher(pool, batch_max=2, s1=1e-3, s2=1e-3)
        requests = [{"x": np.full((1, 4), value, np.float32)} for value in (1, 2, -3, 4, 5)]
        answers = await asyncio.gather(*(found.run(feeds) for feeds in requests), return_exceptions=True)
    assert isinstance(answers[2], TrapError)
    for feeds, answer in zip(requests, answers, strict=True):
        if not isinstance(answer, TrapError):
            assert isinstance(answer, dict)
            assert answer["y"].tolist() == feeds["x"].tolist()
    assert found.statistics().largest == 2


async def test_a_wrong_request_is_told_as_ever(pool: Pool[Session]) -> None:
    found = batcher(pool)
    with pytest.raises(InputError, match=r"input `x`: shape \[1, 23\]"):
        await found.run({"x": np.zeros((1, 23), np.float32)})
    with pytest.raises(InputError, match="no input is called `z`|input `x` is missing"):
        await found.run({"z": np.zeros((1, 24), np.float32)})
    with pytest.raises(InputError, match="cannot be computed together"):
        pool.first.run_together([{"x": np.zeros((1, 23), np.float32)}])
    with pytest.raises(InputError, match="9 items, at most 8"):
        pool.first.run_together(rows(9))


async def test_too_many_are_refused_and_the_gone_make_room(pool: Pool[Session]) -> None:
    found = Batcher(pool, costs_of(pool.first, s1=1e-3, s8=2e-3), batch_max=8, window_ms=0, waiting_max=2)
    async with Held(pool):
        tasks = [asyncio.ensure_future(found.run(feeds)) for feeds in rows(3)]
        await until_async(lambda: found.statistics().waiting == 2)
        with pytest.raises(UnavailableError, match="model `m`: 2 requests wait to be computed"):
            await found.run(rows(1)[0])
        tasks[2].cancel()
        await until_async(lambda: found.statistics().waiting == 1)
        with calling(Call(SYSTEM.monotonic() - 1)), pytest.raises(UnavailableError):
            await found.run(rows(1)[0])
    assert len(await asyncio.gather(*tasks[:2])) == 2
    assert (found.statistics().refused, found.statistics().waiting) == (2, 0)


async def test_requests_cancelled_at_random_moments_leave_nothing_behind(pool: Pool[Session]) -> None:
    found = Batcher(pool, costs_of(pool.first, s1=1e-3, s4=2e-3), batch_max=4, window_ms=1, waiting_max=1000)
    requests = rows(200)
    tasks = []
    for i, feeds in enumerate(requests):
        tasks.append(asyncio.ensure_future(found.run(feeds)))
        if i % 2:
            await asyncio.sleep(0)
            tasks[i // 2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for feeds, answer in zip(requests, answers, strict=True):
        if not isinstance(answer, asyncio.CancelledError):
            assert isinstance(answer, Mapping)
            assert all(np.array_equal(pool.first.run(feeds)[name], array) for name, array in answer.items())
    await until_async(lambda: pool.statistics().busy == 0)
    assert found.statistics().waiting == 0


async def test_a_closed_pool_ends_who_waits(network: littoral.Model, threads: GuestThreads) -> None:
    pool = Pool(littoral.load(network), name="m", threads=threads)
    found = batcher(pool)
    async with Held(pool):
        tasks = [asyncio.ensure_future(found.run(feeds)) for feeds in rows(3)]
        await asyncio.sleep(0)
        pool.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnavailableError] * 3


async def test_a_pool_that_is_no_more_takes_its_batcher_along(network: littoral.Model, threads: GuestThreads) -> None:
    """As after a swap of the model's version."""
    batchers: WeakKeyDictionary[Pool[Session], Batcher] = WeakKeyDictionary()

    async def use() -> None:
        with Pool(littoral.load(network), name="m", threads=threads) as pool:
            batchers[pool] = batcher(pool)
            await asyncio.gather(*(batchers[pool].run(feeds) for feeds in rows(20)))

    def is_gone() -> bool:
        gc.collect()
        return len(batchers) == 0

    await use()
    await until_async(is_gone)


async def test_an_agent_goes_on_while_its_answer_waits_for_others(pool: Pool[Session], threads: GuestThreads) -> None:
    takes = [{"name": "x", "dtype": "float32", "shape": [1, 24]}]
    decode = Agent.open(agent(output=takes), name="decode")
    requests = rows(5)
    with Pool(decode, name="decode", threads=threads) as agents:
        found = batcher(pool)
        pipeline = Pipeline("p", [AgentStep(agents), ModelStep(pool, batcher=found)])
        async with Held(found):
            tasks = [asyncio.ensure_future(pipeline.run(encode_frame(feeds))) for feeds in requests]
            await until_async(lambda: found.statistics().waiting == 5)
            assert agents.statistics().runs == 5
        answers = await asyncio.gather(*tasks)
        await until_async(lambda: agents.statistics().busy == 0)
    for feeds, answer in zip(requests, answers, strict=True):
        assert isinstance(answer.value, Mapping)
        assert all(np.array_equal(pool.first.run(feeds)[name], array) for name, array in answer.value.items())


def test_what_is_measured_is_what_may_be_used(network: littoral.Model) -> None:
    said: list[str] = []
    with littoral.load(network) as session:
        place = session.fitting.place(((1, 24),))
        assert place is not None
        costs = measured(session, batch_max=4, say=said.append)
        assert (costs.usable(place), said) == ([1, 2, 4], [])
        assert 0 < costs.of(place, 1) < 1


def test_a_size_that_gives_other_bits_is_not_used() -> None:
    """For two rows the module of this test says y = x + x, for one y = x."""
    ports = {n: ([port("x", "float32", [n, 4], 1024)], [port("y", "float32", [n, 4], 1280)]) for n in (1, 2)}
    twice = "(f32x4.add (v128.load (i32.const {0})) (v128.load (i32.const {0})))"
    both = "".join(f"(v128.store (i32.const {1280 + at}) {twice.format(1024 + at)})" for at in (0, 16))
    wasm = model(
        "(memory.copy (i32.const 1280) (i32.const 1024) (i32.const 16))",
        extra=f'(func (export "run2") {both})',
        variants=[variant("run", *ports[1], batch=1), variant("run2", *ports[2], batch=2)],
        axes={"batch": {"inputs": {"x": 0}, "outputs": {"y": 0}, "pad": "repeat", "split": True}},
    )
    said: list[str] = []
    with littoral.load(wasm) as session:
        costs = measured(session, batch_max=8, say=said.append)
        place = session.fitting.place(((1, 4),))
        assert place is not None
        assert costs.usable(place) == [1]
    assert said == ["batches of 2 are not used: they give other bits than single runs"]


def test_lengths_that_share_a_variant_share_a_run() -> None:
    """Texts of different lengths: each is padded to the variant's, and its own part comes back."""
    rng = np.random.default_rng(1)
    weights = numpy_helper.from_array(rng.standard_normal((3, 5)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])]
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", 3])
    made = helper.make_graph(nodes, "g", [info], [helper.make_empty_tensor_value_info("y")], [weights])
    graph = bytes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    shapes = [{"x": (batch, tokens, 3)} for batch in (1, 4) for tokens in (4, 8)]
    compiled = littoral.compile(graph, variants=shapes, axes={"tokens": {"pad": {"x": 0}, "trim": {"y": 1}}})
    with littoral.load(compiled) as session:
        requests = [{"x": rng.standard_normal((1, tokens, 3)).astype(np.float32)} for tokens in (5, 8, 7)]
        together = session.run_together(requests)
        for feeds, outputs in zip(requests, together, strict=True):
            assert outputs["y"].shape == (1, feeds["x"].shape[1], 5)
            assert np.array_equal(session.run(feeds)["y"], outputs["y"])
        with pytest.raises(InputError, match="cannot be computed together"):
            session.run_together([*requests, {"x": np.zeros((1, 3, 3), np.float32)}])


def test_a_model_without_the_proof_shares_no_run(network: littoral.Model) -> None:
    exact = littoral.compile(layers(4, 4), variants=[{"x": (1, 4)}, {"x": (2, 4)}], axes={"batch": {}})
    assert not Fitting(exact.manifest).may_share
    assert Fitting(exact.manifest).place(((1, 4),)) is None
    assert Fitting(network.manifest).may_share
