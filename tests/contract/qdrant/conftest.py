"""A node and a client in memory, with the same collections."""

from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient

from littoral import settings
from node_fixture import Served, node_in_thread
from supervised import short_folder
from twins import Twins, in_memory


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder) as served,
    ):
        yield served


@pytest.fixture(scope="module")
def twins(served: Served) -> Iterator[Twins]:
    ours = QdrantClient(url=served.url, timeout=60)
    with in_memory() as theirs:
        ours.delete_collection("frames")
        yield Twins(ours, theirs)
    ours.close()
