"""Three real nodes: an unmodified `qdrant-client` makes a collection for all of them and deletes it, at any of them."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from command import littoral
from littoral.node.beside import RunningNode, running_node
from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

NAMES = ("a", "b", "c")
SIZE = 8
COUNT = 60
ROWS = np.random.default_rng(5).standard_normal((COUNT, SIZE)).astype("<f4")
VECTORS = models.VectorParams(size=SIZE, distance=models.Distance.EUCLID)


class Nodes:
    """Each asks for tokens."""

    def __init__(self, folder: Path) -> None:
        from mesh_nodes import write_mesh_sites

        options = {"spread": "shards = 1, replicas = 1", "deadline_ms": 10_000, "more": "[auth]\n"}
        self.files = write_mesh_sites(folder, NAMES, **options)  # type: ignore[arg-type]
        self._running: dict[str, RunningNode] = {}
        self._opened = contextlib.ExitStack()

    def start(self, *names: str) -> None:
        for name in names:
            self._running[name] = self._opened.enter_context(running_node(self.files[name]))

    def kill(self, name: str) -> None:
        self._running[name].kill()

    def close(self) -> None:
        self._opened.close()

    def token(self, name: str, roles: str) -> str:
        return str(littoral("tokens", "new", self.files[name], roles, "--roles", roles, "--json").json["token"])

    @contextlib.contextmanager
    def client(self, name: str, roles: str = "admin") -> Iterator[QdrantClient]:
        url, shown = self._running[name].url, {"authorization": f"Bearer {self.token(name, roles)}"}
        with contextlib.closing(QdrantClient(url=url, headers=shown, check_compatibility=False, timeout=60)) as found:
            yield found


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    with contextlib.closing(Nodes(tmp_path)) as found:
        found.start(*NAMES)
        yield found


@pytest.fixture
def spreading(tmp_path: Path) -> Iterator[Nodes]:
    """Whose site files say that collections are spread of which a request says nothing."""
    need(find_spec("zenoh") is not None and find_spec("cryptography") is not None, "the extra `mesh`")
    with contextlib.closing(Nodes(tmp_path)) as found:
        for file in found.files.values():
            file.write_text(file.read_text().replace("[mesh]\n", '[mesh]\nmade = "spread"\n'))
        found.start(*NAMES)
        yield found


def make(client: QdrantClient) -> bool:
    return client.create_collection(
        "notes",
        vectors_config=VECTORS,
        shard_number=3,
        replication_factor=2,
        metadata={"littoral": {"spread": {"recall": 0.9}}},
        timeout=60,
    )


def test_made_at_one_node_used_at_another_deleted_at_a_third_while_one_is_away(nodes: Nodes) -> None:
    with nodes.client("c", "write") as writer, pytest.raises(UnexpectedResponse, match="needs the role `admin`"):
        make(writer)
    with contextlib.ExitStack() as stack:
        a, b, c = (stack.enter_context(nodes.client(name)) for name in NAMES)
        assert make(c)
        params = a.get_collection("notes").config.params
        assert (params.shard_number, params.replication_factor) == (3, 2)
        points = [models.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(ROWS)]
        b.upsert("notes", points, wait=True)
        for client in (a, b, c):
            assert client.count("notes").count == COUNT
            assert client.query_points("notes", query=ROWS[7].tolist(), limit=1).points[0].id == 7
        with nodes.client("a", "write") as writer, pytest.raises(UnexpectedResponse, match="needs the role `admin`"):
            writer.delete_collection("notes")
        nodes.kill("b")
        assert a.delete_collection("notes", timeout=60)
        assert not c.collection_exists("notes")
        assert make(c)
    nodes.start("b")
    with nodes.client("b") as back:
        until(lambda: back.collection_exists("notes") and is_empty(back))
        assert [one.name for one in back.get_collections().collections] == ["notes", "points"]
        left = nodes.files["b"].parent / "data" / "collections"
        until(lambda: not any((left / f"notes.{shard}").exists() for shard in range(3)))


def test_aliases_and_the_cluster_are_the_same_at_every_node(nodes: Nodes) -> None:
    """Also where a node was killed before, and learns of it when it is back."""
    alias = models.CreateAlias(collection_name="notes", alias_name="memos")
    with contextlib.ExitStack() as stack:
        a, b, c = (stack.enter_context(nodes.client(name)) for name in NAMES)
        assert make(c)
        nodes.kill("b")
        assert c.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
        points = [models.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(ROWS)]
        a.upsert("memos", points, wait=True)
        assert c.count("memos").count == COUNT
        assert c.update_collection("memos", hnsw_config=models.HnswConfigDiff(m=20), timeout=60)
        with pytest.raises(UnexpectedResponse, match="not changed with options"):
            c.update_collection("notes", collection_params=models.CollectionParamsDiff(replication_factor=3))
        assert a.get_collection_aliases("notes").aliases == c.get_aliases().aliases
        until(lambda: "Dead" in states(a).values())
        nodes.start("b")
        until(lambda: set(states(a).values()) == {"Active"})
    with nodes.client("b") as b, nodes.client("c") as c:
        until(lambda: [one.alias_name for one in b.get_aliases().aliases] == ["memos"])
        until(lambda: {client.get_collection("notes").config.hnsw_config.m for client in (b, c)} == {20})
        until(lambda: {shard for shard, _ in states(b)} == {0, 1, 2} and states(b) == states(c))
        told, seen = (one.http.distributed_api.cluster_status().result for one in (b, c))
        assert told.peers.keys() == seen.peers.keys()
        assert (len(told.peers), told.raft_info.leader) == (3, seen.raft_info.leader)
        assert {told.peer_id, seen.peer_id} < {int(peer) for peer in told.peers}
        assert sum(shard.points_count for shard in c.collection_cluster_info("memos").local_shards) > 0


def test_a_client_that_knows_nothing_of_nodes_makes_collections_for_all_where_the_site_says_so(
    spreading: Nodes,
) -> None:
    here = {"littoral": {"spread": False}}
    with contextlib.ExitStack() as stack:
        a, b, c = (stack.enter_context(spreading.client(name)) for name in NAMES)
        assert b.create_collection("notes", vectors_config=VECTORS, timeout=60)
        assert b.create_collection("mine", vectors_config=VECTORS, metadata=here)
        assert a.create_collection("one", vectors_config=VECTORS, shard_number=1, replication_factor=1, timeout=60)
        c.upsert("notes", [models.PointStruct(id=i, vector=row.tolist()) for i, row in enumerate(ROWS)], wait=True)
        for client in (a, b, c):
            assert client.count("notes").count == COUNT
            assert client.get_collection("notes").config.params.replication_factor == 2
            assert client.get_collection("one").config.params.shard_number == 1
        assert [client.collection_exists("mine") for client in (a, b, c)] == [False, True, False]
        with pytest.raises(UnexpectedResponse, match="is false, and there are to be several"):
            b.create_collection("mine-too", vectors_config=VECTORS, metadata=here, shard_number=2)
    with spreading.client("c", "write") as writer, pytest.raises(UnexpectedResponse, match="needs the role `admin`"):
        writer.create_collection("theirs", vectors_config=VECTORS)


def states(client: QdrantClient) -> dict[tuple[int, int], str]:
    """Of the replicas, by shard and peer."""
    told = client.collection_cluster_info("notes")
    local = {(one.shard_id, told.peer_id): one.state.value for one in told.local_shards}
    return local | {(one.shard_id, one.peer_id): one.state.value for one in told.remote_shards}


def is_empty(client: QdrantClient) -> bool:
    with contextlib.suppress(UnexpectedResponse):
        return client.count("notes").count == 0
    return False
