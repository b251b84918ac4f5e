"""The agents that a pipeline of a site file puts before its model: they make feeds of files."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from littoral.errors import InputError, NotFoundError
from littoral.making.agent_feeds import FeedAgent
from littoral.node.site import Site, read_site
from littoral.node.site_tables import AgentStepTable, ModelStepTable

__all__ = ["agents_before", "agents_through"]


def agents_through(through: str | None) -> tuple[FeedAgent, ...] | None:
    """through: `SITE.toml:PIPELINE`. Raises InputError, and what `read_site` and `agents_before` raise."""
    if through is None:
        return None
    path, _, pipeline = through.rpartition(":")
    if not path:
        raise InputError(f"`--through {through}` is not SITE.toml:PIPELINE")
    return agents_before(read_site(Path(path)), pipeline)


def agents_before(site: Site, pipeline: str) -> tuple[FeedAgent, ...]:
    """Raises NotFoundError, and InputError for a pipeline that does other work before its model."""
    if (steps := site.pipelines.get(pipeline)) is None:
        raise NotFoundError(f"`{site.file}` has no pipeline `{pipeline}`; it has {', '.join(site.pipelines)}")
    before = list(itertools.takewhile(lambda step: not isinstance(step, ModelStepTable), steps))
    names = [step.agent for step in before if isinstance(step, AgentStepTable)]
    if not names or len(names) != len(before) or len(before) == len(steps):
        raise InputError(
            f"pipeline `{pipeline}` of `{site.file}`: feeds come of pipelines that begin with agents, then a model"
        )
    return tuple(_agents(site, names))


def _agents(site: Site, names: list[str]) -> Iterator[FeedAgent]:
    for name in names:
        table = site.agents[name]
        yield FeedAgent(
            name,
            str(site.agent_path(table)),
            table.config,
            {key: str(site.path_of(path).absolute()) for key, path in table.files.items()},
            None if table.memory_mb is None else table.memory_mb << 20,
            table.deadline_ms,
            tuple(table.grants),
            table.sha256,
        )
