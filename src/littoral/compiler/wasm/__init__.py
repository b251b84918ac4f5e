"""WebAssembly: instructions, expressions, functions, modules, and their text."""

from littoral.compiler.wasm.code import Code, Number, const, load, op, select, shuffle, splat, vector
from littoral.compiler.wasm.function import Function, Label, Local
from littoral.compiler.wasm.module import Module
from littoral.compiler.wasm.opcodes import OPCODES
from littoral.compiler.wasm.targets import TARGETS, Target, TargetedModule
from littoral.compiler.wasm.text import function_text
from littoral.compiler.wasm.written import WrittenFunction, written_functions

__all__ = [
    "OPCODES",
    "TARGETS",
    "Code",
    "Function",
    "Label",
    "Local",
    "Module",
    "Number",
    "Target",
    "TargetedModule",
    "WrittenFunction",
    "const",
    "function_text",
    "load",
    "op",
    "select",
    "shuffle",
    "splat",
    "vector",
    "written_functions",
]
