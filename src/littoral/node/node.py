"""What one site machine runs, as its protocols see it: models, agents, collections, pipelines by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from littoral.artifact import Model
from littoral.clock import SYSTEM, Clock
from littoral.runtime.agents import Agent
from littoral.runtime.batching import Batcher
from littoral.runtime.instance import Session
from littoral.runtime.memory_budget import MemoryBudget
from littoral.runtime.pipeline import Pipeline
from littoral.runtime.pool import Pool
from littoral.vectors.collections import Collections

__all__ = ["Instances", "Node", "ServedAgent", "ServedModel", "ServedPipeline", "StepDescription"]


class Instances(NamedTuple):
    """How many warm instances a pool keeps, and makes at most."""

    min: int = 1
    max: int = 1


class ServedModel(NamedTuple):
    name: str
    model: Model
    pool: Pool[Session]
    instances: Instances


class ServedAgent(NamedTuple):
    name: str
    pool: Pool[Agent]
    instances: Instances


class StepDescription(NamedTuple):
    """kind: agent, model, step, search, upsert or for_each. uses: the agent, model, host step or collection it names.

    sources: the steps that it is given something by; `input` is the pipeline's own.
    """

    name: str
    kind: str
    uses: str
    takes: str
    gives: str
    sources: tuple[str, ...] = ()


class ServedPipeline(NamedTuple):
    name: str
    pipeline: Pipeline
    steps: tuple[StepDescription, ...]


@dataclass
class Node:
    """Made by `wiring.open_node`. is_ready: false while it starts, and again when it stops.

    batchers: of the pools of models whose requests are computed together. budget: memory of all instances.
    """

    name: str
    listen: str
    data: Path
    collections: Collections
    models: Mapping[str, ServedModel] = field(default_factory=dict)
    agents: Mapping[str, ServedAgent] = field(default_factory=dict)
    pipelines: Mapping[str, ServedPipeline] = field(default_factory=dict)
    batchers: Mapping[Pool[Session], Batcher] = field(default_factory=dict)
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    clock: Clock = SYSTEM
    started_at: float = 0.0
    is_ready: bool = False
