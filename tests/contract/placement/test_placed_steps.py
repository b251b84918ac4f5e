"""A step on another node: the same bits, told in `how`; here where nobody else can, and never where it must not go."""

from pathlib import Path

import numpy as np

from page_pictures import page_pictures
from placed_nodes import placed_nodes, placed_site

NAMES = ("a", "b")


def sites(step: str) -> dict[str, str]:
    return {"a": placed_site("a", NAMES, step=step), "b": placed_site("b", NAMES)}


async def test_a_pinned_step_runs_there_and_gives_the_same_bits(tmp_path: Path) -> None:
    picture = page_pictures()[2].data
    async with placed_nodes(tmp_path, sites('place = "node:b"')) as nodes:
        a = nodes["a"]
        here = (await a.pipelines["embed"].pipeline.run(picture)).value
        assert isinstance(here, dict)
        (vectors,) = here.values()
        await a.collections.get("frames").upsert([7], np.asarray(vectors))
        before = nodes["b"].models["embedder"].pool.statistics().runs
        answer = await a.pipelines["similar"].pipeline.run(picture)
        assert nodes["b"].models["embedder"].pool.statistics().runs == before + 1, answer.how
    (hit,) = answer.value
    assert hit.id == 7  # type: ignore[union-attr]
    (told,) = answer.how.placement  # type: ignore[misc]
    assert (told["step"], told["node"], told["why"], told["refused"]) == ("embedder", "b", "as the step says", [])
    assert told["taken_ms"] > 0
