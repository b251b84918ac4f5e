"""The orchestrator as a witness: its routes over real HTTP, asked by a node's own client; what C2SP says it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from audit_log import KEY, ORIGIN, WITNESS_KEY, entries, filled, opened
from littoral import settings
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import Searched
from littoral.audit.log import WITNESSED, TreeLog
from littoral.audit.note import Verifier
from littoral.audit.recorder import Recorder, Terms
from littoral.audit.verify import verify_log
from littoral.audit.witness import Asked, Witness, asked_text
from littoral.clock import SYSTEM
from littoral.errors import UnauthorizedError
from littoral.node.audit.cosigning import Cosigning
from littoral.node.audit.opening import LOG
from littoral.node.audit.url_witnesses import UrlWitness, UrlWitnesses
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.testing import SimulatedClock
from littoral.web import Request, Router, serving
from littoral.web.add_checkpoint import LOG_KEY, witness_protocol
from raw_http import Reply, ask, request
from supervised import short_folder
from waiting import until_async

NAME = "littoral/orchestrator/witness"
PREFIX = "/fleet/v1"


class Served(NamedTuple):
    witness: Witness
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}{PREFIX}"

    async def add(self, log: TreeLog | bytes, old_size: int = 0, *, by: str = "gw-1", key: str = "") -> Reply:
        body = log
        if isinstance(log, TreeLog):
            proof, note = log.consistency(min(old_size, log.size))
            body = asked_text(Asked(old_size, proof, str(note).encode()))
        assert isinstance(body, bytes)
        headers = {"authorization": f"Bearer {by}", **({LOG_KEY: key} if key else {})}
        return await asyncio.to_thread(ask, self.address, request("POST", f"{PREFIX}/add-checkpoint", body, headers))


def caller(asked: Request) -> str:
    name = str(asked.headers.get("authorization", "")).removeprefix("Bearer ")
    if not name.startswith("gw-"):
        raise UnauthorizedError("a token is needed")
    return name


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    witness = Witness(FolderDisk(folder), NAME, WITNESS_KEY, SYSTEM.wall)
    router = Router([witness_protocol(witness, caller, PREFIX)])
    async with serving(router, host="127.0.0.1", port=0) as server:
        yield Served(witness, server.address)


async def test_it_answers_as_the_protocol_says(tmp_path: Path) -> None:
    log, fork = filled(tmp_path / "log", 300), opened(FolderDisk(tmp_path / "fork"))
    fork.append([b"other", *entries(1, 400)])
    short, key = filled(tmp_path / "short", 200), str(log.verifier)
    other = TreeLog.begin(FolderDisk(tmp_path / "other"), ORIGIN, SecretKey(bytes(32)))
    other.append([b"x"])
    async with served(tmp_path / "seen") as one:
        assert (await one.add(log, by="nobody", key=key)).status == 401
        assert (await one.add(log)).status == 404
        first = await one.add(log, key=key)
        assert first.status == 200
        assert first.body.decode().startswith(f"\N{EM DASH} {NAME} ")
        told = await asyncio.to_thread(ask, one.address, request("GET", f"{PREFIX}/witness-key"))
        assert Verifier.parse(told.body.decode()) == one.witness.verifier
        behind = await one.add(log, 100)
        assert (behind.status, behind.body, behind.headers["content-type"]) == (409, b"300\n", "text/x.tlog.size")
        assert (await one.add(log, 300)).status == 200
        assert (await one.add(log, 301)).status == 400
        assert (await one.add(fork, 300)).status == 422
        assert (await one.add(short, 200)).body == b"300\n"
        same = opened(FolderDisk(tmp_path / "same"))
        same.append([b"other", *entries(1, 300)])
        assert (await one.add(same, 300)).status == 409
        assert (await one.add(other, 1, key=str(other.verifier))).status == 403
        assert (await one.add(other, 0)).status == 403
        lines = b"".join(b"%b\n" % (b"A" * 43 + b"=") for _ in range(64))
        assert (await one.add(b"old 300\n" + lines + b"\n" + str(log.note).encode())).status == 400
        assert (await one.add(b"old 300\n\nno note")).status == 400
        log.append(entries(300, 301))
        assert (await one.add(log, 300)).status == 200
    async with served(tmp_path / "seen") as again:
        assert (await again.add(log, 300)).body == b"301\n"
        assert (await again.add(fork, 301)).status == 422
    assert one.witness.refused == {"key": 3, "size": 2, "fork": 3}


async def test_a_restored_node_begins_another_log_below_the_name_of_its_first(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", 10)
    async with served(tmp_path / "seen") as one:
        assert (await one.add(log, key=str(log.verifier))).status == 200
        for name, wanted in ((f"{ORIGIN}/2026-a", 200), (f"{ORIGIN}/2026-b", 200), ("littoral/gateway-2", 403)):
            next_log = TreeLog.begin(FolderDisk(tmp_path / name.replace("/", "-")), name, SecretKey(bytes(32)))
            next_log.append(entries(0, 3))
            assert (await one.add(next_log, key=str(next_log.verifier))).status == wanted
        assert (await one.add(log, 10)).status == 200


def recorder(folder: Path) -> Recorder:
    return Recorder(lambda: FolderDisk(folder), ORIGIN, KEY, Terms(commit_s=30.0), SYSTEM)


async def asking(log: Recorder, one: Served, folder: Path, by: str = "gw-1") -> tuple[UrlWitnesses, Cosigning]:
    token = folder / f"{by}.token"
    token.write_text(f"{by}\n")
    cosigning = Cosigning(log, SimulatedClock())
    found = UrlWitness(one.url, one.witness.verifier, token)
    return UrlWitnesses(log, [found], cosigning, SYSTEM), cosigning


async def test_a_node_that_shows_two_histories_is_found(tmp_path: Path) -> None:
    """Whoever has taken the node has its key, and signs another history."""
    async with served(tmp_path / "seen") as one:
        log = recorder(tmp_path / "log")
        await log.open({})
        await log.settle()
        witnesses, cosigning = await asking(log, one, tmp_path)
        assert await witnesses.ask_all() == {"signed": 1}
        again, cosigning = await asking(log, one, tmp_path)
        assert await again.ask_all() == {"signed": 1}, "it was told the size, and asked once more"
        await log.close()
        report = verify_log(FolderDisk(tmp_path / "log"))
        assert (report.faults, [one.name for one in report.witnesses]) == ([], [NAME])
        for size in (1, 40):
            fork = recorder(tmp_path / f"fork-{size}")
            await fork.open({"another": size})
            for number in range(size - 1):
                fork.tell_searched(_searched(number))
            await fork.settle()
            witnesses, cosigning = await asking(fork, one, tmp_path)
            assert await witnesses.ask_all() == {"refused": 1}
            assert cosigning.refused == 1
            assert FolderDisk(tmp_path / f"fork-{size}").read(WITNESSED) is None
            await fork.close()
        stranger, cosigning = await asking(log, one, tmp_path, by="stranger")
        assert await stranger.ask_all() == {"away": 1}
    assert await again.ask_all() == {"away": 1}


def _searched(number: int) -> Searched:
    return Searched(float(number), "query", "camera#1", "frames", bytes(4), ())


async def test_what_no_witness_has_seen_is_told_by_its_age(tmp_path: Path) -> None:
    clock = SimulatedClock()
    log = recorder(tmp_path)
    await log.open({})
    cosigning = Cosigning(log, clock)
    assert cosigning.uncosigned_s == 0
    await log.settle()
    clock.advance(5)
    assert cosigning.uncosigned_s == 5
    cosigning.signed(1, clock.monotonic())
    assert cosigning.uncosigned_s == 0
    log.tell_searched(_searched(1))
    await log.settle()
    clock.advance(7)
    assert cosigning.uncosigned_s == 7
    await log.close()


async def test_a_node_asks_the_witnesses_of_its_site_file(tmp_path: Path) -> None:
    with short_folder() as folder, settings.override(LITTORAL_STATE=str(folder / "state")):
        async with served(tmp_path / "seen") as one:
            (folder / "token").write_text("gw-1")
            (folder / "site.toml").write_text(
                '[node]\nname = "gw-1"\nlisten = "127.0.0.1:0"\ndata = "data"\n'
                "[audit]\ncommit_ms = 5\nwitness_s = 0.05\n"
                f'[[audit.witnesses]]\nurl = "{one.url}"\nkey = "{one.witness.verifier}"\ntoken_file = "token"\n'
            )
            site = read_site(folder / "site.toml")
            with embedded(site.data) as link:
                async with link, open_node(site, link):
                    await until_async(lambda: one.witness.signed > 1)
        report = verify_log(FolderDisk(folder / "data" / LOG))
        assert (report.faults, [one.name for one in report.witnesses]) == ([], [NAME])
