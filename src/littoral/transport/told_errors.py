"""An error of the tree as bytes, and back as one of the same class."""

from typing import Any

import msgspec

from littoral import errors
from littoral.errors import LittoralError, PeerError

__all__ = ["heard_error", "told_error"]

TEXT_CHARACTERS_MAX = 4096


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    message: str
    hint: str | None = None
    more: dict[str, str | int | float | list[str] | None] = {}


_CLASSES = {name: getattr(errors, name) for name in errors.__all__}


def told_error(error: LittoralError) -> bytes:
    """Class name, message, hint, and what else the class carries that is plain. Bounded."""
    more = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(error).items()
        if name not in ("message", "hint") and isinstance(value, str | int | float | tuple | None)
    }
    kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _CLASSES)
    hint = error.hint and error.hint[:TEXT_CHARACTERS_MAX]
    return msgspec.json.encode(_Told(kind, error.message[:TEXT_CHARACTERS_MAX], hint, more))


def heard_error(peer: str, data: bytes) -> LittoralError:
    """What a peer told: an error of its class, or PeerError where this version does not understand it."""
    try:
        told = msgspec.json.decode(data, type=_Told)
    except msgspec.DecodeError:
        return PeerError(f"peer `{peer}`: told an error that is none of ours")
    if (kind := _CLASSES.get(told.kind)) is None:
        return PeerError(f"peer `{peer}`: `{told.kind[:64]}`: {told.message}", hint=told.hint)
    error: LittoralError = kind.__new__(kind)
    LittoralError.__init__(error, told.message, hint=told.hint)
    vars(error).update({name: _as_kept(value) for name, value in told.more.items()})
    return error


def _as_kept(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
