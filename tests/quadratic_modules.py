"""Modules that cost a compiler the square of their size: many loops, and many locals that live through all of them."""

from collections.abc import Sequence

LOOP = b"\x03\x40\x20\x00\x0d\x00\x0b"
"""A loop that ends with a branch back, on the first local."""


def quadratic_module(body_bytes: int, count: int = 1) -> bytes:
    """`count` functions of so many bytes: one half loops, one half uses of locals after them."""
    uses, loops = body_bytes // 8, body_bytes // 2 // len(LOOP)
    used = b"".join(b"\x20" + _number(128 + local) + b"\x1a" for local in range(uses))
    body = _number(1) + _number(uses + 128) + b"\x7f" + LOOP * loops + used + b"\x0b"
    parts = [(1, [b"\x60\0\0"]), (3, [b"\0"] * count), (10, [_number(len(body)) + body] * count)]
    return b"\0asm\1\0\0\0" + b"".join(_section(number, entries) for number, entries in parts)


def _section(number: int, entries: Sequence[bytes]) -> bytes:
    payload = _number(len(entries)) + b"".join(entries)
    return bytes([number]) + _number(len(payload)) + payload


def _number(value: int) -> bytes:
    """LEB128, unsigned."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
