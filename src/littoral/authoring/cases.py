"""Cases of an agent: inputs, and the answers expected of it in the sandbox.

A `.json` file holds one case or a list of them; a `.py` file a function `cases() -> Iterable[Case]`. A Python file runs
with the rights of whoever tests: it is part of the crate, like a native test.
"""

import base64
import binascii
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from littoral.clock import SYSTEM, Clock
from littoral.errors import AgentError, InputError, LittoralError, NotFoundError
from littoral.runtime.agents import Agent
from littoral.tensors import DTYPES, Array

__all__ = ["Answer", "Case", "CaseResult", "read_cases", "run_cases"]

FILE_BYTES_MAX = 64 << 20

Answer = bytes | dict[str, Array]


class Case(NamedTuple):
    """One input and what is expected: an answer, an error, or what `check` asserts of the answer.

    files: what `init` gets beside `config`, by name. tolerance: how far a number may be from the one expected,
    absolute. error_text: a part of the error's text.
    """

    name: str
    input: bytes | Mapping[str, Array]
    output: bytes | Mapping[str, Array] | None = None
    config: Mapping[str, Any] | None = None
    files: Mapping[str, Path] = {}
    error_number: int | None = None
    error_text: str = ""
    tolerance: float = 0.0
    check: Callable[[Any], None] | None = None


class CaseResult(NamedTuple):
    """why: what is wrong, empty where the case holds. ms: of the call, the agent being there."""

    name: str
    why: str
    ms: float


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Root of what a case file holds."""


class _Tensor(_Table, frozen=True):
    dtype: str
    shape: Annotated[list[int], msgspec.Meta(max_length=32)]
    data: list[Any]


class _Value(_Table, frozen=True, omit_defaults=True):
    """Exactly one of these."""

    text: str | None = None
    base64: str | None = None
    file: str | None = None
    tensors: dict[str, _Tensor] | None = None


class _Error(_Table, frozen=True):
    number: Annotated[int, msgspec.Meta(ge=-999, le=-1)]
    text: str = ""


class _Case(_Table, frozen=True):
    input: _Value
    name: str | None = None
    config: dict[str, Any] | None = None
    files: dict[str, str] = {}
    output: _Value | None = None
    error: _Error | None = None
    tolerance: float = 0.0


def read_cases(path: Path) -> list[Case]:
    """The cases of a file, or of all `.json` and `.py` files of a folder, by name. Raises NotFoundError, InputError."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".json", ".py"))
        return [case for file in files for case in read_cases(file)]
    if not path.is_file():
        raise NotFoundError(f"cases `{path}`: no such file")
    cases = list(_python_cases(path) if path.suffix == ".py" else _json_cases(path))
    for case in cases:
        if case.output is None and case.error_number is None and case.check is None:
            raise InputError(f"cases `{path}`: `{case.name}` expects nothing", hint="give an `output` or an `error`")
    return cases


def run_cases(cases: Sequence[Case], start: Callable[[Case], Agent], clock: Clock = SYSTEM) -> Iterator[CaseResult]:
    """Runs each case in an agent that `start` makes as it wants it; cases in a row that want the same share one."""
    agent: Agent | None = None
    try:
        for i, case in enumerate(cases):
            if agent is not None and _setup(cases[i - 1]) != _setup(case):
                agent.close()
                agent = None
            try:
                agent = agent or start(case)
            except LittoralError as error:
                yield CaseResult(case.name, _held_against_error(case, error), 0.0)
                continue
            yield _run(case, agent, clock)
    finally:
        if agent is not None:
            agent.close()


def _setup(case: Case) -> tuple[Mapping[str, Any] | None, Mapping[str, Path]]:
    return case.config, case.files


def _run(case: Case, agent: Agent, clock: Clock) -> CaseResult:
    began = clock.monotonic()
    try:
        answer = agent.infer(case.input)
    except LittoralError as error:
        return CaseResult(case.name, _held_against_error(case, error), (clock.monotonic() - began) * 1000)
    return CaseResult(case.name, _held_against_answer(case, answer), (clock.monotonic() - began) * 1000)


def _held_against_error(case: Case, error: LittoralError) -> str:
    number = error.number if isinstance(error, AgentError) else None
    if case.error_number is None:
        return f"{error} ({type(error).__name__})"
    if number != case.error_number:
        return f"error {number or type(error).__name__}, expected {case.error_number}: {error}"
    return "" if case.error_text in error.message else f"error `{error}`, expected one with `{case.error_text}`"


def _held_against_answer(case: Case, answer: Answer) -> str:
    if case.error_number is not None:
        return f"an answer, expected error {case.error_number}"
    if case.output is not None and (why := _difference(answer, case.output, case.tolerance)):
        return why
    try:
        if case.check is not None:
            case.check(answer)
    except AssertionError as error:
        return f"check failed: {error}" if str(error) else "check failed"
    return ""


def _difference(answer: Answer, wanted: bytes | Mapping[str, Array], tolerance: float) -> str:
    """What is different, empty if nothing is."""
    if isinstance(answer, bytes) or isinstance(wanted, bytes):
        return "" if answer == wanted else f"answer {_shown(answer)}, expected {_shown(wanted)}"
    if answer.keys() != wanted.keys():
        return f"tensors {', '.join(answer)}, expected {', '.join(wanted)}"
    for name, array in answer.items():
        expected = wanted[name]
        if array.dtype != expected.dtype or array.shape != expected.shape:
            return f"`{name}` is {array.dtype}{list(array.shape)}, expected {expected.dtype}{list(expected.shape)}"
        if not np.allclose(array, expected, rtol=0.0, atol=tolerance, equal_nan=True):
            at = np.unravel_index(np.argmax(~np.isclose(array, expected, 0.0, tolerance, equal_nan=True)), array.shape)
            place = ", ".join(map(str, at))
            return f"`{name}`[{place}] is {array[at]}, expected {expected[at]} within {tolerance:g}"
    return ""


def _shown(value: object) -> str:
    if not isinstance(value, bytes):
        return "tensors"
    return repr(value[:60]) + ("…" if len(value) > 60 else "")


def _python_cases(path: Path) -> Iterator[Case]:
    names = runpy.run_path(str(path))
    if not callable(cases := names.get("cases")):
        raise InputError(f"cases `{path}`: no function `cases`")
    for case in cases():
        if not isinstance(case, Case):
            raise InputError(f"cases `{path}`: `cases` gave a `{type(case).__name__}`, expected `Case`")
        yield case


def _json_cases(path: Path) -> Iterator[Case]:
    data = _read(path)
    try:
        found = msgspec.json.decode(data, type=list[_Case] if data.lstrip().startswith(b"[") else _Case)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"cases `{path}`: {error}") from error
    listed = found if isinstance(found, list) else [found]
    for i, case in enumerate(listed):
        name = case.name or (path.stem if len(listed) == 1 else f"{path.stem}[{i}]")
        output = None if case.output is None else _value(case.output, path, f"`{name}`: `output`")
        number, text = (None, "") if case.error is None else (case.error.number, case.error.text)
        given = _value(case.input, path, f"`{name}`: `input`")
        files = {key: path.parent / file for key, file in case.files.items()}
        yield Case(name, given, output, case.config, files, number, text, case.tolerance)


def _value(value: _Value, path: Path, what: str) -> bytes | dict[str, Array]:
    match value:
        case _Value(text=str(text), base64=None, file=None, tensors=None):
            return text.encode()
        case _Value(text=None, base64=str(text), file=None, tensors=None):
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise InputError(f"cases `{path}`: {what}: {error}") from error
        case _Value(text=None, base64=None, file=str(name), tensors=None):
            return _read(path.parent / name)
        case _Value(text=None, base64=None, file=None, tensors=dict(tensors)):
            return {name: _array(tensor, f"cases `{path}`: {what}: `{name}`") for name, tensor in tensors.items()}
    raise InputError(f"cases `{path}`: {what} must have one of `text`, `base64`, `file` and `tensors`")


def _array(tensor: _Tensor, what: str) -> Array:
    if (kind := DTYPES.get(tensor.dtype)) is None:
        raise InputError(f"{what}: unknown dtype `{tensor.dtype}`")
    try:
        return np.array(tensor.data, kind.storage).reshape(tensor.shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{what}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"`{path}`: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise InputError(f"`{path}`: {len(data)} bytes, at most {FILE_BYTES_MAX}")
    return data
