"""Functions without vectors: every v128 local becomes locals for its lanes, every vector instruction scalar ones.

The body is run once on a stack of code that is not written yet. A value is written where a statement needs it: a local
is set, memory is stored, control moves. What it reads must not change before that, so what waits on the stack is
brought into locals ahead of a statement that would change it. Lanes are calculated in the order of the vectors, each
with the same operations, so the bits are the same. A local has the view its kernel declared; one that is set once, to
a constant, is written as that constant.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from littoral.compiler.wasm.code import KINDS, Code, load, op, select
from littoral.compiler.wasm.function import Function, Local
from littoral.compiler.wasm.lane_arithmetic import ARITHMETIC
from littoral.compiler.wasm.lane_bits import BITS, shuffled
from littoral.compiler.wasm.lanes import (
    SHAPES,
    Constant,
    Lanes,
    Loaded,
    Value,
    Vector,
    as_scalar,
    as_vector,
    common_shape,
    wrap,
)
from littoral.compiler.wasm.opcodes import OPCODES
from littoral.compiler.wasm.reading import Instruction, instructions

__all__ = ["scalarized"]

_RULES = ARITHMETIC | BITS
_DEFAULT_SHAPE = "i32x4"
_CONTROL = ("block", "loop", "else", "end", "br", "return", "unreachable")
_CONDITIONAL = ("if", "br_if")
_UNKNOWN = ("call", "nop", "memory.grow", "global.get", "global.set")
_STORES = {"f32": "f32.store", "f64": "f64.store", "i64": "i64.store"}
_INTEGER_STORES = {8: "i32.store8", 16: "i32.store16", 32: "i32.store"}
_FLOAT_CONSTANTS = {"f32": (OPCODES["f32.const"].code, 5), "f64": (OPCODES["f64.const"].code, 9)}
_PRESENT_BYTES = {"v128.load": 16, "v128.load32_zero": 4, "v128.load64_zero": 8}
_REPEATED_BYTES = {f"v128.load{8 * size}_splat": size for size in (1, 2, 4, 8)}
_WIDENING = {"8x8": "i16x8", "16x4": "i32x4", "32x2": "i64x2"}
_LANE_SHAPES = {8: "i8x16", 16: "i16x8", 32: "i32x4", 64: "i64x2"}


def scalarized(function: Function) -> Function:
    """An equal function without v128. Raises NotImplementedError for what has no scalar form."""
    found = list(function.instructions())
    kinds = [p.kind for p in (*function.params, *function.locals)]
    if all(KINDS[k] != "v" for k in kinds) and not any("v" in i.row.pops + i.row.pushes for i in found):
        return function
    if any(KINDS[kind] == "v" for kind in (*(p.kind for p in function.params), *function.results)):
        raise NotImplementedError(f"function `{function.name}`: a v128 parameter or result has no scalar form")
    return _Scalarizer(function, found).run()


class _Scalarizer:
    def __init__(self, source: Function, found: list[Instruction]) -> None:
        self.source = source
        self.found = found
        self.f = Function(source.name, {p.name: p.kind for p in source.params}, source.results)
        self.constants = _constant_locals(source, found)
        self.places = [*self.f.params, *(self._place(local) for local in source.locals)]
        self.stack: list[Value] = []
        self.free: dict[str, list[Local]] = {}
        self.taken: list[Local] = []

    def _place(self, local: Local) -> Code | Vector | list[Local]:
        """What stands for a local of the source."""
        if KINDS[local.kind] != "v":
            return self.f.local(local.kind, local.name)
        if local.index in self.constants:
            return Constant(self.constants[local.index])
        shape = SHAPES[_shape_of(local)]
        return [self.f.local(shape.kind, f"{local.name}.{i}") for i in range(shape.lanes)]

    def run(self) -> Function:
        for instruction in self.found:
            self._one(instruction)
            if not self.stack:
                for local in self.taken:
                    self.free.setdefault(local.kind, []).append(local)
                self.taken.clear()
        for value in self.stack:
            self._write(as_scalar(value))
        return self.f

    def atom(self, code: Code) -> Code:
        """See `Scratch`."""
        if isinstance(code, Local) or code.constant is not None or _is_float_constant(code):
            return code
        free = self.free.get(code.kind)
        local = free.pop() if free else self.f.local(code.kind)
        self.taken.append(local)
        self.f.set(local, code)
        return local

    def _write(self, *codes: Code) -> None:
        self.f.emit(Code("", b"".join(c.data for c in codes)))

    def _one(self, instruction: Instruction) -> None:
        name = instruction.name
        if name in _CONTROL or name in _CONDITIONAL:
            self._control(instruction)
        elif name.startswith("local."):
            self._local(name, instruction.values[0])
        elif name == "v128.const":
            self.stack.append(Constant(instruction.values[0]))
        elif name.startswith(("v128.load", "v128.store")):
            self._memory(instruction)
        elif name in _RULES:
            args = self._pop(len(instruction.row.pops))
            self.stack.append(_RULES[name](self, args))
        elif name == "i8x16.shuffle":
            a, b = self._pop(2)
            self.stack.append(shuffled(self, as_vector(a), as_vector(b), instruction.values[0]))
        elif "_lane" in name:
            self._lane(instruction)
        elif name == "select":
            self._select()
        elif name == "drop":
            self._pop(1)
        elif "v" in instruction.row.pops + instruction.row.pushes or name in _UNKNOWN:
            raise NotImplementedError(f"function `{self.source.name}`: `{name}` has no scalar form")
        else:
            self._scalar_instruction(instruction)

    def _pop(self, count: int) -> list[Value]:
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def _scalar_instruction(self, instruction: Instruction) -> None:
        args = [as_scalar(v) for v in self._pop(len(instruction.row.pops))]
        if instruction.row.pushes:
            constant = instruction.values[0] if instruction.name == "i32.const" else None
            code = op(instruction.name, *args, immediates=instruction.immediates)
            self.stack.append(Code(code.kind, code.data, constant))
            return
        self._settle(_loads)
        self._write(op(instruction.name, *args, immediates=instruction.immediates))

    def _control(self, instruction: Instruction) -> None:
        condition = [as_scalar(self._pop(1)[0])] if instruction.name in _CONDITIONAL else []
        if instruction.name in ("return", "unreachable"):
            condition = [as_scalar(v) for v in self._pop(len(self.stack))]
        self._settle(lambda _code: True)
        self._write(*condition, Code("", instruction.data))

    def _settle(self, changes: Callable[[Code], bool]) -> None:
        """Brings into locals what waits on the stack and would read something else after the next statement."""
        for i, value in enumerate(self.stack):
            if isinstance(value, Code):
                self.stack[i] = self._copied(value) if changes(value) else value
            elif any(changes(code) for code in value.codes()):
                shape = value.shape or _DEFAULT_SHAPE
                self.stack[i] = Lanes(shape, [self._copied(c) for c in value.lanes(shape, self)])

    def _copied(self, code: Code) -> Code:
        """In a local of its own."""
        return self.atom(Code(code.kind, code.data))

    def _local(self, name: str, index: int) -> None:
        place = self.places[index]
        if name != "local.get":
            (value,) = self._pop(1)
            if isinstance(place, list):
                self._set_lanes(place, _shape_of(self._declared(index)), as_vector(value))
            elif isinstance(place, Local):
                self._settle(lambda code: _reads(code, place))
                self.f.set(place, as_scalar(value))
        if name != "local.set":
            self.stack.append(Lanes(_shape_of(self._declared(index)), place) if isinstance(place, list) else place)

    def _declared(self, index: int) -> Local:
        return self.source.locals[index - len(self.source.params)]

    def _set_lanes(self, targets: list[Local], shape: str, value: Vector) -> None:
        self._settle(lambda code: any(_reads(code, target) for target in targets))
        lanes = value.lanes(shape, self)
        crosses = any(_reads(lane, target) for i, lane in enumerate(lanes) for target in targets[:i])
        if crosses:
            lanes = [self._copied(lane) for lane in lanes]
        for target, lane in zip(targets, lanes, strict=True):
            if lane is not target:
                self.f.set(target, lane)

    def _select(self) -> None:
        a, b, condition = self._pop(3)
        if isinstance(a, Code) and isinstance(b, Code):
            self.stack.append(select(as_scalar(condition), a, b))
            return
        first, second, chosen = as_vector(a), as_vector(b), self.atom(as_scalar(condition))
        shape = common_shape(first, second)
        lanes = zip(first.lanes(shape, self), second.lanes(shape, self), strict=True)
        self.stack.append(Lanes(shape, [select(chosen, x, y) for x, y in lanes]))

    def _memory(self, instruction: Instruction) -> None:
        name = instruction.name
        _, offset = instruction.values[0]
        if name.endswith("_lane"):
            self._memory_lane(name, offset, instruction.values[1])
        elif name == "v128.store":
            address, value = self._pop(2)
            self._store(as_scalar(address), offset, as_vector(value))
        else:
            base = self.atom(as_scalar(self._pop(1)[0]))
            self.stack.append(_loaded(name, base, offset))

    def _store(self, address: Code, offset: int, value: Vector) -> None:
        shape = value.shape or "i64x2"
        self._store_lanes(address, offset, shape, value.lanes(shape, self))

    def _store_lanes(self, address: Code, offset: int, shape: str, lanes: Sequence[Code]) -> None:
        kind, bits = SHAPES[shape]
        self._settle(_loads)
        base = self.atom(address) if len(lanes) > 1 else address
        kept = [lanes[0], *(self.atom(lane) if _loads(lane) else lane for lane in lanes[1:])]
        store = _STORES.get(kind) or _INTEGER_STORES[bits]
        for i, lane in enumerate(kept):
            self.f.store(store, base, lane, offset + i * bits // 8)

    def _memory_lane(self, name: str, offset: int, lane: int) -> None:
        """`v128.load32_lane` and kin: a part of a vector, from memory or to it."""
        bits = int(name.removeprefix("v128.load").removeprefix("v128.store").removesuffix("_lane"))
        address, value = self._pop(2)
        vector = as_vector(value)
        shape = vector.shape or _LANE_SHAPES[bits]
        if SHAPES[shape].bits > bits:
            shape = _LANE_SHAPES[bits]
        lanes, size = vector.lanes(shape, self), SHAPES[shape].bits
        first, past = lane * bits // size, (lane + 1) * bits // size
        if name.startswith("v128.store"):
            self._store_lanes(as_scalar(address), offset, shape, lanes[first:past])
            return
        base = self.atom(as_scalar(address))
        lanes[first:past] = Loaded(base, offset).lanes(shape, self)[: past - first]
        self.stack.append(Lanes(shape, lanes))

    def _lane(self, instruction: Instruction) -> None:
        """`f32x4.extract_lane`, `f32x4.replace_lane` and kin."""
        shape, action = instruction.name.split(".")
        vector, *given = self._pop(len(instruction.row.pops))
        lanes, at, bits = as_vector(vector).lanes(shape, self), instruction.values[0], SHAPES[shape].bits
        if given:
            lanes[at] = wrap(bits, as_scalar(given[0]))
            self.stack.append(Lanes(shape, lanes))
        else:
            self.stack.append(lanes[at] & (1 << bits) - 1 if action.endswith("_u") else lanes[at])


def _loaded(name: str, base: Code, offset: int) -> Vector:
    if name in _PRESENT_BYTES:
        return Loaded(base, offset, _PRESENT_BYTES[name])
    if name in _REPEATED_BYTES:
        return Loaded(base, offset, _REPEATED_BYTES[name], repeats=True)
    form, sign = name.removeprefix("v128.load").split("_")
    shape, bits = _WIDENING[form], int(form.split("x")[0])
    count = SHAPES[shape].lanes
    scalar = f"{SHAPES[shape].kind}.load{bits}_{sign}"
    return Lanes(shape, [load(scalar, base, offset + i * bits // 8) for i in range(count)])


def _constant_locals(source: Function, found: list[Instruction]) -> dict[int, bytes]:
    """Vector locals that are set once, to a constant, inside a block that is not left before their last use."""
    vectors = {local.index for local in source.locals if KINDS[local.kind] == "v"}
    sets = Counter(i.values[0] for i in found if i.name in ("local.set", "local.tee"))
    known: dict[int, tuple[int, bytes]] = {}
    lost: set[int] = set()
    open_blocks, blocks = [0], 0
    for before, instruction in zip([None, *found], found, strict=False):
        name = instruction.name
        if name in ("block", "loop", "if", "else"):
            blocks += 1
            open_blocks = [*(open_blocks[:-1] if name == "else" else open_blocks), blocks]
        elif name == "end":
            open_blocks = open_blocks[:-1]
        elif name.startswith("local.") and (index := instruction.values[0]) in vectors:
            if name == "local.set" and sets[index] == 1 and before is not None and before.name == "v128.const":
                known[index] = (open_blocks[-1], before.values[0])
            elif index not in known or known[index][0] not in open_blocks:
                lost.add(index)
    return {index: octets for index, (_, octets) in known.items() if index not in lost}


def _shape_of(local: Local) -> str:
    return local.kind if local.kind in SHAPES else _DEFAULT_SHAPE


def _reads(code: Code, local: Local) -> bool:
    """Whether the code may read the local: its bytes hold such an instruction, or something that looks like one."""
    return local.data in code.data


def _loads(code: Code) -> bool:
    """Whether the code reads memory."""
    return not isinstance(code, Local) and any(".load" in i.name for i in instructions(code.data))


def _is_float_constant(code: Code) -> bool:
    opening = _FLOAT_CONSTANTS.get(code.kind)
    return opening is not None and (code.data[:1], len(code.data)) == opening
