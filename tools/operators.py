"""Writes `docs/reference/operators.md`: every operator that is imported, what of it, and what was measured.

Names and attributes are read from the importers' source. Dtypes, versions and errors come from the ONNX project's own
cases of one node, each compiled and run.
"""

import ast
import functools
import inspect
import textwrap
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx.defs
from onnx import TensorProto, numpy_helper

import littoral
from littoral.compiler import onnx as importers
from littoral.compiler.driver import compile_model
from littoral.compiler.onnx.importer import OPERATORS
from littoral.errors import LittoralError
from littoral.tensors import DTYPES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/operators.md"
_READERS = frozenset(
    (
        "attribute",
        "axis",
        "graph",
        "has",
        "integer",
        "integers",
        "number",
        "numbers",
        "optional_integers",
        "tensor",
        "text",
    )
)
_HEAD = """# Operators

{count} operators of ONNX compile. What an importer does not know (an attribute, a data type, an input that must be
constant) is refused with an error that names operator, attribute and node.

- **attributes**: those that are read. With a colon: the values that are taken. *Ignored*: without a meaning here.
- **opset**: the first version of the operator → the newest one that was tested.
- **dtypes**: of inputs and outputs in the cases that passed. Others may work: elementwise operators take every number.
- **error**: the largest seen in these cases, over the largest magnitude of the output. 0: equal to the last bit.

Text, sequences, maps and optional values are not held. Made by `make operators`, which runs the ONNX project's cases.
It has none for com.microsoft: those operators are held by ONNX Runtime in `tests/ops/test_quantized_models.py`.

| operator | attributes | opset | dtypes | cases | error |
|---|---|---|---|---|---|
"""


class Measured(NamedTuple):
    """What the cases of one operator gave."""

    passed: int
    opsets: set[int]
    dtypes: set[str]
    error: float


def attributes_of(name: str) -> str:
    """The attributes that an operator's importer reads, as the page shows them."""
    read: dict[str, str] = {}
    ignored: set[str] = set()
    for caller, call in _calls(_function(OPERATORS[name])):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if method == "ignore":
            ignored.update(texts)
        elif method in _READERS and call.args and not isinstance(call.args[0], ast.Constant):
            read.update((text, read.get(text, "")) for text in _texts(caller))  # names come from a loop
        elif method in _READERS and texts:
            read.setdefault(texts[0], "")
        elif method == "choice" and texts:
            read[texts[0]] = read.get(texts[0]) or _values(call)
    real = _schema_attributes(name)
    known = [f"`{a}`" + (f": {v}" if v else "") for a, v in sorted(read.items()) if a in real]
    left = ", ".join(f"`{a}`" for a in sorted((ignored - read.keys()) & real))
    return "; ".join(part for part in (", ".join(known), f"*ignored:* {left}" if left else "") if part)


def _texts(function: Callable[..., Any]) -> set[str]:
    return {n.value for n in ast.walk(_tree(function)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _values(call: ast.Call) -> str:
    allowed = call.args[2] if len(call.args) > 2 else None
    if not isinstance(allowed, ast.Tuple):
        return ""
    return " ".join(str(e.value) for e in allowed.elts if isinstance(e, ast.Constant))


def _schemas(name: str) -> list[Any]:
    domain, _, op = name.rpartition(".")
    return [s for s in _all_schemas() if s.name == op and s.domain == domain]


@functools.cache
def _all_schemas() -> list[Any]:
    return list(onnx.defs.get_all_schemas_with_history())


def _schema_attributes(name: str) -> set[str]:
    return {a for schema in _schemas(name) for a in schema.attributes}


def _function(importer: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(importer, functools.partial):
        importer = importer.func
    return importer


@functools.cache
def _tree(function: Callable[..., Any]) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def _calls(function: Callable[..., Any]) -> Iterator[tuple[Callable[..., Any], ast.Call]]:
    """Every call, and the function it is in: an importer, and those that it calls by name and hands the node to."""
    waiting, seen = [function], {function}
    while waiting:
        current = waiting.pop()
        for call in (n for n in ast.walk(_tree(current)) if isinstance(n, ast.Call)):
            yield current, call
            target = _resolved(call, current)
            takes_node = any(isinstance(a, ast.Name) and a.id == "node" for a in call.args)
            if takes_node and target is not None and target not in seen:
                seen.add(target)
                waiting.append(target)


def _resolved(call: ast.Call, caller: Callable[..., Any]) -> Callable[..., Any] | None:
    names = caller.__globals__
    found: Any = None
    if isinstance(call.func, ast.Name):
        found = names.get(call.func.id)
    elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        found = getattr(names.get(call.func.value.id), call.func.attr, None)
    ours = isinstance(found, types.FunctionType) and found.__module__.startswith(f"{importers.__name__}.operators")
    return found if ours else None


def measure() -> dict[str, Measured]:
    """Every case of one node, compiled and run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        everything: list[Any] = list(collect_testcases(""))
    cases = [c for c in everything if c.data_sets and len(c.model.graph.node) == 1]
    found: dict[str, Measured] = {}
    for case in cases:
        node = case.model.graph.node[0]
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if name in OPERATORS and (result := _run(case)) is not None:
            before = found.get(name, Measured(0, set(), set(), 0.0))
            versions = {o.version for o in case.model.opset_import if o.domain == node.domain}
            dtypes, error = result
            found[name] = Measured(
                before.passed + 1, before.opsets | versions, before.dtypes | dtypes, max(before.error, error)
            )
    return found


def _array(value: Any) -> Any:
    return np.asarray(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)


def _stored(array: Any) -> Any:
    name = array.dtype.name
    storage = DTYPES[name].storage
    return array.astype(storage) if "int" in name or storage == array.dtype else array.view(storage)


def _run(case: Any) -> tuple[set[str], float] | None:
    """dtypes of a case and its error; None where it does not compile or does not pass."""
    dtypes: set[str] = set()
    error = 0.0
    try:
        for inputs, wanted in case.data_sets:
            arrays = [_array(v) for v in inputs]
            feeds = {i.name: _stored(a) for i, a in zip(case.model.graph.input, arrays, strict=False)}
            shapes = {name: a.shape for name, a in feeds.items()}
            with littoral.load(compile_model(case.model.SerializeToString(), shapes=shapes)) as session:
                got = session.run(feeds)
            for value, expected in zip(case.model.graph.output, map(_array, wanted), strict=True):
                found = got[value.name]
                found = found if "int" in expected.dtype.name else found.view(expected.dtype)
                a, b = found.astype(np.float64), expected.astype(np.float64)
                if a.shape != b.shape or not np.allclose(a, b, case.rtol, case.atol, equal_nan=True):
                    return None
                finite = np.isfinite(b)
                scale = float(np.abs(b[finite]).max(initial=0.0)) or 1.0
                error = max(error, float(np.abs(a[finite] - b[finite]).max(initial=0.0)) / scale)
            dtypes |= {a.dtype.name for a in arrays} | {_array(w).dtype.name for w in wanted}
    except (LittoralError, KeyError, TypeError, ValueError):
        return None
    return dtypes, error


def row(name: str, measured: Measured | None) -> str:
    """One line of the table."""
    first = min((s.since_version for s in _schemas(name)), default=1)
    opset = f"{first} → {max(measured.opsets)}" if measured else f"{first} →"
    order = list(DTYPES)
    dtypes = " ".join(sorted(measured.dtypes, key=order.index)) if measured else ""
    error = "" if measured is None else "0" if not measured.error else f"{measured.error:.0e}"
    cells = (f"`{name}`", attributes_of(name), opset, dtypes, str(measured.passed) if measured else "0", error)
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def main() -> None:
    measured = measure()
    rows = [row(name, measured.get(name)) for name in sorted(OPERATORS, key=str.lower)]
    PAGE.write_text(_HEAD.format(count=len(rows)) + "\n".join(rows) + "\n")
    print(f"{PAGE.relative_to(ROOT)}: {len(rows)} operators, {sum(m.passed for m in measured.values())} cases")


if __name__ == "__main__":
    main()
