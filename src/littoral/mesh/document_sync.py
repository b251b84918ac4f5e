"""Documents of desired state from node to node: announced when they change, pulled from whoever has newer ones.

It does not matter whom they are pulled from: a document is its writer's by its signature.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from littoral.errors import InputError, LittoralError
from littoral.mesh.documents import Document, DocumentStore
from littoral.transport import Transport

__all__ = ["DOCUMENTS", "DocumentSync"]

DOCUMENTS = "documents"
"""Service and topic."""

KIND_COUNT_MAX = 32
DEADLINE_S = 10.0

Numbers = Annotated[dict[str, int], Meta(max_length=KIND_COUNT_MAX)]


class DocumentSync:
    """For one node. told: called with each document that was taken, in the event loop."""

    def __init__(self, store: DocumentStore, transport: Transport, told: Callable[[Document], None]) -> None:
        self._store = store
        self._transport = transport
        self._told = told
        self._newer_at: dict[str, None] = {}
        self._is_ahead = False
        self._failure = ""

    @property
    def failure(self) -> str:
        """Why the last pull failed; empty after one that did not."""
        return self._failure

    @property
    def is_behind(self) -> bool:
        """Whether somebody announced something newer."""
        return bool(self._newer_at)

    @property
    def is_ahead(self) -> bool:
        """Whether somebody announced something older, or came, since this node's last announcement."""
        return self._is_ahead

    async def start(self) -> None:
        """Answers, and listens. Raises ConflictError for a second time."""
        await self._transport.serve(DOCUMENTS, self._serve)
        await self._transport.subscribe(DOCUMENTS, self._heard)
        self._transport.watch(self._saw)

    async def announce(self) -> None:
        """Says what is here: after a change, and every now and then for those who missed it."""
        self._is_ahead = False
        await self._transport.publish(DOCUMENTS, msgspec.json.encode(self._store.numbers()))

    async def pull(self, peer: str) -> int:
        """Takes what the peer has newer; how many. Raises PeerError, TrustError, ConflictError, InputError."""
        asked = msgspec.json.encode(self._store.numbers())
        answer = await self._transport.request(peer, DOCUMENTS, asked, deadline_s=DEADLINE_S)
        taken = 0
        for signed in _decoded(answer, list[bytes])[:KIND_COUNT_MAX]:
            before = self._store.numbers()
            if self._store.take(signed):
                taken += 1
                self._tell(before)
        return taken

    async def pull_heard(self) -> int:
        """From those who announced something newer since; how many were taken. A failure is kept in `failure`."""
        heard, self._newer_at = list(self._newer_at), {}
        taken = 0
        for peer in heard:
            try:
                taken += await self.pull(peer)
                self._failure = ""
            except LittoralError as error:
                self._failure = f"{peer}: {error.message}"
        return taken

    async def _serve(self, _caller: str, body: bytes) -> bytes:
        theirs = _decoded(body, Numbers)
        ours = self._store.numbers()
        newer = [self._store.signed(kind) for kind, number in ours.items() if number > theirs.get(kind, 0)]
        return msgspec.json.encode(newer)

    def _heard(self, sender: str, _topic: str, body: bytes) -> None:
        try:
            theirs = _decoded(body, Numbers)
        except InputError as error:
            self._failure = f"{sender}: {error.message}"
            return
        ours = self._store.numbers()
        if any(number > ours.get(kind, 0) for kind, number in theirs.items()):
            self._newer_at[sender] = None
        if any(number > theirs.get(kind, 0) for kind, number in ours.items()):
            self._is_ahead = True

    def _saw(self, _name: str, is_here: bool) -> None:
        self._is_ahead |= is_here

    def _tell(self, before: dict[str, int]) -> None:
        for kind, number in self._store.numbers().items():
            if before.get(kind) != number and (document := self._store.current(kind)) is not None:
                self._told(document)


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"documents: {error}") from error
