"""Who it was stands in the log: tokens by name and id, changes of their file; and other nodes of a mesh witness it."""

import contextlib
from pathlib import Path

import pytest

from audit_log import KEY, ORIGIN
from guarded_app import guarded
from littoral import settings
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import Entry, decode_entry
from littoral.audit.log import LogFolder
from littoral.audit.recorder import Recorder, Terms
from littoral.audit.verify import verify_log
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError
from littoral.node.access.roles import Role
from littoral.node.audit.opening import LOG
from littoral.node.audit.trail import Trail
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.vectors.collection import Collection
from littoral.web import Answer, Protocol, Request, Route, Router, json_answer
from littoral.web.access.tokens import read_tokens, without
from littoral.web.caller import CALLER
from nodes_in_process import Wires
from supervised import short_folder
from waiting import until_async

POINTS = "/collections/{collection}/points"


def nowhere(name: str) -> Collection:
    raise NotFoundError(name)


def entries(folder: Path) -> list[Entry]:
    log = LogFolder.open(folder)
    return [decode_entry(log.entry(number), number) for number in range(log.size)]


async def test_changes_of_tokens_are_told_by_name_and_id(tmp_path: Path) -> None:
    log = Recorder(lambda: FolderDisk(tmp_path / "log"), ORIGIN, KEY, Terms(commit_s=0.01), SYSTEM)
    await log.open({})
    trail = Trail(log, nowhere, SYSTEM)
    async with guarded(tmp_path) as node:
        node.access.watch_tokens(trail.tokens_changed)
        token = node.token(Role.READ, name="camera-3")
        assert (await node.send("read", Authorization=f"Bearer {token}")).status == 200
        node.write(without(read_tokens(node.file), "camera-3")[0])
        assert (await node.send("read", Authorization=f"Bearer {token}")).status == 401
    await log.close()
    told = [(one.on.partition("#")[0], one.detail) for one in entries(tmp_path / "log") if one.did == "tokens"]
    assert told == [
        ("camera-3", {"how": "made", "roles": ["read"]}),
        ("camera-3", {"how": "revoked", "roles": ["read"]}),
    ]


@pytest.mark.parametrize("asks_tokens", [True, False])
async def test_whose_request_it_is_stands_in_the_entry(tmp_path: Path, asks_tokens: bool) -> None:
    log = Recorder(lambda: FolderDisk(tmp_path / "log"), ORIGIN, KEY, Terms(commit_s=0.01), SYSTEM)
    await log.open({})
    trail = Trail(log, nowhere, SYSTEM)

    async def work(_: Request) -> Answer:
        return json_answer(CALLER.get())

    (protocol,) = trail.protocols([Protocol((), [Route("PUT", POINTS, work)])])
    async with guarded(tmp_path, asks_tokens=asks_tokens) as node:
        router = Router([protocol], admit=node.access.check)
        headers = {"authorization": f"Bearer {node.token(Role.WRITE, name='till')}"} if asks_tokens else {}

        class Body:
            bytes_max = 100

            async def read(self) -> bytes:
                return b'{"points": [{"id": 7}]}'

        answer = await router(Request("PUT", "/collections/c/points", "", headers, Body()))  # type: ignore[arg-type]
        assert isinstance(answer, Answer)
        assert answer.status == 200
        who = f"till#{read_tokens(node.file)[0].id}" if asks_tokens else "anybody"
    await log.close()
    insert = next(one for one in entries(tmp_path / "log") if one.did == "insert")
    assert (insert.who, insert.on, insert.count, insert.detail["ids"]) == (who, "c", 1, [7])


async def test_nodes_of_a_mesh_witness_each_other() -> None:
    wires, names = Wires(), ("gw-1", "gw-2")
    with short_folder() as folder, settings.override(LITTORAL_STATE=str(folder / "state")):
        async with contextlib.AsyncExitStack() as opened:
            for name in names:
                peers = "".join(f'{other} = "127.0.0.1:1"\n' for other in names if other != name)
                (folder / f"{name}.toml").write_text(
                    f'[node]\nname = "{name}"\nlisten = "127.0.0.1:0"\ndata = "{name}"\n'
                    f'[mesh]\nsite = "shop"\n[mesh.peers]\n{peers}[audit]\ncommit_ms = 20\nwitness_s = 0.05\n'
                )
                site = read_site(folder / f"{name}.toml")
                link = opened.enter_context(embedded(site.data))
                await opened.enter_async_context(link)
                await opened.enter_async_context(open_node(site, link, transport=wires.end(name)))
            for name in names:
                log = folder / name / LOG
                await until_async(lambda log=log: (log / "witnessed").exists())  # type: ignore[misc]
        for name, other in zip(names, reversed(names), strict=True):
            report = verify_log(FolderDisk(folder / name / LOG))
            assert report.faults == []
            assert [one.name for one in report.witnesses] == [f"littoral/{other}/witness"]
