"""Machine code of a module's functions as text: what the engine makes of them on this machine."""

import io
import platform
import re
from typing import Any

from littoral.errors import NotOfferedError, SetupError
from littoral.runtime.engine import EngineKind, compile_module

__all__ = ["assembly_of"]

_FUNCTION = re.compile(r"wasm\[0\]::function\[(\d+)\]")
_MODES = {"x86_64": ("CS_ARCH_X86", "CS_MODE_64"), "aarch64": ("CS_ARCH_ARM64", "CS_MODE_ARM")}


def assembly_of(wasm: bytes, engine: EngineKind = "trusted") -> dict[int, str]:
    """Instructions of each function, one a line, by its index in the module, as an engine has them.

    Raises SetupError where the libraries that read machine code are missing, NotOfferedError on other processors.
    """
    decoder, read_elf = _decoder(platform.machine()), _reader()
    elf = read_elf(io.BytesIO(compile_module(wasm, engine).serialize()))
    text = elf.get_section_by_name(".text")
    code, base = text.data(), text["sh_addr"]
    found = {}
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if (named := _FUNCTION.match(symbol.name)) is not None:
            start, size = symbol["st_value"], symbol["st_size"]
            lines = decoder.disasm(code[start - base : start - base + size], 0)
            found[int(named[1])] = "\n".join(f"  {i.address:6x}  {i.mnemonic:12} {i.op_str}".rstrip() for i in lines)
    return found


def _decoder(machine: str) -> Any:
    if machine not in _MODES:
        raise NotOfferedError(f"machine code of `{machine}` cannot be shown; can be: {', '.join(_MODES)}")
    try:
        import capstone
    except ImportError as error:
        raise _missing("capstone") from error
    return capstone.Cs(*(getattr(capstone, name) for name in _MODES[machine]))


def _reader() -> Any:
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError as error:
        raise _missing("pyelftools") from error
    return ELFFile


def _missing(package: str) -> SetupError:
    return SetupError(f"machine code needs the package `{package}`", hint="install the extra: littoral[asm]")
