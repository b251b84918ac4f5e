"""The node's end of a shard host: one request that is asked of several shards at once, while a host is away."""

import asyncio
from pathlib import Path

import pytest

from hosts import host_of, make_folder, upsert
from littoral.clock import SYSTEM
from littoral.vectors import frames
from littoral.vectors.client import ShardClient

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0


async def test_a_request_for_several_shards_keeps_a_number_at_each(tmp_path: Path) -> None:
    """It is sent again when the host is there; the number that another shard gave it meanwhile is another call's."""
    folder = make_folder(tmp_path)
    here = ShardClient(folder, SYSTEM)
    elsewhere = ShardClient(make_folder(tmp_path, "others"), SYSTEM)
    shared = frames.Count(call=0)
    asking = [
        asyncio.create_task(here.ask(request, DEADLINE_S)) for request in (shared, upsert([1, 2]), frames.Info(call=0))
    ]
    others = [asyncio.create_task(elsewhere.ask(frames.Info(call=0), DEADLINE_S)) for _ in range(2)]
    await asyncio.sleep(0)
    others.append(asyncio.create_task(elsewhere.ask(shared, DEADLINE_S)))
    await asyncio.sleep(0)
    assert shared.call == 3
    with host_of(folder):
        told = await asyncio.gather(*asking)
        await here.close()
    assert [type(one) for one in told] == [frames.Counted, frames.Written, frames.Informed]
    await elsewhere.close()
    await asyncio.gather(*others, return_exceptions=True)
