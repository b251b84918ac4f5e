"""Pipelines with branches, joins and steps for each item: wired by name, checked at start, run side by side."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pytest

import littoral
from littoral.errors import DeadlineError, InputError, SettingError
from littoral.runtime.agents import Agent
from littoral.runtime.edges import BYTES, HITS, EdgeType, TensorsType, Value
from littoral.runtime.for_each import ForEachStep
from littoral.runtime.guest_steps import AgentStep, ModelStep
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.host_steps import HostStep
from littoral.runtime.pipeline import Pipeline, Placed
from littoral.runtime.pool import Pool
from littoral.runtime.step import How, Stage
from littoral.tensors import Array, TensorSpec, encode_frame
from modules_in_text import agent, model, port, variant
from waiting import until_async

FLAT = {"name": "pixels", "dtype": "float32", "shape": [4]}
ROW = [3.0, 0.0, 4.0, 0.0]


class Plain:
    """A step of the test: does `work` in the event loop, or waits for what `work` gives to be awaited."""

    def __init__(self, name: str, takes: EdgeType, gives: EdgeType, work: Callable[[Value], Value]) -> None:
        self.name = name
        self.takes = takes
        self._stage = self.Bound(gives, work)

    def bind(self, given: EdgeType) -> Stage:
        if given != self.takes:
            raise SettingError(f"takes {self.takes}")
        return self._stage

    class Bound(NamedTuple):
        gives: EdgeType
        work: Callable[[Value], Value]

        async def run(self, value: Value, _how: How) -> Value:
            result = self.work(value)
            return await result if asyncio.iscoroutine(result) else result


def of(name: str, *shape: int) -> TensorsType:
    return TensorsType((TensorSpec(name, "float32", shape),))


def given(value: Value) -> Mapping[str, Array]:
    assert isinstance(value, Mapping)
    return value


@pytest.fixture
def threads() -> Iterator[GuestThreads]:
    with GuestThreads(2) as found:
        yield found


@pytest.fixture
def pools(threads: GuestThreads) -> Iterator[dict[str, Pool[Agent] | Pool[littoral.Session]]]:
    """`decode` gives back the frame it gets; `double` gives y = x + x."""
    decode = Pool(Agent.open(agent(output=[FLAT]), name="decode"), name="decode", threads=threads, instances_max=2)
    double = Pool(littoral.load(model()), name="double", threads=threads, instances_max=2)
    with decode, double:
        yield {"decode": decode, "double": double}
        assert decode.statistics().busy == double.statistics().busy == 0


def test_a_branch_and_a_join_are_told_by_name(pools: dict[str, Pool], threads: GuestThreads) -> None:
    pipeline = Pipeline(
        "p",
        [
            AgentStep(pools["decode"]),
            Placed(ModelStep(pools["double"]), "twice"),
            Placed(HostStep("normalize", threads=threads), "unit", "decode"),
            Placed(HostStep("join", threads=threads), None, {"a": "twice", "b": "unit.pixels", "c": "decode"}),
        ],
        node="n",
    )
    assert [(edge.name, edge.sources) for edge in pipeline.edges] == [
        ("decode", ("input",)),
        ("twice", ("decode",)),
        ("unit", ("decode",)),
        ("join", ("twice", "unit", "decode")),
    ]
    assert str(pipeline.gives) == "`a` float32[4], `b` float32[4], `c` float32[4]"
    answer = asyncio.run(pipeline.run(encode_frame({"pixels": np.array(ROW, np.float32)})))
    found = {name: array.tolist() for name, array in given(answer.value).items()}
    assert found == {"a": [6, 0, 8, 0], "b": [pytest.approx(0.6), 0, pytest.approx(0.8), 0], "c": ROW}
    assert list(answer.how.stages) == ["decode", "twice", "unit", "join"]


async def test_branches_that_do_not_need_each_other_run_at_the_same_time() -> None:
    """Each waits until the other has begun."""
    begun = {"a": asyncio.Event(), "b": asyncio.Event()}

    def meets(own: str, other: str) -> Callable[[Value], Value]:
        async def work(value: Value) -> Value:
            begun[own].set()
            await asyncio.wait_for(begun[other].wait(), 60)
            return {own: given(value)["x"]}

        return work  # type: ignore[return-value]

    steps = [
        Plain("a", of("x", 1), of("a", 1), meets("a", "b")),
        Placed(Plain("b", of("x", 1), of("b", 1), meets("b", "a")), source="input"),
        Placed(
            Plain("c", TensorsType((*of("a", 1).ports, *of("b", 1).ports)), of("c", 1), lambda v: v), None, ["a", "b"]
        ),
    ]
    answer = await Pipeline("p", steps).run({"x": np.ones(1, np.float32)})
    assert given(answer.value).keys() == {"a", "b"}


async def test_a_failing_branch_ends_the_others_and_is_the_error() -> None:
    ended = asyncio.Event()

    async def waits(_: Value) -> Value:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return {}

    async def fails(_: Value) -> Value:
        raise InputError("no")

    steps = [
        Plain("a", of("x", 1), of("a", 1), waits),  # type: ignore[arg-type]
        Placed(Plain("b", of("x", 1), of("b", 1), fails), source="input"),  # type: ignore[arg-type]
        Placed(Plain("c", TensorsType((*of("a", 1).ports, *of("b", 1).ports)), of("c", 1), dict), None, ["a", "b"]),
    ]
    pipeline = Pipeline("p", steps)
    with pytest.raises(InputError, match="no"):
        await pipeline.run({"x": np.ones(1, np.float32)})
    assert ended.is_set()
    ended.clear()
    steps[1] = Placed(Plain("b", of("x", 1), of("b", 1), lambda v: v), source="input")
    with pytest.raises(DeadlineError, match="no answer in 20 ms, at step `a`"):
        await Pipeline("p", steps).run({"x": np.ones(1, np.float32)}, deadline_ms=20)
    assert ended.is_set()


async def test_an_agent_lends_to_a_model_within_a_branch(pools: dict[str, Pool], threads: GuestThreads) -> None:
    """The model reads from the agent's memory; the agent is free while the model still works."""
    blocked, go = threading.Event(), threading.Event()
    double = pools["double"]

    def block(_: littoral.Session) -> None:
        blocked.set()
        assert go.wait(60)

    busy = [asyncio.ensure_future(double.run(block))]
    assert await asyncio.to_thread(blocked.wait, 60)
    pipeline = Pipeline(
        "p",
        [
            AgentStep(pools["decode"]),
            ModelStep(double),
            Placed(AgentStep(pools["decode"]), "again", "input"),
            Placed(HostStep("join", threads=threads), None, ["double", "again"]),
        ],
    )
    request = asyncio.ensure_future(pipeline.run(encode_frame({"pixels": np.array(ROW, np.float32)})))
    await until_async(lambda: pools["decode"].statistics().runs == 2 and pools["decode"].statistics().busy == 0)
    go.set()
    answer = await request
    assert given(answer.value)["y"].tolist() == [6, 0, 8, 0]
    assert given(answer.value)["pixels"].tolist() == ROW
    await asyncio.gather(*busy)


def join(source: object) -> Callable[[GuestThreads], list[object]]:
    return lambda threads: [
        Plain("a", BYTES, of("x", 1), dict),
        Placed(Plain("b", BYTES, of("x", 2), dict), source="input"),
        Placed(HostStep("join", threads=threads), "c", source),  # type: ignore[arg-type]
    ]


MISWIRED: dict[str, tuple[Callable[[GuestThreads], list[object]], str]] = {
    "a step that comes later": (
        lambda _: [Placed(Plain("a", of("x", 1), of("x", 1), dict), source="b"), Plain("b", BYTES, BYTES, dict)],
        "step `a` takes from `b`, and no step before it is called so · hint: before it stand: input",
    ),
    "a step that is misspelt": (
        join(["aa", "b"]),
        "step `c` takes from `aa`, and no step .* · hint: did you mean `a`?",
    ),
    "a tensor that is not there": (join({"u": "a.y", "v": "b"}), "step `c`: step `a` gives `x` float32[1], no `y`"),
    "tensors of one name": (join(["a", "b"]), "step `c`: two tensors called `x` come together · hint: take them under"),
    "a tensor of bytes": (
        join({"u": "input", "v": "b", "w": "a"}),
        "step `c`: its input gives bytes, of which no single tensors",
    ),
    "a step that nobody takes from": (join("b"), "step `a` gives to nobody, and it is not the last"),
    "a name that is taken": (
        lambda _: [Plain("a", BYTES, BYTES, dict), Placed(Plain("b", BYTES, BYTES, dict), "a")],
        "name `a` is taken",
    ),
    "inputs that differ": (
        lambda threads: [
            Plain("a", BYTES, of("x", 1), dict),
            Placed(Plain("b", of("u", 1), of("y", 2), dict), source="input"),
            Placed(HostStep("join", threads=threads), "c", ["a", "b"]),
        ],
        "of its input step `a` takes bytes, step `b` takes `u` float32[1]",
    ),
    "edges of a join that do not fit": (
        lambda _: [
            Plain("a", BYTES, of("x", 1), dict),
            Placed(Plain("b", BYTES, of("y", 2), dict), source="input"),
            Placed(Plain("c", of("x", 1), BYTES, dict), None, ["a", "b"]),
        ],
        "step `a` gives `x` float32[1], step `b` gives `y` float32[2], step `c` takes `x` float32[1]",
    ),
}


@pytest.mark.parametrize("what", MISWIRED)
def test_what_is_wired_wrong_is_refused_at_the_start(what: str, threads: GuestThreads) -> None:
    steps, message = MISWIRED[what]
    with pytest.raises(SettingError) as caught:
        Pipeline("p", steps(threads))  # type: ignore[arg-type]
    start, _, end = f"pipeline `p`: {message}".partition(".*")
    assert str(caught.value).startswith(start)
    assert end in str(caught.value)


async def test_tensors_of_the_input_may_go_to_different_steps() -> None:
    steps = [
        Placed(Plain("a", of("x", 1), of("x", 1), dict), source={"x": "input.left"}),
        Placed(Plain("b", of("x", 1), of("x", 1), dict), source={"x": "input.right"}),
        Placed(
            Plain("c", TensorsType((*of("l", 1).ports, *of("r", 1).ports)), of("l", 1), dict),
            None,
            {"l": "a", "r": "b"},
        ),
    ]
    pipeline = Pipeline("p", steps)
    assert str(pipeline.takes) == "`left` float32[1], `right` float32[1]"
    answer = await pipeline.run({"left": np.zeros(1, np.float32), "right": np.ones(1, np.float32)})
    assert {name: array.tolist() for name, array in given(answer.value).items()} == {"l": [0], "r": [1]}


async def test_what_is_done_for_each_row_comes_out_as_rows(pools: dict[str, Pool], threads: GuestThreads) -> None:
    each = ForEachStep([ModelStep(pools["double"]), HostStep("normalize", threads=threads)], items_max=8)
    pipeline = Pipeline("p", [each])
    assert (str(pipeline.takes), str(pipeline.gives)) == ("`x` float32[?, 4]", "`y` float32[?, 4]")
    rows = np.arange(1, 33, dtype=np.float32).reshape(8, 4)
    answer = await pipeline.run({"x": rows})
    assert np.allclose(given(answer.value)["y"], rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)
    assert list(answer.how.stages) == ["for_each", "for_each.double", "for_each.normalize"]
    with pytest.raises(InputError, match="step `for_each`: 9 items, at most 8"):
        await pipeline.run({"x": np.zeros((9, 4), np.float32)})
    empty = await pipeline.run({"x": rows[:0]})
    assert given(empty.value)["y"].shape == (0, 4)


async def test_rows_that_become_one_batch_of_one_keep_it(pools: dict[str, Pool], threads: GuestThreads) -> None:
    ports = [port("x", "float32", [1, 4], 1024)], [port("y", "float32", [1, 4], 1088)]
    with Pool(littoral.load(model(variants=[variant("run", *ports)])), name="m", threads=threads) as pool:
        pipeline = Pipeline(
            "p",
            [
                Plain("a", BYTES, of("x", -1, 4), lambda _: {"x": np.ones((2, 4), np.float32)}),
                ForEachStep([ModelStep(pool)]),
            ],
        )
        answer = await pipeline.run(b"x")
    assert str(pipeline.gives) == "`y` float32[?, 1, 4]"
    assert given(answer.value)["y"].tolist() == [[[2] * 4]] * 2


async def test_searches_for_each_row_give_hits_for_each() -> None:
    search = Plain("search", of("x", 2), HITS, lambda v: [{"id": int(given(v)["x"][0])}])
    pipeline = Pipeline(
        "p", [Plain("a", BYTES, of("x", -1, 2), lambda _: {"x": np.eye(2, dtype=np.float32)}), ForEachStep([search])]
    )
    assert str(pipeline.gives) == "hits of each item"
    assert (await pipeline.run(b"x")).value == [[{"id": 1}], [{"id": 0}]]


async def test_items_run_several_at_a_time_and_no_more() -> None:
    running, most = 0, 0

    async def work(value: Value) -> Value:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        return value

    inner = Plain("w", of("x"), of("x"), work)  # type: ignore[arg-type]
    pipeline = Pipeline(
        "p",
        [Plain("a", BYTES, of("x", 10), lambda _: {"x": np.zeros(10, np.float32)}), ForEachStep([inner], parallel=3)],
    )
    await pipeline.run(b"x")
    assert most == 3


NOT_FOR_EACH: list[tuple[EdgeType, str]] = [
    (BYTES, "takes tensors with a row for each item"),
    (of("x"), "takes tensors with a row for each item"),
    (TensorsType((*of("x", 3).ports, *of("y", 4).ports)), "takes tensors of as many rows, not of 3 and 4"),
    (of("x", 65), "takes at most 64 rows"),
    (of("z", 3, 5), "for each item: its input gives `z` float32[5], step `w` takes `x` float32[2]"),
]


@pytest.mark.parametrize(("kind", "message"), NOT_FOR_EACH)
def test_what_has_no_rows_is_refused(kind: EdgeType, message: str) -> None:
    each = ForEachStep([Plain("w", of("x", 2), of("x", 2), dict)])
    with pytest.raises(SettingError) as caught:
        Pipeline("p", [Plain("a", BYTES, kind, dict), each])
    assert str(caught.value) == f"pipeline `p`: step `a` gives {kind}, step `for_each` {message}"


async def test_items_that_differ_cannot_be_put_together() -> None:
    grow = Plain("w", of("x"), of("x", -1), lambda v: {"x": np.zeros(int(given(v)["x"]), np.float32)})
    pipeline = Pipeline(
        "p", [Plain("a", BYTES, of("x", 2), lambda _: {"x": np.array([1, 2], np.float32)}), ForEachStep([grow])]
    )
    with pytest.raises(InputError, match=r"items give `x` of shapes \[1\] and \[2\]"):
        await pipeline.run(b"x")
