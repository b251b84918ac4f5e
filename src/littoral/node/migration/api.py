"""`/api/collections/{collection}`: whose embeddings a collection holds, and its way to another model."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from littoral.errors import InputError, NotOfferedError, SettingError
from littoral.node.migration.migration import Progress
from littoral.node.migration.migrations import Migrations
from littoral.node.node import Node
from littoral.telemetry import Reading
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["StartBody", "migration_readings", "migrations_protocol"]

COLLECTION = "/api/collections/{collection}"
MIGRATION = f"{COLLECTION}/migration"
REFUSED_TOLD_MAX = 20
VECTORS_MAX = 64


Version = Annotated[str, Meta(max_length=200)]


class StartBody(msgspec.Struct, forbid_unknown_fields=True):
    """to: `MODEL@VERSION` of the site file; of vectors with names, or of several, by vector."""

    to: Version | Annotated[dict[str, Version], Meta(min_length=1, max_length=VECTORS_MAX)]


def migrations_protocol(node: Node) -> Protocol:
    """JSON for the command line, and for people with curl. Every answer is what `GET` says."""

    async def told(request: Request) -> Answer:
        return json_answer(_told(node, request.names["collection"]))

    async def start(request: Request) -> None:
        body = await request.json(StartBody)
        try:
            await _migrations(node).start(request.names["collection"], body.to)
        except SettingError as error:
            raise InputError(error.message, hint=error.hint) from error

    async def back(request: Request) -> None:
        await _migrations(node).back(request.names["collection"])

    async def drop(request: Request) -> None:
        await _migrations(node).drop(request.names["collection"])

    def then(work: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Awaitable[Answer]]:
        async def answer(request: Request) -> Answer:
            await work(request)
            return await told(request)

        return answer

    routes = (
        Route("GET", COLLECTION, told),
        Route("POST", MIGRATION, then(start)),
        Route("POST", f"{MIGRATION}/back", then(back)),
        Route("DELETE", MIGRATION, then(drop)),
    )
    return Protocol((), routes)


def migration_readings(node: Node) -> list[Reading]:
    """For the metrics."""
    found: list[Reading] = []
    for name, told in (node.migrations.all() if node.migrations else {}).items():
        progress = told.progress
        found += [
            Reading("littoral_migration_points", (name,), progress.points),
            Reading("littoral_migration_points_done", (name,), progress.done),
            Reading("littoral_migration_points_behind", (name,), told.behind),
            Reading("littoral_migration_points_refused", (name,), told.refused),
            Reading("littoral_migration_flipped", (name,), progress.state == "flipped"),
        ]
    return found


def _migrations(node: Node) -> Migrations:
    if node.migrations is None:
        raise NotOfferedError("this node takes no collection to another model")
    return node.migrations


def _told(node: Node, name: str) -> dict[str, Any]:
    collection = node.collections.get(name)
    migrations = node.migrations
    running = None if migrations is None else migrations.all().get(collection.name)
    return {
        "name": collection.name,
        "models": [str(model) for model in collection.config.all_models],
        "vectors": {
            vector: [str(model) for model in collection.config.models_of(vector)] for vector in collection.config.dense
        },
        "strict": collection.is_strict,
        "migration": None if running is None else _migration(running.progress, running.behind),
        "failure": "" if migrations is None else migrations.failure(name),
    }


def _migration(progress: Progress, behind: int) -> dict[str, Any]:
    return {
        "state": progress.state,
        "current": str(progress.current),
        "other": str(progress.other),
        "vectors": list(progress.other),
        "points": progress.points,
        "done": progress.done,
        "embedded": progress.embedded,
        "behind": behind,
        "is_whole": progress.is_whole,
        "why": progress.why,
        "refused": [{"id": point, "why": why} for point, why in list(progress.refused.items())[:REFUSED_TOLD_MAX]],
        "checked": None if progress.checked is None else progress.checked._asdict(),
        "flip_ms": progress.flip_ms,
    }
