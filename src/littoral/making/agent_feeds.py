"""Files made into a model's inputs by the agents that a pipeline puts before its model."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from littoral.errors import AgentError, InputError, NotFoundError
from littoral.runtime.agents import Agent
from littoral.tensors import Array

__all__ = ["FeedAgent", "feeds_through"]

FILES_MAX = 10_000
FILE_BYTES_MAX = 1 << 28


class FeedAgent(msgspec.Struct, frozen=True):
    """An agent as it is opened: arguments of `Agent.open`; path and files are absolute, or `builtin:NAME`."""

    name: str
    path: str
    config: dict[str, Any] = {}
    files: dict[str, str] = {}
    memory_bytes: int | None = None
    deadline_ms: int | None = None
    grants: tuple[str, ...] = ()
    sha256: str | None = None

    def open(self) -> Agent:
        """Raises as `Agent.open`."""
        return Agent.open(
            self.path,
            self.config,
            name=self.name,
            memory_bytes=self.memory_bytes,
            deadline_ms=self.deadline_ms,
            grants=self.grants,
            sha256=self.sha256,
            files={key: Path(path) for key, path in self.files.items()},
        )


def feeds_through(folder: Path, agents: Sequence[FeedAgent]) -> list[Mapping[str, Array]]:
    """A feed for each file of the folder, in the order of the names.

    A single tensor goes by the name "": it fits the only input whatever that is called. Raises NotFoundError, what
    the agents raise, and InputError for a file that they cannot read.
    """
    files = _files(folder)
    with ExitStack() as stack:
        opened = [stack.enter_context(agent.open()) for agent in agents]
        return [_feed(file, opened) for file in files]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NotFoundError(f"calibration `{folder}`: not a folder")
    found = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    files = sorted(itertools.islice(found, FILES_MAX + 1))
    if not 0 < len(files) <= FILES_MAX:
        raise InputError(f"`{folder}`: {len(files)} files, must be 1..{FILES_MAX}")
    return files


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
