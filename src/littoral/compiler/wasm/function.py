"""One function under construction: locals, statements, structured control flow."""

import contextlib
from collections.abc import Iterator, Sequence

from littoral.compiler.wasm.code import KINDS, Code, Number, const, leb_u, memory_argument, op
from littoral.compiler.wasm.opcodes import OPCODES
from littoral.compiler.wasm.reading import Instruction, instructions

__all__ = ["Function", "Label", "Local"]

VALUE_TYPES = {"i": 0x7F, "l": 0x7E, "f": 0x7D, "d": 0x7C, "v": 0x7B}
_EMPTY_BLOCK = b"\x40"


class Local(Code):
    """A local variable; as an expression, its value."""

    __slots__ = ("index", "name")

    def __init__(self, kind: str, index: int, name: str) -> None:
        super().__init__(kind, OPCODES["local.get"].code + leb_u(index))
        self.index = index
        self.name = name


class Label:
    """A block or loop that is open; `depth` counts the blocks around it."""

    __slots__ = ("depth",)

    def __init__(self, depth: int) -> None:
        self.depth = depth


class Function:
    """Statements are appended in order; expressions are `Code`.

    params: kind by name. results: kinds. The function ends when the module is written; blocks must be closed by then.
    """

    def __init__(self, name: str, params: dict[str, str] | None = None, results: Sequence[str] = ()) -> None:
        self.name = name
        self.params = [Local(kind, i, n) for i, (n, kind) in enumerate((params or {}).items())]
        self.results = tuple(results)
        self.locals: list[Local] = []
        self._body = bytearray()
        self._depth = 0

    def param(self, name: str) -> Local:
        return next(p for p in self.params if p.name == name)

    def local(self, kind: str, name: str = "", value: Number | None = None) -> Local:
        """A new local variable, set to `value` if one is given."""
        index = len(self.params) + len(self.locals)
        found = Local(kind, index, name or f"t{index}")
        self.locals.append(found)
        if value is not None:
            self.set(found, value)
        return found

    def emit(self, code: Code) -> None:
        """A statement: an instruction that leaves nothing on the stack."""
        if code.kind:
            raise TypeError(f"a value of kind {code.kind} would stay on the stack")
        self._body += code.data

    def set(self, target: Local, value: Number) -> None:
        code = value if isinstance(value, Code) else const(target.kind, value)
        if KINDS[code.kind] != KINDS[target.kind]:
            raise TypeError(f"local `{target.name}` is {target.kind}, the value is {code.kind}")
        self._body += code.data + OPCODES["local.set"].code + leb_u(target.index)

    def tee(self, target: Local, value: Code) -> Code:
        """Sets a local and pushes the value."""
        if KINDS[value.kind] != KINDS[target.kind]:
            raise TypeError(f"local `{target.name}` is {target.kind}, the value is {value.kind}")
        return Code(target.kind, value.data + OPCODES["local.tee"].code + leb_u(target.index))

    def step(self, target: Local, amount: Number) -> None:
        """Adds to a local."""
        if not (isinstance(amount, int) and amount == 0):
            self.set(target, target + amount)

    def store(self, name: str, address: Code, value: Code, offset: int = 0, lane: int | None = None) -> None:
        immediates = memory_argument(name, offset) + (b"" if lane is None else bytes([lane]))
        self.emit(op(name, address, value, immediates=immediates))

    def call(self, index: int, *arguments: Code) -> None:
        """Calls a function without results, by its index in the module."""
        self._body += b"".join(a.data for a in arguments) + OPCODES["call"].code + leb_u(index)

    def call_for(self, kind: str, index: int, *arguments: Code) -> Code:
        """A call of a function with one result, as an expression."""
        return Code(kind, b"".join(a.data for a in arguments) + OPCODES["call"].code + leb_u(index))

    def drop(self, value: Code) -> None:
        """Computes a value for what it does, and forgets it."""
        self._body += value.data + OPCODES["drop"].code

    def give(self, value: Code) -> None:
        """The function's result, as its last statement."""
        self._body += value.data

    def leave(self) -> None:
        """Returns from the function."""
        self._body += OPCODES["return"].code

    @contextlib.contextmanager
    def _open(self, opening: bytes) -> Iterator[Label]:
        self._body += opening + _EMPTY_BLOCK
        self._depth += 1
        yield Label(self._depth)
        self._depth -= 1
        self._body += OPCODES["end"].code

    def block(self) -> contextlib.AbstractContextManager[Label]:
        """A block; `go` to its label leaves it."""
        return self._open(OPCODES["block"].code)

    def loop(self) -> contextlib.AbstractContextManager[Label]:
        """A loop; `go` to its label starts it again, falling off its end leaves it."""
        return self._open(OPCODES["loop"].code)

    def when(self, condition: Code) -> contextlib.AbstractContextManager[Label]:
        """Statements that run if the condition is not 0."""
        return self._open(condition.data + OPCODES["if"].code)

    def otherwise(self) -> None:
        """Inside `when`: what follows runs if the condition is 0."""
        self._body += OPCODES["else"].code

    def go(self, label: Label, condition: Code | None = None) -> None:
        """Branches to a label, if the condition is given only where it is not 0."""
        distance = leb_u(self._depth - label.depth)
        if condition is None:
            self._body += OPCODES["br"].code + distance
        else:
            self._body += condition.data + OPCODES["br_if"].code + distance

    @contextlib.contextmanager
    def repeat(self, count: Number, counter: Local | None = None) -> Iterator[Local]:
        """A loop that runs `count` ≥ 1 times; the local counts down from `count` to 1. One pass needs no loop."""
        assert not isinstance(count, int) or count > 0
        left = counter or self.local("i32")
        self.set(left, count)
        if isinstance(count, int) and count == 1:
            yield left
            return
        with self.loop() as again:
            yield left
            self.go(again, self.tee(left, left - 1))

    @contextlib.contextmanager
    def each(self, count: Number, start: int = 0) -> Iterator[Local]:
        """A loop over `start`, `start` + 1 … below `count`; `count` must be above `start`."""
        index = self.local("i32", value=start)
        with self.loop() as again:
            yield index
            self.go(again, self.tee(index, index + 1) < count)

    def instructions(self) -> Iterator[Instruction]:
        """What has been written, in order."""
        return instructions(bytes(self._body))

    def body(self) -> bytes:
        """The function's entry in the code section: size, locals, instructions."""
        if self._depth:
            raise ValueError(f"function `{self.name}`: {self._depth} blocks are open")
        runs: list[list[int]] = []
        for found in self.locals:
            kind = VALUE_TYPES[KINDS[found.kind]]
            if runs and runs[-1][1] == kind:
                runs[-1][0] += 1
            else:
                runs.append([1, kind])
        head = leb_u(len(runs)) + b"".join(leb_u(n) + bytes([kind]) for n, kind in runs)
        content = head + bytes(self._body) + OPCODES["end"].code
        return leb_u(len(content)) + content

    def signature(self) -> bytes:
        """The function's entry in the type section."""
        params = bytes(VALUE_TYPES[KINDS[p.kind]] for p in self.params)
        results = bytes(VALUE_TYPES[KINDS[r]] for r in self.results)
        return b"\x60" + leb_u(len(params)) + params + leb_u(len(results)) + results
