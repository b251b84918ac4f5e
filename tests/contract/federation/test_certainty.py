"""Who may say that nothing is missing: a replica whose peers have promised so, or could not have written alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.federation.leases import LEASE_S
from littoral.node.search_how import noting
from littoral.vectors.queries import SearchParams
from nodes_in_process import Wires
from spread_nodes import SpreadNode, spread_nodes, spread_table
from waiting import until_async

EXACT = SearchParams(exact=True)
POINT = np.zeros((1, 4), np.float32)


async def is_certain(node: SpreadNode) -> Any:
    with noting() as how:
        await node["points"].search(POINT[0], params=EXACT)
    assert how.told is not None
    assert how.told["expected_recall"] == (1.0 if how.told["certified"] else None)
    return how.told["certified"]


@pytest.mark.parametrize("holders", [1, 2])
async def test_a_replica_that_is_alone_is_certain_where_nobody_writes_without_it(tmp_path: Path, holders: int) -> None:
    wires = Wires()
    tables = {"points": spread_table(4, shards=1, replicas=2, holders=holders)}
    async with spread_nodes(tmp_path, ["a", "b"], tables, wires=wires) as nodes:
        node = nodes["a"]
        await node["points"].upsert([1], POINT)
        left_s = node.federation.completeness.left_s
        await until_async(lambda: left_s("points", 0) > 0)
        assert await is_certain(node)
        wires.kill("b")
        if holders == 1:
            await until_async(lambda: left_s("points", 0) == 0)
        assert await is_certain(node) == (holders == 2)
        assert left_s("points", 0) == (LEASE_S if holders == 2 else 0)
