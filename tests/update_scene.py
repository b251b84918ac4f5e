"""The scene of attacks on updates: a fleet whose node has taken deployment 2, and whoever has what is served in hand.

What was served for deployment 1 is there to be served again.
"""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from attacked_server import AttackedServer, Handler
from fleet_trust import NODE, Fleet
from littoral.updates.artifacts import ArtifactName, Kind
from littoral.updates.metadata.online import Online, Published
from littoral.updates.metadata.roles import EXPIRIES, sign_all
from littoral.updates.targets import signable
from littoral.updates.tree import target_file
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.http_transport import HttpTransport
from littoral.updates.wire import Desired

__all__ = ["BYTES", "DAY_S", "DIRECTOR", "FIRST", "IMAGE", "OTHER", "SECOND", "Scene"]

DAY_S = 86400.0
FIRST, SECOND = "models/embedder/1.wasm", "models/embedder/2.wasm"
IMAGE, DIRECTOR = "image/metadata", f"director/{NODE}/metadata"
BYTES = b"\0asm of the second" * 20_000
BOUNDS = Bounds(pause_s=0.0, attempts_max=2, snapshot_bytes_max=20_000, delegations_max=3)
OTHER = CryptoSigner.generate_ed25519()


class Scene:
    """served: the folder behind the server. former: what it held at deployment 1."""

    def __init__(self, folder: Path, server: AttackedServer, fleet: Fleet) -> None:
        self.fleet = fleet
        self.server = server
        self.served = fleet.folder / "served"
        self.former, self._now = folder / "former", folder / "now"
        fleet.publish(FIRST, b"the first")
        fleet.tell(FIRST)
        shutil.copytree(self.served, self.former)
        fleet.clock.advance(DAY_S)
        fleet.publish(SECOND, BYTES)
        fleet.publish("models/uploaded/1.wasm", b"by the page", role="uploads")
        self.wish = fleet.tell(SECOND)
        fleet.tell(FIRST, node="gateway-2", deployment=9)
        fleet.deployment = 2
        shutil.copytree(self.served, self._now)
        self.wall_s = fleet.clock.wall()
        self.transport = HttpTransport(server.url)
        self.client = fleet.client(transport=self.transport, bounds=BOUNDS)
        self.verified = self.client.refresh()
        self.state = folder / "nodes" / NODE
        self.kept = self.files()

    def refresh(self) -> None:
        self.client.refresh(2)

    def fetch(self, into: Path) -> None:
        self.client.fetch(self.verified.targets[SECOND], into)

    def files(self) -> dict[str, bytes]:
        """The node's state."""
        return {path.name: path.read_bytes() for path in self.state.rglob("*") if path.is_file()}

    def mend(self) -> None:
        """What is served is right again, and so are the clocks."""
        self.server.replies.clear()
        shutil.rmtree(self.served)
        shutil.copytree(self._now, self.served)
        self.fleet.clock.set_wall(self.wall_s)
        self.client.heard_time(self.wall_s)
        for name, data in self.kept.items():
            (self.state / (name if name == "state.json" else f"files/{name}")).write_bytes(data)

    def again(self, path: str, of: str | None = None) -> None:
        """Serves a file of deployment 1."""
        (self.served / path).write_bytes((self.former / (of or path)).read_bytes())

    def newest(self, folder: str, role: str) -> Path:
        """Its file that is served."""
        found = [path for path in (self.served / folder).iterdir() if path.name.endswith(f"{role}.json")]
        return max(found, key=lambda path: int(path.name.split(".")[0]) if path.name[0].isdigit() else 0)

    def signers(self, folder: str, role: str) -> Any:
        """Keys that were stolen."""
        if role == Root.type:
            return self.fleet.root_keys
        if folder == IMAGE and role == Targets.type:
            return self.fleet.targets_keys
        chain = self.fleet.image.root if folder == IMAGE else self.fleet.director.root
        return self.fleet.ring.signers(chain.current.roles[role].keyids)

    def forge(self, folder: str, role: str, edit: Callable[[Any], None], *, signers: Any = None) -> bytes:
        """The newest file of a role, changed and signed again."""
        file = self.newest(folder, role)
        metadata: Metadata[Any] = Metadata.from_bytes(file.read_bytes())
        edit(metadata.signed)
        data = sign_all(metadata, self.signers(folder, role) if signers is None else signers)
        file.write_bytes(data)
        return data

    def online(self, folder: str, new: dict[str, bytes], edit: Callable[[Snapshot], None] = lambda _: None) -> None:
        """Snapshot and timestamp of forged targets, with stolen online keys."""
        chain = self.fleet.image.root if folder == IMAGE else self.fleet.director.root
        online = Online(self.fleet.store, self.fleet.ring, self.fleet.clock, EXPIRIES)
        published = Published(self.fleet.store, f"{folder}/")
        self.fleet.store.write_all(online.files(published, chain.current, new))
        self.forge(folder, Snapshot.type, edit)
        self._stamp(folder)

    def _stamp(self, folder: str) -> None:
        data = self.newest(folder, Snapshot.type).read_bytes()
        signed = Metadata[Snapshot].from_bytes(data).signed

        def edit(timestamp: Timestamp) -> None:
            timestamp.snapshot_meta.version = signed.version
            timestamp.snapshot_meta.length = len(data)
            timestamp.snapshot_meta.hashes = {"sha256": sha256(data).hexdigest()}

        self.forge(folder, Timestamp.type, edit)

    def directed(self, edit: Callable[[Targets], None], *, deployment: int = 3) -> None:
        """The director says something else, with its stolen keys."""
        former = Metadata[Targets].from_bytes(self.newest(DIRECTOR, Targets.type).read_bytes())
        signed = former.signed
        signed.version += 1
        signed.unrecognized_fields = signable(Desired(node=NODE, deployment=deployment, models={"embedder": SECOND}))
        edit(signed)
        self.online(DIRECTOR, {Targets.type: sign_all(former, self.signers(DIRECTOR, Targets.type))})

    def listed(self, edit: Callable[[Targets], None], *, signer_count: int = 2) -> None:
        """The image repository lists something else."""
        former = Metadata[Targets].from_bytes(self.newest(IMAGE, Targets.type).read_bytes())
        former.signed.version += 1
        edit(former.signed)
        self.online(IMAGE, {Targets.type: sign_all(former, self.fleet.targets_keys[:signer_count])})

    def next_root(self, folder: str, signers: Any, edit: Callable[[Root], None] = lambda _: None) -> None:
        """`2.root.json`."""
        metadata = Metadata[Root].from_bytes((self.served / folder / "1.root.json").read_bytes())
        metadata.signed.version = 2
        edit(metadata.signed)
        (self.served / folder / "2.root.json").write_bytes(sign_all(metadata, signers))

    def reply(self, path: str, reply: Callable[[Handler, bytes, int], None]) -> None:
        """Of the server."""
        self.server.replies[path] = reply

    @property
    def target(self) -> str:
        """Path of the second model."""
        return target_file(ArtifactName(Kind.MODEL, "embedder", 2), sha256(BYTES).hexdigest())
