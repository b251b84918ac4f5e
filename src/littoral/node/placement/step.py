"""A step of a model or an agent that may run on another node."""

from typing import NamedTuple

from littoral.errors import SettingError
from littoral.node.placement.asker import Asker, MovableStep
from littoral.node.placement.workplace import agent_key, model_key
from littoral.node.residency import Residency, Wish
from littoral.runtime.edges import EdgeType, TensorsType, Value, tensors_of
from littoral.runtime.guest_steps import AgentStage, AgentStep, ModelStage, ModelStep
from littoral.runtime.step import How
from littoral.tensors import DTYPES

__all__ = ["PlacedStage", "PlacedStep"]


class PlacedStep:
    """digest: of the model or agent: only a node that has the same may run it. bounds: who may have the data."""

    def __init__(
        self, step: ModelStep | AgentStep, digest: str, asker: Asker, wish: Wish, bounds: tuple[Residency, ...]
    ) -> None:
        self.name = step.name
        self._step = step
        self._key = model_key(digest) if isinstance(step, ModelStep) else agent_key(digest)
        self._asker = asker
        self._wish = wish
        self._bounds = bounds

    @property
    def takes(self) -> EdgeType:
        return self._step.takes

    def bind(self, given: EdgeType) -> "PlacedStage":
        stage = self._step.bind(given)
        takes = self._step.takes
        for kind in (takes, stage.gives):
            _check_travels(kind)
        take = stage.take if isinstance(stage, ModelStage) else ()
        dtypes = {port.name: port.dtype for port in takes.ports} if isinstance(takes, TensorsType) else {}
        self._asker.want(self._key, self._bounds)
        movable = MovableStep(self.name, self._key, self._wish, self._bounds, take, dtypes, stage.gives)
        return PlacedStage(stage.gives, stage, movable, self._asker)


class PlacedStage(NamedTuple):
    gives: EdgeType
    stage: ModelStage | AgentStage
    movable: MovableStep
    asker: Asker

    async def run(self, value: Value, how: How) -> Value:
        """As the stage itself. Raises what it raises, where no other node had answered before."""
        given = self._given(value)
        return await self.asker.run(self.movable, given, lambda: self.stage.run(value, how), how)

    def _given(self, value: Value) -> Value:
        """As another node wants it: under the names of the model's or agent's ports."""
        if self.stage.fits is None:
            return value
        tensors = tensors_of(value)
        return {fit.port: fit.of(tensors) for fit in self.stage.fits}


def _check_travels(kind: EdgeType) -> None:
    for port in kind.ports if isinstance(kind, TensorsType) else ():
        if not DTYPES[port.dtype].safetensors:
            raise SettingError(
                f"has {port}, of a dtype that no safetensors frame holds",
                hint='leave `place` out, or `place = "here"`',
            )
