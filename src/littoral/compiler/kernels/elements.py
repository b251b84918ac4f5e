"""Element types in WebAssembly: how each dtype is loaded, stored, held, and wrapped to its width."""

from typing import NamedTuple

from littoral.compiler.wasm import Code, Function, load, op

__all__ = ["ELEMENTS", "Element", "load_element", "store_element", "wrapped"]


class Element(NamedTuple):
    """kind: the scalar kind that holds an element. signed: of an integer. wrap: what brings it back to its width."""

    kind: str
    bytes: int
    load: str
    store: str
    signed: bool = True
    wrap: str = ""


ELEMENTS = {
    "float32": Element("f32", 4, "f32.load", "f32.store"),
    "float64": Element("f64", 8, "f64.load", "f64.store"),
    "int8": Element("i32", 1, "i32.load8_s", "i32.store8", True, "i32.extend8_s"),
    "uint8": Element("i32", 1, "i32.load8_u", "i32.store8", False, "255"),
    "int16": Element("i32", 2, "i32.load16_s", "i32.store16", True, "i32.extend16_s"),
    "uint16": Element("i32", 2, "i32.load16_u", "i32.store16", False, "65535"),
    "int32": Element("i32", 4, "i32.load", "i32.store", True),
    "uint32": Element("i32", 4, "i32.load", "i32.store", False),
    "int64": Element("i64", 8, "i64.load", "i64.store", True),
    "uint64": Element("i64", 8, "i64.load", "i64.store", False),
    "bool": Element("i32", 1, "i32.load8_u", "i32.store8", False),
    "int4": Element("i32", 1, "i32.load8_s", "i32.store8", True),
    "uint4": Element("i32", 1, "i32.load8_u", "i32.store8", False),
    "int2": Element("i32", 1, "i32.load8_s", "i32.store8", True),
    "uint2": Element("i32", 1, "i32.load8_u", "i32.store8", False),
}
_RAW = Element("i32", 1, "i32.load8_u", "i32.store8", False)
ELEMENTS |= {"float16": ELEMENTS["uint16"], "bfloat16": ELEMENTS["uint16"]}
ELEMENTS |= dict.fromkeys(
    ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"), _RAW
)


def load_element(dtype: str, address: Code, offset: int = 0) -> Code:
    return load(ELEMENTS[dtype].load, address, offset)


def store_element(f: Function, dtype: str, address: Code, value: Code, offset: int = 0) -> None:
    f.store(ELEMENTS[dtype].store, address, value, offset)


def wrapped(dtype: str, value: Code) -> Code:
    """The value brought back to the width of its dtype after arithmetic in 32 bits."""
    wrap = ELEMENTS[dtype].wrap
    if not wrap:
        return value
    return op(wrap, value) if wrap.startswith("i32") else value & int(wrap)
