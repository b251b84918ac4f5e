"""Files made into a model's inputs by the agents that a pipeline puts before its model."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from littoral.errors import AgentError, InputError, NotFoundError
from littoral.node.site import Site, read_site
from littoral.node.site_tables import AgentStepTable, ModelStepTable
from littoral.runtime.agents import Agent
from littoral.tensors import Array

__all__ = ["feeds_through"]

FILES_MAX = 10_000
FILE_BYTES_MAX = 1 << 28


def feeds_through(folder: Path, through: str) -> list[Mapping[str, Array]]:
    """A feed for each file of the folder, in the order of the names. through: `SITE.toml:PIPELINE`.

    A single tensor goes by the name "": it fits the only input whatever that is called. Raises NotFoundError, what
    the site file and the agents raise, and InputError for a pipeline that does other work before its model.
    """
    path, _, pipeline = through.rpartition(":")
    if not path:
        raise InputError(f"`--through {through}` is not SITE.toml:PIPELINE")
    files = _files(folder)
    with ExitStack() as stack:
        agents = [stack.enter_context(agent) for agent in _agents(read_site(Path(path)), pipeline)]
        return [_feed(file, agents) for file in files]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NotFoundError(f"calibration `{folder}`: not a folder")
    found = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = sorted(itertools.islice(found, FILES_MAX + 1))
    if not 0 < len(files) <= FILES_MAX:
        raise InputError(f"`{folder}`: {len(files)} files, must be 1..{FILES_MAX}")
    return files


def _agents(site: Site, pipeline: str) -> Iterator[Agent]:
    if (steps := site.pipelines.get(pipeline)) is None:
        raise NotFoundError(f"`{site.file}` has no pipeline `{pipeline}`; it has {', '.join(site.pipelines)}")
    before = list(itertools.takewhile(lambda step: not isinstance(step, ModelStepTable), steps))
    names = [step.agent for step in before if isinstance(step, AgentStepTable)]
    if not names or len(names) != len(before) or len(before) == len(steps):
        raise InputError(
            f"pipeline `{pipeline}` of `{site.file}`: feeds come of pipelines that begin with agents, then a model"
        )
    for name in names:
        table = site.agents[name]
        yield Agent.open(
            site.agent_path(table),
            table.config,
            name=name,
            memory_bytes=None if table.memory_mb is None else table.memory_mb << 20,
            deadline_ms=table.deadline_ms,
            grants=table.grants,
            sha256=table.sha256,
            files={key: site.path_of(path) for key, path in table.files.items()},
        )


def _feed(file: Path, agents: Sequence[Agent]) -> Mapping[str, Array]:
    if (size := file.stat().st_size) > FILE_BYTES_MAX:
        raise InputError(f"`{file}`: {size} bytes, at most {FILE_BYTES_MAX}")
    value: bytes | Mapping[str, Array] = file.read_bytes()
    for agent in agents:
        try:
            value = agent.infer(value)
        except (AgentError, InputError) as error:
            raise InputError(f"`{file}`: {error.message}", hint=error.hint) from error
    if isinstance(value, bytes):
        raise InputError(f"`{file}`: the last agent gives bytes, a model takes tensors")
    return {"": next(iter(value.values()))} if len(value) == 1 else value
