"""`littoral agent check`: what a node would say of an agent, from the same code that a node starts it with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.artifact.manifest import AGENT_SECTION
from littoral.clock import SYSTEM, Clock
from littoral.runtime.abi import Ports, grants_for
from littoral.runtime.agent_files import Files
from littoral.runtime.agents import Agent
from littoral.runtime.foreign_code import CODE_BYTES_MAX, STRANGERS, check_code_size
from littoral.runtime.modules import load_module, naming
from littoral.runtime.wasi_nn import NeuralModels

__all__ = ["ANY_SIZE", "CheckedAgent", "check_agent", "needed_grants"]

ANY_SIZE = STRANGERS._replace(code_bytes=CODE_BYTES_MAX)
"""Bounds for whoever wants to know what a site file must say."""


@dataclass(frozen=True)
class CheckedAgent:
    """As it started. code_bytes: of its functions. takes, gives: so configured. memory_bytes: in use after `init`.
    ms: to load and start.
    """

    path: Path
    name: str
    version: str
    sha256: str
    bytes: int
    code_bytes: int
    takes: Ports
    gives: Ports
    grants: tuple[str, ...]
    imports: tuple[str, ...]
    memory_bytes: int
    memory_bytes_max: int
    deadline_ms: int
    is_configurable: bool
    ms: float


def needed_grants(path: Path) -> tuple[str, ...]:
    """What a site file must grant the agent. Raises as `Agent.open`."""
    module = load_module(path, AGENT_SECTION, engine="guarded", bounds=ANY_SIZE)
    with naming(path):
        return tuple(grant for grant in grants_for(module.code.interface) if not grant.startswith("littoral."))


def check_agent(
    path: Path,
    config: Mapping[str, Any] | None = None,
    *,
    grants: Sequence[str] | None = None,
    models: NeuralModels | None = None,
    files: Files | None = None,
    memory_bytes: int | None = None,
    deadline_ms: int | None = None,
    clock: Clock = SYSTEM,
) -> CheckedAgent:
    """Starts the agent as a node does, and ends it. grants: default all that it needs. Raises as `Agent.open`."""
    module = load_module(path, AGENT_SECTION, engine="guarded", bounds=ANY_SIZE)
    given = needed_grants(path) if grants is None else grants
    began = clock.monotonic()
    with Agent.open(
        path,
        config,
        grants=given,
        models=models,
        files=files,
        memory_bytes=memory_bytes,
        deadline_ms=deadline_ms,
        bounds=ANY_SIZE,
    ) as agent:
        ms = (clock.monotonic() - began) * 1000
        manifest = agent.manifest
        return CheckedAgent(
            path=path,
            name=agent.name,
            version=manifest.version,
            sha256=module.digest,
            bytes=path.stat().st_size,
            code_bytes=check_code_size(path.read_bytes()),
            takes=agent.input,
            gives=agent.output,
            grants=tuple(given),
            imports=tuple(sorted(str(wanted) for wanted in module.code.interface.imports)),
            memory_bytes=agent.statistics().memory_bytes,
            memory_bytes_max=memory_bytes or manifest.memory_bytes_max,
            deadline_ms=deadline_ms or manifest.deadline_ms,
            is_configurable=manifest.config is not None,
            ms=ms,
        )
