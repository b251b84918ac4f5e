"""Server-sent events of OpenAI's streams: bytes to payloads, payloads to one answer, and one answer to payloads."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from littoral.errors import UpstreamError

__all__ = ["DONE", "EVENT_BYTES_MAX", "Assembly", "Events", "error_of", "event", "payloads_of"]

EVENT_BYTES_MAX = 1 << 20
DONE = b"[DONE]"
PIECE_CHARACTERS = 200

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def event(payload: bytes) -> bytes:
    """As it stands in a stream."""
    return b"data: " + payload + b"\n\n"


class Events:
    """Cuts a stream into payloads of `data` (HTML standard, 9.2.6), however it comes."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads that are whole now. Raises UpstreamError for an event of more than `EVENT_BYTES_MAX` bytes."""
        data = self._left + data
        if b"\r" in data:
            is_split = data.endswith(b"\r")
            data = data[: -1 if is_split else None].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            data += b"\r" if is_split else b""
        *whole, self._left = data.split(b"\n\n")
        if len(self._left) > EVENT_BYTES_MAX:
            raise UpstreamError(f"upstream: an event has more than {EVENT_BYTES_MAX} bytes", kind="too_large")
        return [payload for block in whole if (payload := _payload(block)) is not None]

    def rest(self) -> list[bytes]:
        """What a stream ends with that forgets its last empty line."""
        left, self._left = self._left.rstrip(b"\r\n"), b""
        return [] if (payload := _payload(left)) is None else [payload]


def _payload(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b" ".join(lines) if lines else None  # no text of JSON holds a line's end


def error_of(told: Mapping[str, Any]) -> Any:
    """What services say in place of an answer, also with status 200; None where it is an answer."""
    return told.get("error") or None


class Assembly:
    """One answer out of the payloads of a stream: what the same request without `stream` would have been given."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None
        self.is_done = False
        self.error: Any = None

    def add(self, payload: bytes) -> bool:
        """Whether it is nothing but the count of tokens. Raises UpstreamError for what is no JSON."""
        if payload == DONE:
            self.is_done = True
            return False
        try:
            told = _decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise UpstreamError("upstream: an event of its stream is no JSON", kind="malformed") from error
        if (said := error_of(told)) is not None:
            self.error = said
            return False
        for name, value in told.items():
            if name not in ("choices", "usage") and not self._head.get(name):  # some begin with an empty one
                self._head[name] = str(value or "").removesuffix(".chunk") if name == "object" else value
        if told.get("usage"):
            self._usage = told["usage"]
        choices = told.get("choices") or []
        for one in choices if isinstance(choices, list) else []:
            if isinstance(one, dict):
                self._add(one)
        return not choices and self._usage is not None

    @property
    def is_whole(self) -> bool:
        """Whether every choice has come to its end."""
        return bool(self._choices) and all(one.get("finish_reason") for one in self._choices.values())

    def answer(self) -> dict[str, Any]:
        """What there is of it."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            calls = choice.get("message", {}).get("tool_calls")
            if isinstance(calls, dict):
                choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
        found = self._head | {"choices": choices}
        return found if self._usage is None else found | {"usage": self._usage}

    def _add(self, part: Mapping[str, Any]) -> None:
        index = part.get("index", 0)
        choice = self._choices.setdefault(index if isinstance(index, int) else 0, {"index": index})
        if isinstance(part.get("text"), str):
            choice["text"] = choice.get("text", "") + part["text"]
        if isinstance(delta := part.get("delta"), dict):
            _join(choice.setdefault("message", {"role": "assistant", "content": None}), delta)
        if isinstance(logs := part.get("logprobs"), dict):
            _join(choice.setdefault("logprobs", {}), logs)
        else:
            choice.setdefault("logprobs", None)
        if part.get("finish_reason"):
            choice["finish_reason"] = part["finish_reason"]
        choice.setdefault("finish_reason", None)


def _join(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        before = whole.get(name)
        if name == "tool_calls" and isinstance(value, list):
            _join_calls(whole.setdefault("tool_calls", {}), value)
        elif name in ("role", "id", "type", "index") or before is None:
            whole[name] = value if value is not None else before
        elif isinstance(before, str) and isinstance(value, str):
            whole[name] = before + value
        elif isinstance(before, list) and isinstance(value, list):
            before += value
        elif isinstance(before, dict) and isinstance(value, dict):
            _join(before, value)


def _join_calls(calls: dict[int, Any], parts: list[Any]) -> None:
    for part in parts:
        if isinstance(part, dict) and isinstance(index := part.get("index", 0), int):
            _join(calls.setdefault(index, {}), {name: part[name] for name in part if name != "index"})


def payloads_of(answer: Mapping[str, Any], *, has_usage: bool) -> Iterator[bytes]:
    """A whole answer as the payloads of a stream, `[DONE]` at the end. has_usage: as `stream_options` asked."""
    choices = [one for one in answer.get("choices") or () if isinstance(one, dict)]
    is_chat = any("message" in choice for choice in choices)
    head = {name: answer[name] for name in answer if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    more: dict[str, Any] = {"usage": None} if has_usage else {}
    for choice in choices:
        parts = _chat_parts(choice) if is_chat else _text_parts(choice)
        end: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
        place = {"index": choice.get("index", 0)}
        for part in parts:
            yield _encode(head | {"choices": [place | part | {"finish_reason": None}]} | more)
        yield _encode(
            head | {"choices": [place | end | {"logprobs": None, "finish_reason": choice.get("finish_reason")}]} | more
        )
    if has_usage:
        yield _encode(head | {"choices": [], "usage": answer.get("usage")})
    yield DONE


def _chat_parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    message = choice.get("message") or {}
    logs = choice.get("logprobs")
    others = {name: message[name] for name in message if name not in ("content", "tool_calls") and message[name]}
    yield {"delta": {"role": "assistant", "content": "", **others}, "logprobs": None}
    for number, piece in enumerate(_pieces(message.get("content") or "")):
        yield {"delta": {"content": piece}, "logprobs": logs if number == 0 else None}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"delta": {"tool_calls": [{"index": index, **call}]}, "logprobs": None}


def _text_parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for number, piece in enumerate(_pieces(choice.get("text") or "")):
        yield {"text": piece, "logprobs": choice.get("logprobs") if number == 0 else None}


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS))
