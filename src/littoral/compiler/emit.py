"""From a laid-out program to WebAssembly: one function a distinct kernel, and the entry that calls them in order."""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from littoral.artifact import Layer
from littoral.artifact.manifest import layer_entry
from littoral.compiler.ir.graph import Value
from littoral.compiler.kernels import Kernel, without_vectors
from littoral.compiler.kernels.team import ALONE, SHARED_MEMORY, Member, add_help, add_meeting, add_start, signal_run
from littoral.compiler.plan.layout import Address, Layout
from littoral.compiler.plan.program import Call, Copy, Else, EndIf, EndLoop, If, Loop
from littoral.compiler.plan.steps import Lowered, Repeated, Step, Weights
from littoral.compiler.wasm import Code, Function, Label, Local, Module, Target, TargetedModule, const, load, op

__all__ = ["EMPTY_ENTRY", "ENTRY", "emit", "emit_together", "entry_name", "heaviest"]

ENTRY = "run"
EMPTY_ENTRY = "empty"
LAYER_LETTERS_MAX = 28
_ODD = re.compile(r"[^A-Za-z0-9_./:+-]")


def emit(layout: Layout, target: Target = "relaxed") -> tuple[Module, list[Layer]]:
    """The module's functions, and one layer for each node that does something."""
    return emit_together([layout], target=target)


def emit_together(
    layouts: Sequence[Layout], *, target: Target = "relaxed", threads: int = 1, apart: bool = False
) -> tuple[Module, list[Layer]]:
    """One module with an entry for each layout (see `entry_name`), which share their kernels; layers of the first.

    target: the instructions it may have. apart: also an entry for each layer of the first layout (`layer_entry`), and
    one that does nothing (`EMPTY_ENTRY`): the same kernels on the same addresses, to be timed. Only for a program
    without loops and branches. threads: above 1 the programs have been divided, and the module is that of a team
    (`kernels/team.py`).
    """
    if threads > 1:
        return _emit_for_team(layouts, threads, target)
    module, functions = TargetedModule(target), _Functions()
    entries = [_Entry(layout, entry_name(i), module, functions) for i, layout in enumerate(layouts)]
    for entry in entries:
        module.exports[entry.name] = entry.write()
    functions.name(module)
    if apart:
        entries[0].write_apart()
    return module, entries[0].layers()


def _emit_for_team(layouts: Sequence[Layout], threads: int, target: Target) -> tuple[Module, list[Layer]]:
    """For each layout a body a thread; the entry calls the others to the run and does thread 0's. And one body that
    does all of them in turn.
    """
    module, functions = TargetedModule(target, imports=SHARED_MEMORY), _Functions()
    meeting = add_meeting(module, threads)
    members = [
        [_Entry(layout, f"{entry_name(i)}.{t}", module, functions, Member(t, meeting)) for t in range(threads)]
        for i, layout in enumerate(layouts)
    ]
    helpers = []
    for i, (first, *others) in enumerate(members):
        signal_run(first.entry, i)
        module.exports[entry_name(i)] = first.write()
        helpers.append([other.write() for other in others])
        alone = _Entry(layouts[i], entry_name(i) + ALONE, module, functions, Member(stands_for=threads))
        module.exports[alone.name] = alone.write()
    functions.name(module)
    add_help(module, helpers)
    add_start(module, layouts[0].constants_at, len(layouts[0].constants))
    return module, members[0][0].layers()


def entry_name(index: int) -> str:
    return ENTRY if not index else f"{ENTRY}{index + 1}"


def heaviest(found: Lowered) -> Step:
    """The step after which a layer is named."""
    return max(found.steps, key=lambda s: s.macs)


class _Functions:
    """The functions of kernels by index, and which layers call each."""

    def __init__(self) -> None:
        self.index: dict[Kernel, int] = {}
        self._same: dict[bytes, int] = {}
        self._layers: dict[int, list[str]] = {}

    def of(self, kernel: Kernel, layer: str, module: TargetedModule) -> int:
        """The kernel's function, added to the module where it is not there yet."""
        if kernel not in self.index:
            written = without_vectors(kernel) if module.target == "mvp" else kernel
            function = written.function(kernel.kind)
            code = function.signature() + function.body()
            if code not in self._same:
                self._same[code] = module.add(function)
            self.index[kernel] = self._same[code]
        index = self.index[kernel]
        layers = self._layers.setdefault(index, [])
        if layer not in layers:
            layers.append(layer)
        return index

    def name(self, module: Module) -> None:
        """For profilers: kernel, tile, the first layer and how many others share the function."""
        for kernel, index in self.index.items():
            first, *others = self._layers[index]
            tile = kernel.tiling.partition(",")[0].replace("×", "x")
            layer = _ODD.sub("_", first)
            layer = layer if len(layer) <= LAYER_LETTERS_MAX else f"..{layer[-LAYER_LETTERS_MAX:]}"
            shared = f"+{len(others)}" if others else ""
            module.functions[index].name = f"{'.'.join(filter(None, (kernel.kind, tile)))}@{layer}{shared}"


class _Entry:
    """What one thread does in one variant. member: which thread, and how it meets the others."""

    def __init__(
        self,
        layout: Layout,
        name: str,
        module: TargetedModule,
        functions: _Functions,
        member: Member | None = None,
    ) -> None:
        self.layout = layout
        self.name = name
        self.module = module
        self.functions = functions
        self.member = member or Member()
        self.entry = Function(name)
        self.runs: dict[Loop, tuple[Local, Label, contextlib.ExitStack]] = {}
        self.branches: list[contextlib.ExitStack] = []

    def write(self) -> int:
        """Number of the function."""
        for item in self.layout.program.items:
            match item:
                case Call():
                    self._call(item.lowered)
                case Copy():
                    self._copy(item)
                case Loop():
                    self._open_loop(item)
                case EndLoop():
                    self._close_loop(item)
                case If():
                    self._open_branch(item)
                case Else():
                    self.entry.otherwise()
                    self.member.part()
                case EndIf():
                    self.branches.pop().close()
                    self.member.part()
        self.member.part()
        self.member.meet(self.entry)
        return self.module.add(self.entry)

    def layers(self) -> list[Layer]:
        """Once it is written."""
        return [_layer(call.lowered, self.functions.index) for call in self.layout.program.layers()]

    def write_apart(self) -> None:
        self.module.add(Function(EMPTY_ENTRY), export=EMPTY_ENTRY)
        for i, call in enumerate(self.layout.program.layers()):
            self.entry = Function(layer_entry(i))
            self._call(call.lowered)
            self.module.add(self.entry, export=layer_entry(i))

    def _code(self, address: Address) -> Code:
        """An address as code: constant, or moving with the runs of a loop."""
        if address.loop is None or not address.step:
            return const("i32", address.at)
        return self.runs[address.loop][0] * address.step + address.at

    def _call(self, lowered: Lowered) -> None:
        for ring, steps in groupby(lowered.steps, lambda step: step.within[0][0] if step.within else None):
            if ring is None:
                for step in steps:
                    self._begin([step], lowered.label)
            else:
                self._begin(list(steps), lowered.label)

    def _begin(self, steps: Sequence[Step], layer: str) -> None:
        """A step, or all that share a loop: each thread's part of it."""
        self.member.begin(self.entry, divided=bool(steps[0].parts))
        for thread in self.member.parts:
            self._do_all([part for step in steps if (part := step.of(thread)) is not None], [], layer)

    def _do_all(self, steps: Iterable[Step], runs: Sequence[Code], layer: str) -> None:
        """Steps inside the rings whose runs are counted."""
        for ring, together in groupby(steps, lambda s: s.within[len(runs)][0] if len(s.within) > len(runs) else None):
            if ring is None:
                for step in together:
                    self._do(step, runs, layer)
                continue
            if ring.times == 1:
                self._do_all(list(together), [*runs, const("i32", 0)], layer)
                continue
            with self.entry.each(ring.times) as run:
                self._do_all(list(together), [*runs, run], layer)

    def _do(self, step: Step, runs: Sequence[Code], layer: str) -> None:
        index = self.functions.of(step.kernel, layer, self.module)
        addresses = [self._code(self.layout.address(a)) for a in step.arguments]
        for run, (_, moves_bytes) in zip(runs, step.within, strict=True):
            addresses = [a + run * move if move else a for a, move in zip(addresses, moves_bytes, strict=True)]
        self._call_repeated(index, addresses, step.repeats)

    def _call_repeated(self, index: int, addresses: list[Code], repeats: tuple[Repeated, ...]) -> None:
        """Addresses that move are kept in locals; an inner loop begins where the outer one stands."""
        if not repeats:
            self.entry.call(index, *addresses)
            return
        (times, moves_bytes), *inner = repeats
        f = self.entry
        moving = [f.local("i32", value=a) if move else a for a, move in zip(addresses, moves_bytes, strict=True)]
        with f.repeat(times):
            self._call_repeated(index, moving, tuple(inner))
            for address, move in zip(moving, moves_bytes, strict=True):
                if isinstance(address, Local) and move:
                    f.step(address, move)

    def _copy(self, item: Copy) -> None:
        size = item.source.type.bytes
        if size:
            self.member.begin(self.entry, divided=False)
        if size and self.member.thread == 0:
            target, source = (self._code(self.layout.address(v)) for v in (item.target, item.source))
            self.entry.emit(op("memory.copy", target, source, const("i32", size), immediates=b"\0\0"))

    def _open_loop(self, loop: Loop) -> None:
        """A loop that is left at its end; one of no runs is a branch never taken."""
        f, stack = self.entry, contextlib.ExitStack()
        self.member.meet(f)
        stack.enter_context(f.block())
        run = f.local("i32", "run", 0)
        if not loop.count:
            stack.enter_context(f.when(const("i32", 0)))
        again = stack.enter_context(f.loop())
        self.runs[loop] = (run, again, stack)
        at = self.layout.address(loop.index).at
        if self.member.thread == 0:
            f.store("i64.store", const("i32", at), op("i64.extend_i32_u", run))
        self.member.part()

    def _close_loop(self, end: EndLoop) -> None:
        run, again, stack = self.runs[end.loop]
        self.member.decide(self.entry)
        more = self.entry.tee(run, run + 1) < end.loop.count
        if end.goes_on is not None:
            more = more & self._flag(end.goes_on)
        self.entry.go(again, more)
        stack.close()

    def _open_branch(self, item: If) -> None:
        stack = contextlib.ExitStack()
        self.member.decide(self.entry)
        stack.enter_context(self.entry.when(self._flag(item.condition)))
        self.branches.append(stack)

    def _flag(self, value: Value) -> Code:
        return load("i32.load8_u", self._code(self.layout.address(value)))


def _layer(found: Lowered, functions: Mapping[Kernel, int]) -> Layer:
    kernel = (heaviest(found).of(0) or heaviest(found)).kernel
    arguments = {a for step in found.steps for a in step.arguments}
    weights = sum(a.data.nbytes for a in arguments if isinstance(a, Value | Weights) and a.data is not None)
    return Layer(
        name=found.label,
        kind=kernel.kind,
        function=functions[kernel],
        macs=sum(s.macs for s in found.steps),
        bytes=weights,
    )
