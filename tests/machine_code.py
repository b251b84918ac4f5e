"""Machine code of a compiled module: the engine's own output, read back and counted."""

import io
import platform
from typing import NamedTuple

import capstone
from elftools.elf.elffile import ELFFile

from needs import need


class Loop(NamedTuple):
    """An innermost loop: its instructions, and what should not be among them."""

    instructions: int
    multiplies: int
    adds: int
    stack_references: int
    register_moves: int


def innermost_loops(serialized: bytes) -> list[Loop]:
    """Loops without a loop inside, of an x86-64 module, the one with most multiplications first."""
    need(platform.machine() == "x86_64", "an x86-64 machine")
    elf = ELFFile(io.BytesIO(serialized))
    text = elf.get_section_by_name(".text")
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = []
    symbols = [s for s in elf.get_section_by_name(".symtab").iter_symbols() if "function[" in s.name]
    for symbol in symbols:
        start, size = symbol["st_value"], symbol["st_size"]
        offset = start - text["sh_addr"]
        code = list(decoder.disasm(text.data()[offset : offset + size], start))
        found += [_counted(body) for body in _loops(code)]
    return sorted(found, key=lambda loop: -loop.multiplies)


def _loops(code: list[capstone.CsInsn]) -> list[list[capstone.CsInsn]]:
    """Bodies of backward jumps that hold no other backward jump."""
    spans = []
    for i, instruction in enumerate(code):
        if instruction.mnemonic.startswith("j") and instruction.op_str.startswith("0x"):
            target = int(instruction.op_str, 16)
            if target <= instruction.address:
                spans.append((target, instruction.address, i))
    bodies = []
    for target, end, _ in spans:
        if any(t >= target and e < end for t, e, _ in spans):
            continue
        bodies.append([i for i in code if target <= i.address <= end])
    return bodies


def _executed(body: list[capstone.CsInsn]) -> list[capstone.CsInsn]:
    """The body without pieces that are jumped over and leave the loop: the other side of a branch never taken."""
    kept, i = [], 0
    while i < len(body):
        kept.append(body[i])
        if body[i].mnemonic.startswith("j") and body[i].mnemonic != "jmp" and body[i].op_str.startswith("0x"):
            target = int(body[i].op_str, 16)
            over = next((n for n, other in enumerate(body) if other.address == target), i + 1)
            if over > i + 1 and body[over - 1].mnemonic == "jmp":
                i = over - 1
        i += 1
    return kept


def _counted(whole: list[capstone.CsInsn]) -> Loop:
    body = _executed(whole)
    return Loop(
        instructions=len(body),
        multiplies=sum(i.mnemonic in ("vmulps", "mulps") for i in body),
        adds=sum(i.mnemonic in ("vaddps", "addps") for i in body),
        stack_references=sum("[rsp" in i.op_str or "[rbp" in i.op_str for i in body),
        register_moves=sum(
            i.mnemonic in ("vmovaps", "vmovdqa", "movaps", "vmovups") and "[" not in i.op_str for i in body
        ),
    )
