"""Pipelines: what fits is decided at start-up; what runs is told; nothing is left behind by whoever leaves early."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest

import littoral
from littoral.errors import AgentError, DeadlineError, InputError, SettingError, UnavailableError
from littoral.runtime.admission import Admission
from littoral.runtime.agents import Agent
from littoral.runtime.edges import BYTES, HITS, EdgeType, TensorsType, Value
from littoral.runtime.guest_steps import AgentStep, ModelStep
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.host_steps import HostStep
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.pool import Pool
from littoral.runtime.step import How, Stage, Step
from littoral.tensors import TensorSpec, encode_frame
from littoral.testing import SimulatedClock
from modules_in_text import agent, model, port, variant
from waiting import until, until_async

FLAT = {"name": "pixels", "dtype": "float32", "shape": [4]}
IMAGE = {"name": "image", "dtype": "uint8", "shape": [224, 224, 3]}
CLOCK = SimulatedClock()


def pixels(*values: float) -> bytes:
    return encode_frame({"pixels": np.array(values, np.float32)})


class Search:
    """A step that another part brings."""

    name = "frames"
    takes: EdgeType = TensorsType((TensorSpec("y", "float32", (-1, 4)),))

    def __init__(self, clock: SimulatedClock = CLOCK) -> None:
        self.clock = clock

    def bind(self, given: EdgeType) -> Stage:
        if not isinstance(given, TensorsType):
            raise SettingError(f"takes {self.takes}")
        return self.Bound(HITS, self.clock)

    class Bound(NamedTuple):
        gives: EdgeType
        clock: SimulatedClock

        async def run(self, value: Value, how: How) -> Value:
            self.clock.advance(0.25)
            how.search = {"asked": 1, "answered": 1}
            assert isinstance(value, dict)
            return [{"id": 1, "score": float(array.sum())} for array in value.values()]


class Rig:
    """Guest threads and pools over an agent that decodes (here: gives back the frame it gets) and a model."""

    def __init__(self, threads: GuestThreads) -> None:
        self.threads = threads
        self.pools: list[Pool[Agent] | Pool[littoral.Session]] = []

    def agents(self, wasm: bytes = agent(output=[FLAT]), name: str = "decode", **options: int) -> Pool[Agent]:
        pool = Pool(Agent.open(wasm, name=name, deadline_ms=60_000), name=name, threads=self.threads, **options)
        self.pools.append(pool)
        return pool

    def models(self, wasm: bytes = model(), name: str = "embedder", **options: int) -> Pool[littoral.Session]:
        pool = Pool(littoral.load(wasm), name=name, threads=self.threads, **options)
        self.pools.append(pool)
        return pool

    def is_idle(self) -> bool:
        return all(pool.statistics().busy == 0 for pool in self.pools)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with GuestThreads(2) as threads:
        rig = Rig(threads)
        yield rig
        until(rig.is_idle)
        for pool in rig.pools:
            pool.close()


BATCHED = [port("x", "float32", [1, 4], 1024)], [port("y", "float32", [1, 4], 1088)]


async def test_an_agent_a_model_a_host_step_and_a_search_make_a_pipeline(rig: Rig) -> None:
    clock = SimulatedClock()
    steps: list[Step] = [
        AgentStep(rig.agents()),
        ModelStep(rig.models(model(variants=[variant("run", *BATCHED)])), take="y"),
        HostStep("normalize", threads=rig.threads),
        Search(clock),
    ]
    pipeline = Pipeline("similar", steps, node="store-12", clock=clock)
    assert (pipeline.takes, pipeline.gives) == (BYTES, HITS)
    answer = await pipeline.run(pixels(3, 0, 4, 0))
    assert answer.value == [{"id": 1, "score": pytest.approx(1.4)}]
    assert answer.how == How(
        node="store-12",
        stages={"decode": 0.0, "embedder": 0.0, "normalize": 0.0, "frames": 250.0},
        search={"asked": 1, "answered": 1},
    )


@pytest.mark.parametrize("has_model", [False, True])
async def test_the_last_answer_outlives_every_sandbox(rig: Rig, has_model: bool) -> None:
    steps: list[Step] = [AgentStep(rig.agents())]
    if has_model:
        steps.append(ModelStep(rig.models()))
    answer = await Pipeline("p", steps).run(pixels(1, 2, 3, 4))
    for pool in rig.pools:
        pool.close()
    assert isinstance(answer.value, dict)
    (array,) = answer.value.values()
    assert array.flags.owndata
    assert array.tolist() == ([2, 4, 6, 8] if has_model else [1, 2, 3, 4])


NCHW = [port("x", "float32", [1, 3, 4, 4], 1024)]
MISFITS: list[tuple[Callable[[Rig], list[Step]], str]] = [
    (
        lambda rig: [
            AgentStep(rig.agents(agent(output=[IMAGE]))),
            ModelStep(rig.models(model(variants=[variant("run", NCHW)]))),
        ],
        "step `decode` gives `image` uint8[224, 224, 3], step `embedder` takes `x` float32[1, 3, 4, 4]",
    ),
    (
        lambda rig: [AgentStep(rig.agents(agent(output="bytes"))), ModelStep(rig.models())],
        "step `decode` gives bytes, step `embedder` takes `x` float32[4]",
    ),
    (
        lambda rig: [ModelStep(rig.models()), AgentStep(rig.agents())],
        "step `embedder` gives `y` float32[4], step `decode` takes bytes",
    ),
    (
        lambda rig: [Search(), HostStep("normalize", threads=rig.threads)],
        "step `frames` gives hits, step `normalize` takes tensors of float32, float64, float16, not scalars",
    ),
    (
        lambda rig: [ModelStep(rig.models()), HostStep("top_k", k=5, threads=rig.threads)],
        "step `embedder` gives `y` float32[4], step `top_k` takes a last dimension of at least 5",
    ),
]


@pytest.mark.parametrize(("steps", "message"), MISFITS)
def test_steps_that_do_not_fit_are_refused_at_the_start_with_both_names(
    rig: Rig, steps: Callable[[Rig], list[Step]], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Pipeline("p", steps(rig))
    assert str(caught.value) == f"pipeline `p`: {message}"


def test_a_step_that_cannot_be_is_refused_by_name(rig: Rig) -> None:
    with pytest.raises(SettingError, match="pipeline `p` has no steps"):
        Pipeline("p", [])
    with pytest.raises(SettingError, match="step `embedder`: no output `z`, outputs: y"):
        ModelStep(rig.models(), take="z")
    with pytest.raises(SettingError, match="step `blur` is unknown, known: normalize, softmax, top_k, threshold, join"):
        HostStep("blur", threads=rig.threads)
    with pytest.raises(SettingError, match="step `top_k`: Expected `int` >= 1 - at `\\$.k`"):
        HostStep("top_k", k=0, threads=rig.threads)


async def test_a_leading_dimension_of_one_is_added_and_nothing_else(rig: Rig) -> None:
    batched = model(variants=[variant("run", *BATCHED)])
    answer = await Pipeline("p", [AgentStep(rig.agents()), ModelStep(rig.models(batched))]).run(pixels(1, 2, 3, 4))
    assert isinstance(answer.value, dict)
    assert answer.value["y"].tolist() == [[2, 4, 6, 8]]
    unbatched = agent(output=[{**FLAT, "shape": [1, 4]}])
    with pytest.raises(SettingError, match=r"gives `pixels` float32\[1, 4\], step `embedder` takes `x` float32\[4\]"):
        Pipeline("p", [AgentStep(rig.agents(unbatched)), ModelStep(rig.models())])


async def test_sizes_that_only_the_data_know_are_checked_when_they_come(rig: Rig) -> None:
    any_size = agent(output=[{**FLAT, "shape": [-1]}])
    pipeline = Pipeline("p", [AgentStep(rig.agents(any_size)), ModelStep(rig.models())])
    answer = await pipeline.run(pixels(1, 2, 3, 4))
    assert isinstance(answer.value, dict)
    assert answer.value["y"].tolist() == [2, 4, 6, 8]
    with pytest.raises(InputError, match=r"model `m`: input `x`: shape \[3\], expected \[4\]"):
        await pipeline.run(pixels(1, 2, 3))
    await until_async(rig.is_idle)


async def test_several_tensors_match_by_name(rig: Rig) -> None:
    ports = [port("b", "int8", [2], 1024), port("a", "int8", [2], 1088)]
    two = model("", variants=[variant("run", ports, [port("y", "int8", [2], 1088)])])
    given = [{"name": name, "dtype": "int8", "shape": [2]} for name in "ab"]
    pipeline = Pipeline("p", [AgentStep(rig.agents(agent(output=given))), ModelStep(rig.models(two))])
    answer = await pipeline.run(encode_frame({name: np.array([i, i], np.int8) for i, name in enumerate("ab")}))
    assert isinstance(answer.value, dict)
    assert answer.value["y"].tolist() == [0, 0]
    other = agent(output=[given[0], {**given[1], "name": "c"}])
    with pytest.raises(SettingError, match=r"gives `a` int8\[2\], `c` int8\[2\], step `embedder` takes `b` int8\[2\]"):
        Pipeline("p", [AgentStep(rig.agents(other)), ModelStep(rig.models(two))])


async def test_a_variant_fits_exactly_or_not_at_all(rig: Rig) -> None:
    two = variant("run2", [port("x", "float32", [2, 2], 1024)], [port("y", "float32", [2, 2], 1088)], batch=2)
    one = variant("run", [port("x", "float32", [1, 2], 1024)], [port("y", "float32", [1, 2], 1088)])
    models = rig.models(model(extra='(func (export "run2"))', variants=[one, two]))
    pipeline = Pipeline("p", [AgentStep(rig.agents(agent(output=[{**FLAT, "shape": [2]}]))), ModelStep(models)])
    assert str(pipeline.gives) == "`y` float32[1, 2]"
    with pytest.raises(SettingError, match="in none of these sizes together"):
        Pipeline("p", [AgentStep(rig.agents(agent(output=[{**FLAT, "shape": [3, 2]}]))), ModelStep(models)])


async def test_a_variant_may_be_padded_and_split_if_the_manifest_says_so(rig: Rig) -> None:
    """The model's body adds x to itself for two rows at a time."""
    two = variant("run", [port("x", "float32", [2, 2], 1024)], [port("y", "float32", [2, 2], 1088)], batch=2)
    for split, rows in ((True, 3), (False, 1)):
        axis = {"inputs": {"x": 0}, "outputs": {"y": 0}, "pad": "repeat", "split": split}
        models = rig.models(model(variants=[two], axes={"batch": axis}))
        given = agent(output=[{**FLAT, "name": "x", "shape": [rows, 2]}])
        pipeline = Pipeline("p", [AgentStep(rig.agents(given)), ModelStep(models)])
        assert str(pipeline.gives) == "`y` float32[?, 2]"
        x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        answer = await pipeline.run(encode_frame({"x": x}))
        assert isinstance(answer.value, dict)
        assert np.array_equal(answer.value["y"], x + x)
    with pytest.raises(SettingError, match="in none of these sizes together"):
        Pipeline("p", [AgentStep(rig.agents(agent(output=[{**FLAT, "shape": [3, 2]}]))), ModelStep(models)])


async def test_tensors_go_from_model_to_agent_as_a_frame(rig: Rig) -> None:
    takes = [{"name": "y", "dtype": "float32", "shape": [4]}]
    steps = [ModelStep(rig.models()), AgentStep(rig.agents(agent(input=takes, output=takes)))]
    answer = await Pipeline("p", steps).run({"x": np.arange(4, dtype=np.float32)})
    assert isinstance(answer.value, dict)
    assert answer.value["y"].tolist() == [0, 2, 4, 6]


async def test_a_step_that_comes_twice_is_told_twice(rig: Rig) -> None:
    steps = [HostStep("softmax", threads=rig.threads), HostStep("softmax", threads=rig.threads)]
    answer = await Pipeline("p", steps).run({"values": np.zeros(2, np.float32)})
    assert list(answer.how.stages) == ["softmax", "softmax 2"]


@pytest.mark.parametrize("value", [b"bytes", None, [1.0], "text"])
async def test_a_value_of_the_wrong_kind_is_the_callers_fault(rig: Rig, value: object) -> None:
    with pytest.raises(InputError, match="takes tensors by name, got"):
        await Pipeline("p", [ModelStep(rig.models())]).run(value)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tensor `x` is missing"):
        await Pipeline("p", [ModelStep(rig.models())]).run({"y": np.zeros(4, np.float32)})
    if value != b"bytes":
        with pytest.raises(InputError, match="agent `decode`: takes bytes, got"):
            await Pipeline("p", [AgentStep(rig.agents())]).run(value)  # type: ignore[arg-type]


async def test_a_failing_agent_leaves_nothing_behind(rig: Rig) -> None:
    refuses = agent("(i64.const -3)", output=[FLAT])
    pipeline = Pipeline("p", [AgentStep(rig.agents(refuses)), ModelStep(rig.models())])
    for _ in range(3):
        with pytest.raises(AgentError, match="agent `decode`: not my type"):
            await pipeline.run(pixels(1, 2, 3, 4))
    await until_async(rig.is_idle)


async def test_a_failing_model_leaves_nothing_behind(rig: Rig) -> None:
    agents = rig.agents()
    pipeline = Pipeline("p", [AgentStep(agents), ModelStep(rig.models(model("(unreachable)")))])
    for _ in range(3):
        with pytest.raises(littoral.errors.TrapError):
            await pipeline.run(pixels(1, 2, 3, 4))
    await until_async(rig.is_idle)
    assert await agents.run(lambda guest: guest.statistics().failures) == 0


async def test_stages_of_different_requests_overlap(rig: Rig) -> None:
    """The agent is free again as soon as the model has the tensors: it decodes the next request meanwhile."""
    agents, models = rig.agents(), rig.models()
    pipeline = Pipeline("p", [AgentStep(agents), ModelStep(models)])
    blocked, go = threading.Event(), threading.Event()

    def block(_: littoral.Session) -> None:
        blocked.set()
        assert go.wait(60)

    model_is_busy = asyncio.ensure_future(models.run(block))
    assert await asyncio.to_thread(blocked.wait, 60)
    requests = [asyncio.ensure_future(pipeline.run(pixels(i, 0, 0, 0))) for i in range(3)]
    await until_async(lambda: models.statistics().waiting == 1 and agents.statistics().runs == 1)
    go.set()
    answers = await asyncio.gather(*requests)
    assert [answer.value["y"][0] for answer in answers if isinstance(answer.value, dict)] == [0, 2, 4]
    await model_is_busy


async def test_a_request_that_gives_up_while_it_waits_for_the_model_frees_the_agent(rig: Rig) -> None:
    agents, models = rig.agents(), rig.models()
    pipeline = Pipeline("p", [AgentStep(agents), ModelStep(models)])
    lease = await models.lease()
    with pytest.raises(DeadlineError, match="pipeline `p`: no answer in 1000 ms, at step `embedder`"):
        await pipeline.run(pixels(1, 2, 3, 4), deadline_ms=1000)
    await until_async(lambda: agents.statistics().busy == 0)
    lease.release()
    answer = await pipeline.run(pixels(1, 2, 3, 4))
    assert isinstance(answer.value, dict)
    assert answer.value["y"].tolist() == [2, 4, 6, 8]


async def test_requests_cancelled_at_random_moments_leave_nothing_behind(rig: Rig) -> None:
    many = {"instances_max": 2, "waiting_max": 1000}
    steps = [AgentStep(rig.agents(**many)), ModelStep(rig.models(**many))]
    pipeline = Pipeline("p", steps, admission=Admission("p", limit_min=1000, limit_max=1000))
    requests = []
    for i in range(200):
        requests.append(asyncio.ensure_future(pipeline.run(pixels(i, 0, 0, 0))))
        if i % 2:
            await asyncio.sleep(0)
            requests[i // 2].cancel()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    for i, answer in enumerate(answers):
        assert isinstance(answer, asyncio.CancelledError) or answer.value["y"][0] == 2 * i
    await until_async(rig.is_idle)
    assert isinstance((await pipeline.run(pixels(1, 2, 3, 4))).value, dict)


async def test_an_agent_that_dies_while_its_answer_is_lent_costs_nothing_but_itself(rig: Rig) -> None:
    armed = "(if (global.get $armed) (then (unreachable))) (global.set $top (i32.const 4096))"
    echo = """(global.set $armed (i32.const 1))
      (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size)))"""
    dies = agent(echo, reset=armed, extra="(global $armed (mut i32) (i32.const 0))", output=[FLAT])
    agents = rig.agents(dies)
    pipeline = Pipeline("p", [AgentStep(agents), ModelStep(rig.models())])
    for _ in range(3):
        answer = await pipeline.run(pixels(1, 2, 3, 4))
        assert isinstance(answer.value, dict)
        assert answer.value["y"].tolist() == [2, 4, 6, 8]
    await until_async(lambda: agents.first.statistics().failures == 3)


async def test_large_arrays_do_not_hold_up_the_event_loop(rig: Rig) -> None:
    step = HostStep("softmax", threads=rig.threads)
    finished = rig.threads.statistics().finished
    await Pipeline("p", [step]).run({"values": np.zeros((300, 300), np.float32)})
    await until_async(lambda: rig.threads.statistics().finished == finished + 1)
    await Pipeline("p", [step]).run({"values": np.zeros(300, np.float32)})
    assert rig.threads.statistics().finished == finished + 1


@pytest.mark.parametrize("ends", ["copied", "abandoned"])
async def test_threads_that_close_end_a_loan_that_is_still_to_be_given_back(ends: str) -> None:
    """The agent is closed with its pool, which waits for its turn."""
    entered, goes_on = threading.Event(), threading.Event()

    def occupied() -> None:
        entered.set()
        goes_on.wait(60)

    threads = GuestThreads(1)
    pool = Pool(Agent.open(agent(output=[FLAT])), name="decode", threads=threads)
    step = AgentStep(pool)
    loan = await step.bind(step.takes).lend(pixels(1, 2, 3, 4))
    running = threads.submit(occupied)
    await until_async(entered.is_set)
    copying = None
    if ends == "copied":
        copying = asyncio.create_task(loan.copied())
    else:
        loan.abandon()
    await until_async(lambda: threads.statistics().queued == 1)
    pool.close()
    closing = threading.Thread(target=threads.close, daemon=True)
    closing.start()
    goes_on.set()
    closing.join(60)
    assert not closing.is_alive()
    running.result(60)
    with pytest.raises(UnavailableError, match="the agent is closed"):
        pool.first.infer(b"")
    if copying is not None:
        with pytest.raises(UnavailableError, match="guest threads are closed"):
            await copying
