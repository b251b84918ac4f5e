"""A node's process for tests that kill it: keeps answers and labels, and tells each once it is acknowledged."""

import asyncio
import itertools
import sys
from pathlib import Path

from kept_answers import SIZE, entry, vector
from littoral.answers.store import AnswerStore, StoreBounds
from littoral.clock import SYSTEM
from littoral.errors import LittoralError
from littoral.node.gateway.answers_collection import AnswersEmbedder, open_store
from littoral.node.supervisor_link import SupervisorLink
from littoral.vectors.collections import Collections

WRITERS = 4
LABELS = 3


async def nothing(_question: str) -> list[float]:
    return [0.0] * SIZE


async def write(store: AnswerStore, first: int) -> None:
    for number in itertools.count(first, WRITERS):
        try:
            if await store.put(entry(number, expires_at_s=0), vector(number)):
                print("kept", number, flush=True)
            for label in range(LABELS):
                if await store.observe(entry(number).id, label / 4, label % 2 == 0):
                    print("observed", number, flush=True)
        except LittoralError as error:  # not acknowledged: it may be there or not
            print("refused", number, error.message, flush=True)


async def main(data: Path, first: int) -> None:
    async with SupervisorLink.from_environment() as link:
        collections = await Collections.open(data, link)
        embedder = AnswersEmbedder(SIZE, (), nothing)
        opened = open_store(collections, data / "beside", "answers", embedder, StoreBounds(), SYSTEM, lambda _: None)
        async with opened as store:
            link.ready()
            await asyncio.gather(*(write(store, first + at) for at in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
