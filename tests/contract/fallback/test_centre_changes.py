"""The data centre changes while sites ask it: its nodes come, go and are others by the file alone."""

import asyncio
from pathlib import Path

from fallback_rig import Rig, done_by, fallback_rig
from waiting import until_async, until_true


def parts(rig: Rig) -> tuple[Path, str, dict[str, str]]:
    """The file, what is before its nodes, and the table of each of them."""
    file = rig.kept.folder / "orchestrator.toml"
    head, *tables = file.read_text().split("[inference.nodes.")
    return file, head, {table.partition("]")[0]: f"[inference.nodes.{table}" for table in tables}


def workers(rig: Rig) -> set[str]:
    assert rig.kept.found.inference is not None
    return {*rig.kept.found.inference.workers}


async def told(rig: Rig) -> dict:
    return await rig.kept.done("viewer", "GET", "/api/fleet/inference")


async def test_nodes_come_and_go_and_who_stays_goes_on(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path, names=("dc-1", "dc-2")) as rig:
        file, head, tables = parts(rig)
        file.write_text(head + tables["dc-1"])
        await until_async(lambda: workers(rig) == {"dc-1"})
        assert done_by(await rig.step(rig.frame()))[0] == "dc-1"
        (first,) = (await told(rig))["nodes"]
        assert (first["node"], first["answers"], first["steps"]) == ("dc-1", True, {"answered": 1})
        assert first["bytes"]["sent"] == len(rig.frame())
        file.write_text(head + tables["dc-1"] + tables["dc-2"])
        await until_async(lambda: workers(rig) == {"dc-1", "dc-2"})
        assert {node["node"]: node["steps"].get("answered", 0) for node in (await told(rig))["nodes"]} == {
            "dc-1": 1,
            "dc-2": 0,
        }, "who stays keeps what it counted"
        file.write_text(head + tables["dc-2"])
        await until_async(lambda: workers(rig) == {"dc-2"})
        assert done_by(await rig.step(rig.frame()))[0] == "dc-2"
        found = await told(rig)
        assert (found["takes"], found["steps"], found["busy"]) == (True, {"answered": 2}, 0)
        (site,) = found["sites"]
        assert (site["node"], site["steps"]) == ("gw-1", {"answered": 2})
        metrics = (await rig.kept.ask("viewer", "GET", "/metrics")).body.decode()
        sent = f'littoral_fleet_inference_bytes_total{{direction="sent",node="dc-2"}} {len(rig.frame())}'
        assert sent in metrics
        assert 'node="dc-1"' not in metrics


async def test_bounds_are_others_and_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig:
        file, head, tables = parts(rig)
        good = file.read_text()
        file.write_text(good.replace("token =", "tokem ="))
        await until_async(lambda: rig.kept.found.inference.problem != "")
        assert "tokem" in (await told(rig))["problem"]
        assert (
            "littoral_fleet_inference_file_wrong 1" in (await rig.kept.ask("viewer", "GET", "/metrics")).body.decode()
        )
        assert done_by(await rig.step(rig.frame()))[0] == "dc-1"
        file.write_text(head.partition("[inference]")[0])
        await until_async(lambda: "takes a restart" in rig.kept.found.inference.problem)
        assert (await rig.step(rig.frame())).status == 200
        file.write_text(f"{head}\nbody_bytes_max = 1024\nstep_count_max = 7\n{tables['dc-1']}")
        await until_async(lambda: rig.kept.found.inference.step_count_max == 7)
        assert (await told(rig))["problem"] == ""
        assert (await rig.step(rig.frame())).status == 413
        (site,) = (await told(rig))["sites"]
        assert site["steps"] == {"answered": 2, "large": 1}


async def test_a_node_that_goes_ends_its_steps(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path, names=("dc-1", "dc-2")) as rig:
        file, head, tables = parts(rig)
        file.write_text(head + tables["dc-1"])
        await until_async(lambda: workers(rig) == {"dc-1"})
        inference = rig.kept.found.inference
        assert inference is not None
        leaving = inference.workers["dc-1"]
        await rig.offers()
        answers = [asyncio.create_task(rig.step(rig.frame())) for _ in range(6)]
        await until_async(lambda: leaving.tally.busy > 0 or all(answer.done() for answer in answers))
        file.write_text(head + tables["dc-2"])
        await until_async(lambda: workers(rig) == {"dc-2"})
        assert [done_by(answer)[0] in ("dc-1", "dc-2") for answer in await asyncio.gather(*answers)] == [True] * 6

        async def is_closed() -> bool:
            return leaving.is_gone and leaving.tally.busy == 0

        await until_true(is_closed)
        assert done_by(await rig.step(rig.frame()))[0] == "dc-2"
