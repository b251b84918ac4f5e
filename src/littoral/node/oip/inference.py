"""One inference from its tensors to its tensors, whatever transport carries them."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.errors import DeadlineError, InputError
from littoral.node.model_statistics import ModelStatistics, Spent
from littoral.node.node import Node, ServedModel
from littoral.node.observed import Observed
from littoral.node.oip.classes import classified
from littoral.node.oip.datatypes import BYTES, Values, check_shape
from littoral.node.oip.requests import (
    Answered,
    InferAnswer,
    InferRequest,
    Output,
    priority_of,
    request_deadline_ms,
    sequence_of,
)
from littoral.node.oip.targets import ModelTarget, PipelineTarget, Port, Target, Targets
from littoral.node.origin import Origin, coming_from
from littoral.node.sequences import Flags
from littoral.runtime.call import Call, Waits, calling
from littoral.runtime.instance import Session
from littoral.runtime.step import How
from littoral.tensors import DTYPES, Array

__all__ = ["Inference"]


@dataclass
class _Times:
    """Seconds on the node's clock. run: the model's own."""

    began: float
    decoded: float = 0.0
    run_began: float = 0.0
    run_ended: float = 0.0


class Inference:
    """Of one node: what both transports call."""

    def __init__(self, node: Node, observed: Observed) -> None:
        self.node = node
        self.targets = Targets(node)
        self.observed = observed
        self._pipelines: dict[str, ModelStatistics] = {}

    def asked_statistics(self, name: str, version: str) -> list[tuple[Target, ModelStatistics]]:
        """Of one version, of every open version of a model, or ('') of all. Raises as `Targets.find`."""
        if version:
            found = [self.targets.find(name, version)]
        else:
            names = [name] if name else self.targets.names()
            found = [self.targets.find(known, number) for known in names for number in self.targets.versions(known)]
        return [(target, self.statistics(target)) for target in found]

    def statistics(self, target: Target) -> ModelStatistics:
        if isinstance(target, ModelTarget):
            return target.version.statistics
        return self._pipelines.setdefault(target.served.name, ModelStatistics())

    async def infer(self, name: str, version: str, request: InferRequest) -> InferAnswer:
        """Raises NotFoundError, InputError, UnavailableError, DeadlineError, SandboxError; what a pipeline raises."""
        times = _Times(self.node.clock.monotonic())
        target = self.targets.find(name, version)
        try:
            if isinstance(target, PipelineTarget):
                answer = await self._pipeline(target, request, times)
            elif (flags := sequence_of(request.parameters)) is not None:
                answer = await self._sequence(target.served, target, flags, request, times)
            else:
                answer, _ = await self._model(target, request, times, {}, {})
        except BaseException:
            ended = self.node.clock.monotonic()
            for counted in self._counted(target):
                counted.failed(ended - times.began, self.node.clock.wall())
            raise
        self._succeeded(target, times)
        return answer

    def _succeeded(self, target: Target, times: _Times) -> None:
        ended = self.node.clock.monotonic()
        spent = Spent(
            times.run_began - times.decoded,
            times.decoded - times.began,
            times.run_ended - times.run_began,
            ended - times.run_ended,
            ended - times.began,
        )
        for counted in self._counted(target):
            counted.succeeded(spent, self.node.clock.wall())

    def _counted(self, target: Target) -> list[ModelStatistics]:
        """Of the version, and of the model as a whole."""
        more = [target.served.statistics] if isinstance(target, ModelTarget) else []
        return [self.statistics(target), *more]

    async def _pipeline(self, target: PipelineTarget, request: InferRequest, times: _Times) -> InferAnswer:
        feeds = await self._feeds(target, request, ())
        wanted = _wanted(target, request.outputs)
        deadline_ms = request_deadline_ms(request)
        times.decoded = times.run_began = self.node.clock.monotonic()
        with self.observed.pipeline(target.served.name) as outcome:
            with coming_from(Origin(_content(feeds), request.id, at=self.node.clock.wall())):
                answer = await target.served.pipeline.run(
                    target.value(feeds), deadline_ms=deadline_ms, priority=priority_of(request.parameters)
                )
            outcome.stages_ms = answer.how.stages
        times.run_ended = self.node.clock.monotonic()
        return _answer(target, wanted, target.outputs_of(answer.value), answer.how, None)

    async def _sequence(
        self, served: ServedModel, target: ModelTarget, flags: Flags, request: InferRequest, times: _Times
    ) -> InferAnswer:
        if not (ports := served.sequences.ports):
            raise InputError(
                f"model `{served.name}` keeps no state between requests",
                hint='name its inputs and outputs of state in the site file: `state = { input = "output" }`',
            )
        async with served.sequences.turn(flags, target.version) as sequence:
            target = ModelTarget(served, sequence.version)
            answer, given = await self._model(target, request, times, ports, sequence.state)
            sequence.state = {taken: given[name] for taken, name in ports.items()}
            return answer

    async def _model(
        self,
        target: ModelTarget,
        request: InferRequest,
        times: _Times,
        ports: Mapping[str, str],
        state: Mapping[str, Array] | None,
    ) -> tuple[InferAnswer, Mapping[str, Array]]:
        """The answer, and all that the model gave. ports, state: of a sequence; None = it begins."""
        feeds = await self._feeds(target, request, ports)
        wanted = _wanted(target, request.outputs)
        feeds = {**feeds, **(_zeros(target, ports, feeds) if state is None else state)}
        times.decoded = self.node.clock.monotonic()
        arrays = {name: values for name, values in feeds.items() if not isinstance(values, list)}
        given = await self._run(target, arrays, request, times)
        run_ms = round((times.run_ended - times.decoded) * 1000, 3)
        how = How(node=self.node.name, stages={target.name: run_ms})
        return _answer(target, wanted, given, how, target.version.model.manifest.labels), given

    async def _run(
        self, target: ModelTarget, feeds: Mapping[str, Array], request: InferRequest, times: _Times
    ) -> dict[str, Array]:
        clock, deadline_ms, priority = self.node.clock, request_deadline_ms(request), priority_of(request.parameters)

        def work(session: Session) -> dict[str, Array]:
            times.run_began = clock.monotonic()
            outputs = session.run(feeds)
            times.run_ended = clock.monotonic()
            return outputs

        pool = target.version.pool
        if pool.mirror is not None:
            pool.mirror(feeds)
        batcher = self.node.batchers.get(pool)
        if batcher is None and pool.first.engine == "trusted" and (ran := pool.run_here(work)) is not None:
            if times.run_ended - times.decoded > deadline_ms / 1000:
                raise _late(target, deadline_ms)
            return ran[0]
        gate = self.node.gate
        call = Call(clock.monotonic() + deadline_ms / 1000, priority, Waits(), self.node.tenant)
        try:
            with calling(call):
                async with (
                    asyncio.timeout(deadline_ms / 1000) as limit,
                    contextlib.nullcontext() if gate is None else gate.entered(call),
                ):
                    if batcher is None:
                        return await pool.run(work)
                    outputs = await batcher.run(feeds)
            assert call.waits is not None
            times.run_began, times.run_ended = times.decoded + call.waits.seconds, clock.monotonic()
            return outputs
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _late(target, deadline_ms) from error

    async def _feeds(
        self, target: Target, request: InferRequest, without: Sequence[str] | Mapping[str, str]
    ) -> Mapping[str, Values]:
        ports = [port for port in target.inputs if port.name not in without]
        if request.is_large:
            return await asyncio.to_thread(_feeds, target, ports, request)
        return _feeds(target, ports, request)


def _late(target: ModelTarget, deadline_ms: float) -> DeadlineError:
    return DeadlineError(f"model `{target.name}`: no answer in {deadline_ms:g} ms")


def _feeds(target: Target, ports: Sequence[Port], request: InferRequest) -> Mapping[str, Values]:
    label = f"model `{target.name}`: input"
    known = {port.name: port for port in ports}
    feeds: dict[str, Values] = {}
    for given in request.inputs:
        name = f"`{given.name[:80]}`"
        if (port := known.get(given.name)) is None:
            raise InputError(f"{label} {name} is unknown, takes {_told(ports)}")
        if given.name in feeds:
            raise InputError(f"{label} {name} is given twice")
        if given.datatype != port.datatype:
            raise InputError(f"{label} {name}: datatype is `{given.datatype[:20]}`, expected `{port.datatype}`")
        if not port.dtype and check_shape(given.shape, label) != 1:
            raise InputError(f"{label} {name}: shape {list(given.shape)[:8]}, a pipeline takes one element")
        feeds[given.name] = given.values(port, f"{label} {name}")
    if missing := [port.name for port in ports if port.name not in feeds]:
        raise InputError(f"{label} `{missing[0]}` is missing, takes {_told(ports)}")
    return feeds


def _content(feeds: Mapping[str, Values]) -> bytes:
    """What a point is made of, by which the same one is known again."""
    return b"".join(values[0] if isinstance(values, list) else values.tobytes() for values in feeds.values())


def _told(ports: Sequence[Port]) -> str:
    return ", ".join(f"`{port.name}` {port.datatype}{list(port.shape)}" for port in ports) or "no inputs"


def _wanted(target: Target, outputs: Sequence[Output]) -> Sequence[tuple[Port, Output]]:
    known = {port.name: port for port in target.outputs}
    for output in outputs:
        if output.name not in known:
            there = ", ".join(f"`{name}`" for name in known)
            raise InputError(f"model `{target.name}`: no output `{output.name[:80]}`, outputs: {there}")
    if len({output.name for output in outputs}) != len(outputs):
        raise InputError(f"model `{target.name}`: an output is asked for twice")
    return [(known[output.name], output) for output in outputs or map(Output, known)]


def _answer(
    target: Target,
    wanted: Sequence[tuple[Port, Output]],
    given: Mapping[str, Values],
    how: How,
    labels: Sequence[str] | None,
) -> InferAnswer:
    outputs = []
    for port, output in wanted:
        values = given[port.name]
        if output.class_count:
            values, shape = classified(
                values, output.class_count, labels, f"model `{target.name}`: output `{port.name}`"
            )
            outputs.append(Answered(port.name, BYTES, shape, values))
        else:
            shape = [len(values)] if isinstance(values, list) else values.shape
            outputs.append(Answered(port.name, port.datatype, shape, values))
    return InferAnswer(target.name, target.number, outputs, how)


def _zeros(target: ModelTarget, ports: Mapping[str, str], feeds: Mapping[str, Values]) -> Mapping[str, Array]:
    """The state of a sequence that begins, in the sizes that go with the other inputs."""
    variants = target.version.model.manifest.variants
    shapes = {name: values.shape for name, values in feeds.items() if not isinstance(values, list)}
    suited = (v for v in variants if all(shapes.get(p.name, p.shape) == p.shape for p in v.inputs))
    variant = next(suited, variants[0])
    return {p.name: np.zeros(p.shape, DTYPES[p.dtype].storage) for p in variant.inputs if p.name in ports}
