"""`wasi_ephemeral_nn` for an agent that is granted it: the site's compiled models, by name.

Whatever a guest passes costs it an error number of 0..8, never a trap and never an exception: guests take any other
number for impossible. Why a call was refused stands in the agent's log.

A model runs in the thread of the agent that asks, in an instance of that agent's own. `load` is refused: a node has no
compiler for guests to feed (docs/adr/0023-models-for-agents-by-name.md).
(wasi-nn, witx, phase 2; the dialects: `wasi_nn_tensors`)
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from littoral.clock import Clock
from littoral.errors import InputError, LittoralError, TooLargeError, UnavailableError
from littoral.runtime.agent_log import AgentLog
from littoral.runtime.guest_memory import GuestMemory, OutsideError
from littoral.runtime.host_modules import NEURAL, NEURAL_FUNCTIONS
from littoral.runtime.printable import printable
from littoral.runtime.sandbox import HostFunction
from littoral.runtime.wasi_nn_tensors import read_tensor
from littoral.tensors import Array, TensorSpec

__all__ = ["ModelForAgents", "NeuralHost", "NeuralModels", "OfferedModel"]

(
    SUCCESS,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    _MISSING_MEMORY,
    BUSY,
    RUNTIME_ERROR,
    UNSUPPORTED,
    TOO_LARGE,
    NOT_FOUND,
) = range(9)
ENCODINGS, TARGETS = range(6), range(4)  # openvino … autodetect; cpu, gpu, tpu, auto
NAME_BYTES_MAX = 256
BUILDERS_MAX = 1 << 16
MODELS_MAX = 8
CONTEXTS_MAX = 16
_WARNING, _DEBUG = 2, 4


class ModelForAgents(Protocol):
    """What is asked of a model: a `Session` has it."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run_within(self, feeds: Mapping[str, object], deadline_ms: int) -> dict[str, Array]: ...

    def close(self) -> None: ...


class OfferedModel(NamedTuple):
    """open: an instance for one agent; raises LittoralError. digest: of the module that it would be an instance of."""

    digest: str
    open: Callable[[], ModelForAgents]


NeuralModels = Mapping[str, OfferedModel]
"""By name. What stands behind a name may be replaced; agents see that when they load it again."""


class _RefusedError(Exception):
    """errno: 1..8, for the guest."""

    def __init__(self, errno: int, why: str) -> None:
        super().__init__(why)
        self.errno = errno


class _Context:
    """Inputs and outputs by index, as copies; None = not there yet."""

    def __init__(self, model: ModelForAgents) -> None:
        self.model = model
        self.inputs: list[Array | None] = [None] * len(model.inputs)
        self.outputs: list[Array] | None = None

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in (*self.inputs, *(self.outputs or ())) if array is not None)


class NeuralHost:
    """For one instance of an agent. Handles count up from 1, never come twice, and mean nothing to others.

    models: those that the agent may use. bytes_max: of inputs and outputs that are kept here for it. At most 8 models
    and 16 contexts are open; of contexts the one that was unused for longest ends when another is made.
    """

    def __init__(self, models: NeuralModels, log: AgentLog, clock: Clock, *, bytes_max: int) -> None:
        self._known = models
        self._log = log
        self._clock = clock
        self._bytes_max = bytes_max
        self._until_s = 0.0
        self._handle = 0
        self._graphs: dict[int, ModelForAgents] = {}
        self._named: dict[str, tuple[str, int]] = {}
        self._contexts: OrderedDict[int, _Context] = OrderedDict()

    def functions(self) -> Mapping[str, HostFunction]:
        """By `module.name`."""
        calls: dict[str, Callable[..., None]] = {
            "load": self._load,
            "load_by_name": self._load_by_name,
            "init_execution_context": self._init_execution_context,
            "set_input": self._set_input,
            "compute": self._compute,
            "get_output": self._get_output,
        }
        return {
            f"{NEURAL}.{name}": HostFunction(NEURAL_FUNCTIONS[name], self._numbered(name, call))
            for name, call in calls.items()
        }

    def begin(self, deadline_ms: int) -> None:
        """A call of the agent begins, and may take so long: models it runs are held to what is left."""
        self._until_s = self._clock.monotonic() + deadline_ms / 1000

    def close(self) -> None:
        """Frees the instances of models."""
        self._contexts.clear()
        graphs, self._graphs = self._graphs, {}
        for model in graphs.values():
            model.close()

    def _numbered(self, name: str, call: Callable[..., None]) -> Callable[..., int]:
        def numbered(memory: Array, *values: int) -> int:
            try:
                call(GuestMemory(memory), *values)
            except OutsideError as error:
                return self._told(name, INVALID_ARGUMENT, str(error))
            except _RefusedError as error:
                return self._told(name, error.errno, str(error))
            except LittoralError as error:
                return self._told(name, _errno_of(error), error.message)
            except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
                return self._told(name, RUNTIME_ERROR, f"{type(error).__name__}: {error}")
            return SUCCESS

        return numbered

    def _told(self, name: str, errno: int, why: str) -> int:
        self._log.say(_DEBUG if errno in (BUSY, NOT_FOUND) else _WARNING, f"{NEURAL}.{name}: error {errno}: {why}")
        return errno

    def _next(self) -> int:
        self._handle += 1
        return self._handle

    def _load(self, memory: GuestMemory, builders: int, count: int, encoding: int, target: int, out: int) -> None:
        memory.span(out, 4)
        memory.span(builders, min(count & 0xFFFFFFFF, BUILDERS_MAX) * 8)
        if encoding not in ENCODINGS:
            raise _RefusedError(INVALID_ENCODING, f"encoding {encoding} is unknown")
        if target not in TARGETS:
            raise _RefusedError(INVALID_ARGUMENT, f"target {target} is unknown")
        raise _RefusedError(UNSUPPORTED, "models come by `load_by_name`, compiled by `littoral build`")

    def _load_by_name(self, memory: GuestMemory, at: int, size: int, out: int) -> None:
        memory.span(out, 4)
        span = memory.span(at, size)
        if span.size > NAME_BYTES_MAX:
            raise _RefusedError(TOO_LARGE, f"name of {span.size} bytes, at most {NAME_BYTES_MAX}")
        try:
            name = span.tobytes().decode()
        except UnicodeDecodeError as error:
            raise _RefusedError(INVALID_ARGUMENT, f"name is no text: {error}") from error
        memory.put(out, self._opened(name))

    def _opened(self, name: str) -> int:
        """The graph of what is offered by this name now; graph and contexts of what was before end."""
        if (offered := self._known.get(name)) is None:
            known = ", ".join(f"`{name}`" for name in self._known) or "none"
            raise _RefusedError(NOT_FOUND, f"no model `{printable(name)}` for this agent, there are: {known}")
        digest, handle = self._named.get(name, ("", 0))
        if digest == offered.digest:
            return handle
        if handle:
            self._end(name, handle)
        if len(self._graphs) >= MODELS_MAX:
            raise _RefusedError(TOO_LARGE, f"{len(self._graphs)} models are open, at most {MODELS_MAX}")
        model = offered.open()
        handle = self._next()
        self._graphs[handle] = model
        self._named[name] = (offered.digest, handle)
        return handle

    def _end(self, name: str, handle: int) -> None:
        model = self._graphs.pop(handle)
        del self._named[name]
        for context in [key for key, context in self._contexts.items() if context.model is model]:
            del self._contexts[context]
        model.close()

    def _init_execution_context(self, memory: GuestMemory, graph: int, out: int) -> None:
        memory.span(out, 4)
        if (model := self._graphs.get(graph & 0xFFFFFFFF)) is None:
            raise _RefusedError(INVALID_ARGUMENT, f"no graph {graph & 0xFFFFFFFF}")
        if len(self._contexts) >= CONTEXTS_MAX:
            self._contexts.popitem(last=False)
        handle = self._next()
        self._contexts[handle] = _Context(model)
        memory.put(out, handle)

    def _context(self, handle: int) -> _Context:
        if (context := self._contexts.get(handle & 0xFFFFFFFF)) is None:
            raise _RefusedError(INVALID_ARGUMENT, f"no context {handle & 0xFFFFFFFF}")
        self._contexts.move_to_end(handle & 0xFFFFFFFF)
        return context

    def _set_input(self, memory: GuestMemory, handle: int, index: int, tensor: int) -> None:
        context = self._context(handle)
        spec = _of(context.model.inputs, index, "input")
        at = index & 0xFFFFFFFF
        context.inputs[at] = None
        context.inputs[at] = read_tensor(memory, tensor, spec, bytes_max=self._bytes_max - self._kept())
        context.outputs = None

    def _compute(self, _memory: GuestMemory, handle: int) -> None:
        context = self._context(handle)
        context.outputs = None
        feeds = {}
        for spec, array in zip(context.model.inputs, context.inputs, strict=True):
            if array is None:
                raise _RefusedError(RUNTIME_ERROR, f"input {spec} was not set")
            feeds[spec.name] = array
        if (left_ms := int((self._until_s - self._clock.monotonic()) * 1000)) < 1:
            raise _RefusedError(BUSY, "no time is left for a model")
        found = context.model.run_within(feeds, left_ms)
        outputs = [np.ascontiguousarray(found[spec.name]) for spec in context.model.outputs]
        if (size := self._kept() + sum(array.nbytes for array in outputs)) > self._bytes_max:
            raise _RefusedError(TOO_LARGE, f"inputs and outputs of {size} bytes, at most {self._bytes_max}")
        context.outputs = outputs

    def _get_output(self, memory: GuestMemory, handle: int, index: int, at: int, size: int, out: int) -> None:
        context = self._context(handle)
        spec = _of(context.model.outputs, index, "output")
        memory.span(out, 4)
        place = memory.span(at, size)
        if context.outputs is None:
            raise _RefusedError(RUNTIME_ERROR, f"output {spec} is not there before `compute`")
        array = context.outputs[index & 0xFFFFFFFF]
        if array.nbytes > place.size:
            raise _RefusedError(TOO_LARGE, f"output {spec}: {array.nbytes} bytes, the buffer has {place.size}")
        place[: array.nbytes] = array.reshape(-1).view(np.uint8)
        memory.put(out, array.nbytes)

    def _kept(self) -> int:
        return sum(context.bytes for context in self._contexts.values())


def _of(specs: tuple[TensorSpec, ...], index: int, what: str) -> TensorSpec:
    if (at := index & 0xFFFFFFFF) >= len(specs):
        raise _RefusedError(INVALID_ARGUMENT, f"no {what} {at}, the model has {len(specs)}")
    return specs[at]


def _errno_of(error: LittoralError) -> int:
    if isinstance(error, InputError | TooLargeError):
        return TOO_LARGE if isinstance(error, TooLargeError) else INVALID_ARGUMENT
    return BUSY if isinstance(error, UnavailableError) else RUNTIME_ERROR
