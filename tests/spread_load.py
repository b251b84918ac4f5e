"""Who writes and reads notes on every node while their collection goes to another model."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from littoral.errors import LittoralError, UnavailableError
from spread_notes import NotesNode
from two_models import note


class Load:
    """Who writes and reads on every node; what was seen that should not be."""

    def __init__(self, nodes: Mapping[str, NotesNode], texts: dict[int, str], count: int) -> None:
        """count: of the notes that are looked for, by their numbers."""
        self.nodes = nodes
        self.texts = texts
        self.count = count
        self.wrong: list[str] = []
        self.found = 0
        self.is_over = False

    async def write(self, node: NotesNode, number: int) -> None:
        while not self.is_over:
            await asyncio.sleep(0.05)
            number += 1
            text = f"{note(number)} written {number}"
            try:
                await node.keep(number, text)
                self.texts[number] = text
            except UnavailableError:
                continue
            except LittoralError as error:
                self.wrong.append(f"write: {error}")

    async def read(self, node: NotesNode) -> None:
        """A text that is there finds itself; a vector of the other model would find nothing so near."""
        number = 0
        while not self.is_over:
            await asyncio.sleep(0.02)
            number = (number + 1) % self.count
            try:
                answer = await node.answer("find", note(number).encode())
                hits: Any = answer.value
                if not (answer.how.search or {}).get("missing") and (not hits or hits[0].score < 0.999):
                    self.wrong.append(f"read: {note(number)} finds {hits[:1]}, {answer.how.search}")
            except UnavailableError:
                continue
            except LittoralError as error:
                self.wrong.append(f"read: {error}")
            self.found += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What was begun is waited for at the end."""
        async with asyncio.TaskGroup() as tasks:
            for at, node in enumerate(self.nodes.values(), 1):
                tasks.create_task(self.read(node))
                tasks.create_task(self.write(node, 100_000 * at))
            try:
                yield
            finally:
                self.is_over = True
