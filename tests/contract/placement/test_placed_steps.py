"""A step on another node: the same bits, told in `how`; here where nobody else can, and never where it must not go."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import AgentError, SettingError
from littoral.node.node import Node
from littoral.node.pipelines_api import how_header
from littoral.node.placement import asker, neighbours
from littoral.runtime.edges import Value
from littoral.runtime.step import How
from page_pictures import page_pictures
from placed_nodes import informed, placed_nodes, placed_site
from waiting import until_async, until_true

NAMES = ("a", "b")
QUEUE_COUNT = 60
"""Of calls that wait for an instance: enough to be longer than any way to the other node."""
PICTURE = page_pictures()[2].data
TWO = """
[pipelines.both]
steps = [{ agent = "decode", place = "node:b" }, { model = "embedder", place = "node:b" }, { step = "normalize" }]

[pipelines.items]
steps = [
  { agent = "decode", name = "decode" },
  { for_each = [{ model = "embedder", place = "auto" }], residency = "RESIDENCY" },
]
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy this machine is decides nothing: nobody is passed over because an answer takes long here."""
    monkeypatch.setattr(asker, "PATIENCE_MIN_S", 3600.0)
    monkeypatch.setattr(neighbours, "ASK_S", 60.0)
    monkeypatch.setattr(neighbours, "FRESH_S", 3600.0)


def sites(step: str, **options: str) -> dict[str, str]:
    return {"a": placed_site("a", NAMES, step=step, **options), "b": placed_site("b", NAMES)}


async def ask(node: Node, pipeline: str) -> tuple[Value, How]:
    answer = await node.pipelines[pipeline].pipeline.run(PICTURE)
    return answer.value, answer.how


def vectors_of(value: Value) -> np.ndarray:
    assert isinstance(value, dict)
    (vectors,) = value.values()
    return np.asarray(vectors)


async def test_a_pinned_step_runs_there_and_gives_the_same_bits(tmp_path: Path) -> None:
    async with placed_nodes(tmp_path, sites('place = "node:b"')) as nodes:
        a = nodes["a"]
        vectors = vectors_of((await ask(a, "embed"))[0])
        await a.collections.get("frames").upsert([7], vectors)
        before = nodes["b"].models["embedder"].pool.statistics().runs
        hits, how = await ask(a, "similar")
        assert nodes["b"].models["embedder"].pool.statistics().runs == before + 1, how
    assert [hit.id for hit in hits] == [7]  # type: ignore[union-attr]
    (told,) = how.placement  # type: ignore[misc]
    assert (told["step"], told["node"], told["why"], told["refused"]) == ("embedder", "b", "as the step says", [])
    assert told["taken_ms"] > 0
    assert json.loads(how_header(how))["placement"][0]["node"] == "b"
    assert list(how.stages) == ["decode", "embedder", "normalize", "search"]


async def test_agents_travel_too_bytes_in_and_tensors_out(tmp_path: Path) -> None:
    async with placed_nodes(tmp_path, sites('place = "here"', more=TWO.replace("RESIDENCY", "site"))) as nodes:
        a = nodes["a"]
        here, how = await ask(a, "embed")
        assert "placement" not in json.loads(how_header(how))
        there, how = await ask(a, "both")
        assert np.array_equal(vectors_of(here), vectors_of(there))
        assert [(one["step"], one["node"]) for one in how.placement] == [("decode", "b"), ("embedder", "b")]
        with pytest.raises(AgentError):  # the other node says so, and this one agrees
            await a.pipelines["both"].pipeline.run(b"no picture")


@pytest.mark.parametrize(("residency", "node"), [("site", "b"), ("node", "a")])
async def test_items_are_told_by_step_and_node_and_what_they_stand_in_binds_them(
    residency: str, node: str, tmp_path: Path
) -> None:
    more = TWO.replace("RESIDENCY", residency).replace('place = "auto"', 'place = "node:b"')
    async with placed_nodes(tmp_path, sites('place = "here"', more=more)) as nodes:
        _, how = await ask(nodes["a"], "items")
    (told,) = how.placement  # type: ignore[misc]
    assert (told["step"], told["node"], told["items"]) == ("embedder", node, 1)
    if residency == "node":
        assert told["refused"][0]["why"] == "its data stay on this node"


async def test_a_node_with_another_version_is_not_asked(tmp_path: Path) -> None:
    """Another configuration of the agent is another agent."""
    both = sites('place = "here"', more=TWO.replace("RESIDENCY", "site"))
    both["b"] = both["b"].replace("width = 32, height = 32", 'width = 32, height = 32, fit = "contain"')
    async with placed_nodes(tmp_path, both) as nodes:
        _, how = await ask(nodes["a"], "both")
    assert [(one["step"], one["node"]) for one in how.placement] == [("decode", "a"), ("embedder", "b")]  # type: ignore[union-attr]


async def test_a_deadline_goes_with_the_step(tmp_path: Path) -> None:
    async with placed_nodes(tmp_path, sites('place = "node:b"', placement="deadline_ms = 60000")) as nodes:
        service = nodes["b"].placement.service  # type: ignore[union-attr]
        seen: list[float] = []
        real = service._workplace.run

        async def noted(key: str, value: Value, take: list[str]) -> Value:
            from littoral.runtime.call import current_call

            deadline_s = current_call().deadline_s
            assert deadline_s is not None
            seen.append(deadline_s - nodes["b"].clock.monotonic())
            return await real(key, value, take)

        service._workplace.run = noted  # type: ignore[method-assign, assignment]
        await nodes["a"].pipelines["similar"].pipeline.run(PICTURE, deadline_ms=20_000)
        await ask(nodes["a"], "similar")
    assert 0.0 < seen[0] <= 20.0
    assert 20.0 < seen[1] <= 60.0


async def test_auto_uses_the_other_node_when_this_one_is_busy(tmp_path: Path) -> None:
    async with placed_nodes(tmp_path, sites('place = "auto"', placement="tries = 0.0")) as nodes:
        a, b = nodes["a"], nodes["b"]
        for _ in range(3):
            assert (await ask(a, "similar"))[1].placement
        pool = a.models["embedder"].pool

        async def is_b_known_to_be_quick() -> bool:
            await ask(b, "embed")
            await informed(a)
            return b.models["embedder"].pool.statistics().work_ms < 3 * pool.statistics().work_ms

        await until_true(is_b_known_to_be_quick)
        leases = [await pool.lease() for _ in range(2)]
        queue = [asyncio.create_task(pool.lease()) for _ in range(QUEUE_COUNT)]
        try:
            await until_async(lambda: pool.statistics().waiting == QUEUE_COUNT)
            _, how = await ask(a, "similar")
            assert pool.statistics().waiting == QUEUE_COUNT
        finally:
            for lease in leases:
                lease.release()
            for waiting in queue:
                (await waiting).release()
        assert how.placement[0]["node"] == "b", how.placement  # type: ignore[index]
        assert "failed" not in how.placement[0]["why"], "it was chosen, and not only left over"  # type: ignore[index]


async def test_what_the_scheduler_sees_and_counts(tmp_path: Path) -> None:
    async with placed_nodes(tmp_path, sites('place = "node:b"')) as nodes:
        await ask(nodes["a"], "similar")
        placement = nodes["a"].placement
        assert placement is not None
        told = placement.told(nodes["a"].clock.monotonic())
        readings = {(reading.name, *reading.labels): reading.value for reading in placement.readings()}
        served = {(reading.name, *reading.labels) for reading in nodes["b"].placement.readings()}  # type: ignore[union-attr]
    (step,) = told["steps"]
    assert [(row["node"], row["standing"], row["has_it"]) for row in step["nodes"]] == [
        ("a", "here", True),
        ("b", "site", True),
    ]
    assert readings["littoral_placed_steps_total", "b"] == 1
    assert ("littoral_placed_served_total", "a") in served


async def test_a_counter_of_energy_that_is_none_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds no count of µJ"):
        async with placed_nodes(
            tmp_path, sites('place = "auto"', placement='power = { watts = 9, counter = "embedder.wasm" }')
        ):
            pass
