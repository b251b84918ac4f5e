"""What the fleet may run: artifacts come in as bytes, are known by their content, and wait for their signatures."""

import asyncio
import hashlib
import mmap
import os
import secrets
import shutil
import tomllib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from littoral.artifact.manifest import AGENT_SECTION, MODEL_SECTION, AgentManifest, Manifest
from littoral.artifact.sections import custom_section
from littoral.errors import ArtifactError, ConflictError, InputError, NotFoundError, TooLargeError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.signing import Signing
from littoral.orchestrator.store import Add, Put
from littoral.orchestrator.store.rows import ArtifactRow, Assigned
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom, Kind
from littoral.updates.blocks import BlockList
from littoral.updates.boards import BYTES_MAX, read_board

__all__ = ["Registry", "check_targets"]

SITE_BYTES_MAX = 1 << 20
_KINDS = {"models": Kind.MODEL, "agents": Kind.AGENT, "site": Kind.SITE, "dashboards": Kind.DASHBOARD}


class Registry:
    """coming: a folder on the same disk as the data, for what is not there whole yet."""

    def __init__(self, fleet: Fleet, objects: Objects, signing: Signing, coming: Path, bytes_max: int) -> None:
        self._fleet = fleet
        self._objects = objects
        self._signing = signing
        self._coming = coming
        self._bytes_max = bytes_max
        coming.mkdir(parents=True, exist_ok=True)
        for left in coming.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    def find(self, kind: str, name: str, version: str) -> ArtifactRow:
        """Raises NotFoundError."""
        for row in self._fleet.artifacts.values():
            if (row.kind, row.name, str(row.version)) == (kind, name, version):
                return row
        raise NotFoundError(f"no artifact `{kind[:20]}/{name[:64]}/{version[:20]}`")

    def next_version(self, kind: Kind, name: str) -> int:
        held = [row.version for row in self._fleet.artifacts.values() if (row.kind, row.name) == (kind.value, name)]
        return max(held, default=0) + 1

    async def take(
        self, kind: Kind, name: str, version: int | None, chunks: AsyncIterator[bytes], by: str, custom: Custom
    ) -> ArtifactRow:
        """version: None = the next. Raises ConflictError for one that is there, TooLargeError, InputError."""
        target = ArtifactName.parse(str(ArtifactName(kind, name, version or 1)))
        file = self._coming / secrets.token_hex(8)
        try:
            sha256, length = await self._receive(file, chunks)
            if not length:
                raise InputError("an artifact without a byte")
            if (check := _CHECKS.get(kind)) is not None:
                await asyncio.to_thread(check, file, name)
            custom = await asyncio.to_thread(self._keep, target, sha256, file, custom)
        finally:
            file.unlink(missing_ok=True)
        async with self._fleet.changing:
            target = ArtifactName.parse(str(target._replace(version=version or self.next_version(kind, name))))
            if str(target) in self._fleet.artifacts:
                raise ConflictError(f"artifact `{target}` is there", hint="versions are never changed: take the next")
            row = ArtifactRow(
                target=str(target),
                kind=kind.value,
                name=name,
                version=target.version,
                length=length,
                sha256=sha256,
                state="pending",
                at_s=self._fleet.clock.wall(),
                by=by,
                custom=custom,
            )
            event = self._fleet.event("artifact", row.target, what="registered", sha256=sha256, by=by)
            await self._fleet.write(Add(row), event)
            await self._sync()
        return self._fleet.artifacts[row.target]

    async def sync(self) -> None:
        """Whatever was registered is listed by the image repository, and rows say what is published and what waits."""
        async with self._fleet.changing:
            await self._sync()

    async def withdraw(self, row: ArtifactRow, by: str) -> None:
        """No node installs it any more, once that is signed."""
        async with self._fleet.changing:
            await asyncio.to_thread(self._signing.image.withdraw, ArtifactName.parse(row.target))
            event = self._fleet.event("artifact", row.target, what="withdrawn", by=by)
            await self._fleet.write(Put(replace(row, state="withdrawn")), event)
            await self._sync()

    async def read(self, path: str, start: int, length: int) -> bytes:
        """Of a file of the tree below `image/targets`."""
        return await asyncio.to_thread(self._objects.read, path, start, length)

    async def length(self, path: str) -> int:
        """Raises NotFoundError."""
        found = await asyncio.to_thread(self._objects.length, path)
        if found is None:
            raise NotFoundError(f"`{path[:120]}` is not there")
        return found

    def _keep(self, target: ArtifactName, sha256: str, file: Path, custom: Custom) -> Custom:
        """The bytes among the objects, with their list of blocks, by which nodes fetch what is new of them alone."""
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            blocks = BlockList.of(data).packed
        self._objects.put(tree.block_list_file(sha256), blocks)
        self._objects.put_file(tree.target_file(target, sha256), file)
        return replace(custom, blocks_sha256=hashlib.sha256(blocks).hexdigest())

    async def _sync(self) -> None:
        if not await asyncio.to_thread(lambda: self._signing.is_begun):
            return
        rows = [row for row in self._fleet.artifacts.values() if row.state != "withdrawn"]
        changed = await asyncio.to_thread(self._states, rows)
        if not changed:
            return
        events = [self._fleet.event("artifact", row.target, what=row.state) for row in changed]
        await self._fleet.write(*(Put(row) for row in changed), *events)

    def _states(self, rows: list[ArtifactRow]) -> list[ArtifactRow]:
        """Those whose state is another by now."""
        published, pending = self._signing.states()
        for row in rows:
            if row.target not in published and row.target not in pending:
                self._signing.register(row)
        published, pending = self._signing.states()
        found = []
        for row in rows:
            if row.target in published:
                now = replace(row, state="published")
            elif (waits := pending.get(row.target)) is not None:
                now = replace(row, state="pending", signatures=waits.signed_by, wanted=waits.wanted)
            else:
                continue
            if now != row:
                found.append(now)
        return found

    async def _receive(self, file: Path, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        hashed, length = hashlib.sha256(), 0
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            async for data in chunks:
                length += len(data)
                if length > self._bytes_max:
                    raise TooLargeError(f"artifact has more than {self._bytes_max} bytes")
                await asyncio.to_thread(_take, handle, hashed, data)
        finally:
            os.close(handle)
        return hashed.hexdigest(), length


def check_targets(fleet: Fleet, assigned: Assigned) -> None:
    """Raises NotFoundError, ConflictError, InputError for what no node could be told to run."""
    targets = assigned.targets
    if twice := sorted({*assigned.dashboards} - {*targets.values()}):
        raise InputError(f"`dashboards`: `{twice[0]}` is there in another version too", hint="name one of them")
    for what, target in targets.items():
        wanted = _KINDS[what.partition("/")[0]]
        if (kind := ArtifactName.parse(target).kind) is not wanted:
            raise InputError(f"`{what}` is `{target}`, which is of kind `{kind.value}`, not `{wanted.value}`")
        row = fleet.artifacts.get(target)
        if row is None:
            raise NotFoundError(f"`{what}`: no artifact `{target}`", hint="`littoral fleet artifacts` lists them")
        if row.state != "published":
            raise ConflictError(f"`{what}`: artifact `{target}` is {row.state}", hint="`littoral fleet sign` signs it")


def _check_board(file: Path, name: str) -> None:
    """No node would show another. Raises InputError."""
    with file.open("rb") as stream:
        read_board(stream.read(BYTES_MAX + 1), f"dashboard `{name}`")


def _check_site(file: Path, name: str) -> None:
    """No node would start with another. Raises InputError."""
    with file.open("rb") as stream:
        text = stream.read(SITE_BYTES_MAX + 1)
    try:
        if len(text) > SITE_BYTES_MAX:
            raise ValueError(f"more than {SITE_BYTES_MAX} bytes")
        tomllib.loads(text.decode())
    except ValueError as error:
        raise InputError(f"site file `{name}`: {error}") from error


def _check_module(section: str, decode: Callable[[bytes], object], what: str, hint: str, file: Path, name: str) -> None:
    """No node would open another. Raises InputError."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            found = custom_section(cast("bytes", data), section)
            if found is None:
                raise ArtifactError(f"WebAssembly module has no section `{section}`", hint=hint)
            decode(found)
        except ArtifactError as error:
            raise InputError(f"{what} `{name}`: {error.message}", hint=error.hint) from error


_CHECKS: dict[Kind, Callable[[Path, str], None]] = {
    Kind.MODEL: partial(_check_module, MODEL_SECTION, Manifest.decode, "model", "`littoral build` makes models"),
    Kind.AGENT: partial(
        _check_module, AGENT_SECTION, AgentManifest.decode, "agent", "`littoral agent build` makes agents"
    ),
    Kind.SITE: _check_site,
    Kind.DASHBOARD: _check_board,
}


def _take(handle: int, hashed: "hashlib._Hash", data: bytes) -> None:
    hashed.update(data)
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
