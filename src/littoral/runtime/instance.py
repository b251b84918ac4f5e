"""Compiled models at work: `load` gives a `Session`, whose `run` takes and gives numpy arrays.

Every manifest is a claim: it is held against the instance's real memory and exports before an address is used, and
dimensions that a call writes are checked before they are believed.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from littoral.artifact.manifest import MODEL_SECTION, PAGE_BYTES, Manifest, Variant
from littoral.clock import SYSTEM, Clock
from littoral.errors import ArtifactError, InputError, SettingError, UnavailableError
from littoral.runtime.batch import Batch
from littoral.runtime.division import Cores, Division
from littoral.runtime.engine import EngineKind
from littoral.runtime.fitting import Fitting, Run, fill, joined, trimmed
from littoral.runtime.inputs import as_stored
from littoral.runtime.layer_spans import LayerSpans, layer_spans
from littoral.runtime.model_memory import BoundVariant, bind_variant
from littoral.runtime.modules import LoadedModule, Source, load_module, naming
from littoral.runtime.printable import printable
from littoral.runtime.sandbox import Guest, Limits
from littoral.runtime.team import ALONE, HELP, STOP, Team
from littoral.telemetry import recorded_trace
from littoral.tensors import Array, TensorSpec, merged_specs

if TYPE_CHECKING:
    from littoral.artifact.signing import Signers

__all__ = ["Session", "SessionStatistics", "load"]

MEMORY_BYTES_MAX = 1 << 32
FOREIGN_MEMORY_BYTES_MAX = 1 << 30
FOREIGN_DEADLINE_MS = 10_000
ENTRY_SIGNATURE = "() -> ()"
HELP_SIGNATURE = "(i32) -> ()"
SHARED_MEMORY = "littoral.memory"


def load(
    model: Source,
    *,
    sha256: str | None = None,
    signers: "Signers | None" = None,
    memory_bytes: int | None = None,
    deadline_ms: int = FOREIGN_DEADLINE_MS,
) -> "Session":
    """A session for a compiled model: a path (the fastest), the bytes of the file, or a `Model`.

    A module that this installation compiled, or that the signers signed, runs in the engine without epochs. Any other
    runs guarded, within `memory_bytes` (default 1 GiB) and `deadline_ms` per call (default 10 s). sha256: what the file
    must have, in hex. signers: who must have signed it (`littoral.artifact.signing.Signers`); None = nobody.
    Raises NotFoundError, ArtifactError, TrustError, SettingError, SandboxError.
    """
    module = load_module(model, MODEL_SECTION, sha256=sha256, signers=signers)
    if memory_bytes is None:
        memory_bytes = FOREIGN_MEMORY_BYTES_MAX if module.code.kind == "guarded" else MEMORY_BYTES_MAX
    for what, value in (("memory_bytes", memory_bytes), ("deadline_ms", deadline_ms)):
        if value < 1:
            raise SettingError(f"`{what}` is `{value}`, must be at least 1")
    with naming(model):
        return Session(module, Limits(memory_bytes, deadline_ms))


@dataclass(frozen=True)
class SessionStatistics:
    """runs: calls that gave an answer. failures: calls that a trap or deadline ended; each costs an instance."""

    runs: int
    failures: int
    memory_bytes: int


class Session:
    """One instance of a compiled model. Thread-safe: calls take turns; for parallel ones use a `Pool`.

    Close it, or use it in a `with` block. `engine` is "trusted", "threaded" (which is trusted too) or "guarded";
    `is_cached` says whether its machine code was there already.
    """

    def __init__(self, module: LoadedModule, limits: Limits) -> None:
        self.manifest = Manifest.decode(module.manifest)
        self.label = f"model `{printable(self.manifest.name)}`"
        self.digest = module.digest
        self.is_cached = module.is_cached
        self._module = module
        self._limits = limits
        _check_module(self.manifest, module, self.label)
        self._names = tuple(port.name for port in self.manifest.variants[0].inputs)
        self._dtypes = tuple(port.dtype for port in self.manifest.variants[0].inputs)
        self._input_labels = tuple(f"{self.label}: input `{printable(name)}`" for name in self._names)
        self._turn = threading.Lock()
        self._runs = 0
        self._failures = 0
        self._is_closed = False
        self._cores: Cores | None = None
        self._division: Division | None = None
        self._layer_spans: LayerSpans | None = None
        self._bound: _Bound | None = self._bind()

    @property
    def engine(self) -> EngineKind:
        return self._module.code.kind

    @property
    def threads(self) -> int:
        """How many a call keeps busy: the module says so. All but the caller's belong to the session."""
        return self.manifest.threads

    @property
    def memory_bytes(self) -> int:
        """Memory of one instance: weights, which all instances share until they write, and arena."""
        return self.manifest.memory.pages * PAGE_BYTES

    @functools.cached_property
    def fitting(self) -> Fitting:
        """Which variants serve which shapes."""
        return Fitting(self.manifest)

    @functools.cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in order; −1 where the variants differ, or may be padded or split."""
        return merged_specs([self.fitting.loosened(variant) for variant in self.manifest.variants])

    @functools.cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in order; −1 where the variants differ or the size depends on the data, or on what was given."""
        return merged_specs([self.fitting.loosened_outputs(variant) for variant in self.manifest.variants])

    def run(self, feeds: Mapping[str, object]) -> dict[str, Array]:
        """Outputs by name, as copies. feeds: one array for every input (`littoral.runtime.inputs` has the rules).

        Shapes that no variant has are padded and split as the manifest allows (`littoral.runtime.fitting`); of several
        runs each has a deadline. Raises InputError naming the input, TrapError, DeadlineError; after one of the latter
        two the next call gets a fresh instance.
        """
        return self.run_copied(feeds, _nothing)

    def run_within(self, feeds: Mapping[str, object], deadline_ms: int) -> dict[str, Array]:
        """As `run`, with no more than `deadline_ms` for a call where the engine can stop one: the guarded one can."""
        return self.run_copied(feeds, _nothing, deadline_ms=deadline_ms)

    def run_copied(
        self, feeds: Mapping[str, object], copied: Callable[[], None], *, deadline_ms: int | None = None
    ) -> dict[str, Array]:
        """As `run`; calls `copied` when the inputs lie in the model's memory and the arrays given are free again."""
        arrays = self._accept(feeds)
        with self._turn:
            bound = self._alive()
            if isinstance(bound.guest, Guest):
                bound.guest.limits = self._limits.shortened(deadline_ms)
            runs = self._chosen(bound, arrays)
            try:
                outputs = self._called(bound, arrays, runs, copied)
            except BaseException:  # whatever ended the call: the memory may be half written
                self._drop()
                self._failures += 1
                raise
            self._runs += 1
            return outputs

    def _chosen(self, bound: "_Bound", arrays: list[Array]) -> list[Run]:
        """One run of the variant for exactly these shapes, or what `Fitting` makes of it. Raises InputError."""
        shapes = tuple(array.shape for array in arrays)
        if shapes in bound.variants:
            return [Run(shapes, {})]
        if (runs := self.fitting.runs(shapes)) is None:
            raise self._shape_error(arrays)
        return runs

    def _called(
        self, bound: "_Bound", arrays: list[Array], runs: Sequence[Run], copied: Callable[[], None]
    ) -> dict[str, Array]:
        axes, parts = self.manifest.axes, []
        for run in runs:
            variant = bound.variants[run.shapes]
            for name, view, array in zip(self._names, variant.inputs, arrays, strict=True):
                if run.spans:
                    fill(view, array, name, run, axes)
                else:
                    np.copyto(view, array)
            if run is runs[-1]:
                copied()
            self._call(bound.guest, variant.entry)
            outputs = {output.name: output.read(self.label) for output in variant.outputs}
            if run.spans:
                outputs = {name: trimmed(array, name, run, axes) for name, array in outputs.items()}
            parts.append(outputs)
        return joined(parts, axes)

    def run_together(self, requests: Sequence[Mapping[str, object]]) -> list[dict[str, Array]]:
        """The outputs of each of several requests, computed in one run of the smallest variant that holds them.

        Raises InputError where they cannot share one (`Fitting.place`), and as `run`.
        """
        batch = Batch(self.fitting, self.label, self._names, [self._accept(feeds) for feeds in requests])
        with self._turn:
            bound = self._alive()
            variant = bound.variants[batch.shapes]
            try:
                batch.fill(variant)
                self._call(bound.guest, variant.entry)
                outputs = {output.name: output.read(self.label) for output in variant.outputs}
            except BaseException:
                self._drop()
                self._failures += 1
                raise
            self._runs += 1
        return batch.parts(outputs)

    def tell_layers(self) -> bool:
        """From now on runs of the first variant tell of each layer in the trace of a request that is recorded, if the
        module has entries for them and is trusted; whether it does.
        """
        if self.engine == "trusted":
            self._layer_spans = layer_spans(self.manifest, self._module.code.interface)
        return self._layer_spans is not None

    def _call(self, guest: Guest | Team, entry: str) -> None:
        if (layers := self._layer_spans) is not None and entry == layers.entry and (trace := recorded_trace()):
            layers.call(guest, trace)
        elif self._division is None:
            guest.call(entry)
        else:
            self._division.run(entry, lambda: guest.call(entry), lambda: guest.call(entry + ALONE))

    def time_entries(self, feeds: Mapping[str, object], entries: Sequence[str], clock: Clock = SYSTEM) -> list[float]:
        """Milliseconds that each of the module's exports `() -> ()` takes, called in order once inputs are written.

        For modules that export more than their variants, such as one made to be timed. Raises as `run`, ArtifactError
        for an export that is not there.
        """
        arrays = self._accept(feeds)
        with self._turn:
            bound, _ = self._filled(arrays)
            try:
                return [_timed_ms(bound.guest, entry, clock) for entry in entries]
            except BaseException:
                self._drop()
                self._failures += 1
                raise

    def divide_on(self, cores: Cores | None) -> None:
        """Divides a run among the model's threads only while these cores are idle and it pays, and else leaves it to
        one of them. None: always among all.
        """
        functions = self._module.code.interface.functions
        is_possible = all(functions.get(v.entry + ALONE) == ENTRY_SIGNATURE for v in self.manifest.variants)
        self._cores = cores
        self._division = Division(cores, self.threads - 1) if cores is not None and is_possible else None

    def another(self) -> "Session":
        """A second session over the same machine code and weights, for parallel calls."""
        if self._is_closed:
            raise UnavailableError(f"{self.label}: the session is closed")
        session = Session(self._module, self._limits)
        session.divide_on(self._cores)
        session._layer_spans = self._layer_spans
        return session

    def statistics(self) -> SessionStatistics:
        return SessionStatistics(self._runs, self._failures, self.memory_bytes if self._bound else 0)

    def rest(self) -> None:
        """Frees the instance, after a call in flight; the next call gets a fresh one."""
        with self._turn:
            self._drop()

    def close(self) -> None:
        """Frees the instance, after a call in flight. Closing twice is fine; `run` raises UnavailableError then."""
        with self._turn:
            self._is_closed = True
            self._drop()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.manifest.name!r}, {self.engine}, {', '.join(map(str, self.inputs))})"

    def _accept(self, feeds: Mapping[str, object]) -> list[Array]:
        if not isinstance(feeds, Mapping):
            raise InputError(f"{self.label}: inputs are a `{type(feeds).__name__}`, expected arrays by name")
        if feeds.keys() != set(self._names):
            raise self._names_error(feeds)
        return [
            as_stored(feeds[name], dtype, label)
            for name, dtype, label in zip(self._names, self._dtypes, self._input_labels, strict=True)
        ]

    def _names_error(self, feeds: Mapping[str, object]) -> InputError:
        wanted = ", ".join(map(str, self.inputs)) or "none"
        for name in self._names:
            if name not in feeds:
                return InputError(f"{self.label}: input `{name}` is missing; inputs: {wanted}")
        extra = next(name for name in feeds if name not in self._names)
        return InputError(f"{self.label}: no input is called `{extra}`; inputs: {wanted}")

    def _shape_error(self, arrays: list[Array]) -> InputError:
        variants, hint = self.manifest.variants, self.fitting.offered() or None
        for i, (array, label) in enumerate(zip(arrays, self._input_labels, strict=True)):
            offered = list(dict.fromkeys(variant.inputs[i].shape for variant in variants))
            if array.shape not in offered:
                told = " or ".join(str(list(shape)) for shape in offered)
                return InputError(f"{label}: shape {list(array.shape)}, expected {told}", hint=hint)
        given = ", ".join(f"`{name}` {list(array.shape)}" for name, array in zip(self._names, arrays, strict=True))
        return InputError(f"{self.label}: no variant takes {given} together", hint=hint)

    def _filled(self, arrays: list[Array]) -> "tuple[_Bound, BoundVariant]":
        """The instance and the variant for these shapes, with the inputs in its memory."""
        bound = self._alive()
        if (variant := bound.variants.get(tuple(array.shape for array in arrays))) is None:
            raise self._shape_error(arrays)
        for view, array in zip(variant.inputs, arrays, strict=True):
            np.copyto(view, array)
        return bound, variant

    def _bind(self) -> "_Bound":
        guest = self._guest()
        try:
            memory = guest.memory()
            if memory.size != self.memory_bytes:
                raise ArtifactError(f"{self.label}: memory of {memory.size} bytes, manifest says {self.memory_bytes}")
            return _Bound(guest, {_shapes(v): bind_variant(v, memory, self.label) for v in self.manifest.variants})
        except BaseException:
            guest.close()
            raise

    def _guest(self) -> Guest | Team:
        if (threads := self.manifest.threads) > 1:
            return Team(self._module.code, self._limits, threads, name=self.label)
        return Guest(self._module.code, self._limits, name=self.label)

    def _alive(self) -> "_Bound":
        if self._bound is not None and self._bound.guest.is_broken:  # a team that did not survive `fork`
            self._drop()
        return self._bound or self._bind_again()

    def _bind_again(self) -> "_Bound":
        if self._is_closed:
            raise UnavailableError(f"{self.label}: the session is closed")
        self._bound = self._bind()
        return self._bound

    def _drop(self) -> None:
        if (bound := self._bound) is not None:
            self._bound = None
            bound.variants.clear()  # the views go before the memory
            bound.guest.close()


def _nothing() -> None:
    pass


def _timed_ms(guest: Guest | Team, entry: str, clock: Clock) -> float:
    began = clock.monotonic()
    guest.call(entry)
    return (clock.monotonic() - began) * 1000


def _shapes(variant: Variant) -> tuple[tuple[int, ...], ...]:
    return tuple(port.shape for port in variant.inputs)


def _check_module(manifest: Manifest, module: LoadedModule, label: str) -> None:
    interface = module.code.interface
    is_threaded = manifest.threads > 1
    if strangers := [found for found in interface.imports if not is_threaded or found.key != SHARED_MEMORY]:
        raise ArtifactError(f"{label}: imports `{strangers[0]}`, a compiled model imports nothing")
    memory_bytes = manifest.memory.pages * PAGE_BYTES
    shape = interface.shared if is_threaded else interface.memory
    if shape is None or shape.bytes_min != shape.bytes_max or shape.bytes_min != memory_bytes:
        found = "none" if shape is None else f"{shape.bytes_min}..{shape.bytes_max or ''} bytes"
        kind = "imported shared" if is_threaded else "exported"
        raise ArtifactError(f"{label}: {kind} memory is {found}, the manifest says {memory_bytes} bytes")
    for name, signature in ((HELP, HELP_SIGNATURE), (STOP, ENTRY_SIGNATURE)) if is_threaded else ():
        if (found := interface.functions.get(name, "missing")) != signature:
            raise ArtifactError(f"{label}: export `{name}` is {found}, expected {signature}")
    first = manifest.variants[0]
    for variant in manifest.variants:
        if (found := interface.functions.get(variant.entry, "missing")) != ENTRY_SIGNATURE:
            raise ArtifactError(f"{label}: export `{variant.entry}` is {found}, expected {ENTRY_SIGNATURE}")
        for ports, others in ((first.inputs, variant.inputs), (first.outputs, variant.outputs)):
            if [(p.name, p.dtype, len(p.shape)) for p in ports] != [(p.name, p.dtype, len(p.shape)) for p in others]:
                raise ArtifactError(f"{label}: variants `{first.entry}` and `{variant.entry}` differ beyond sizes")
    if len({_shapes(variant) for variant in manifest.variants}) != len(manifest.variants):
        raise ArtifactError(f"{label}: two variants take the same shapes")


@dataclass
class _Bound:
    """A guest, and its variants by the shapes of their inputs."""

    guest: Guest | Team
    variants: dict[tuple[tuple[int, ...], ...], BoundVariant]
