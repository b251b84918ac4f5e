"""Who may be told an answer again: digests of a request, and the rules that keep a cache away from it.

Nothing in a request is left out silently: a field has a row in `FIELDS`, or counts with its name and its whole value.
Values are framed by their lengths, so that no two requests make the same bytes. The table is in
docs/reference/gateway-keys.md.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple
from unicodedata import normalize

import msgspec

from littoral.answers.asked import Asked, Reach
from littoral.answers.markers import Markers, folded
from littoral.answers.scripts import hides
from littoral.errors import InputError

__all__ = ["FIELDS", "Kind", "Rules", "asked_of", "shape_of", "unkept"]

Kind = Literal["chat", "completion"]
VERSION = b"littoral answers 1"
PARTITION_BYTES = 16
DEPTH_MAX = 32
SHAPE_MAX, SHAPE_CHARS_MAX = 24, 40
MESSAGES_MAX = 4096
SYSTEM = frozenset({"system", "developer"})
OF_TOOLS = frozenset({"tool", "function"})


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be told again, as the operator sets it. Each rule only ever takes away.

    temperature_max: above it nothing is told again. unset_temperature: a request that names none may be. tools,
    images: such requests may be told again to the same request, and no further. turns_max: earlier turns, system
    prompts not counted, beyond which only the same request is answered. question_chars_max: of the last turn, for
    similarity. private_markers: patterns (`answers.markers`) that neither a request nor an answer may hold.
    words: whole words or phrases, whatever their case, of questions whose answers hold for one person or one moment.
    policy_version: whatever was told under another one is not told again. scan_chars_max: longer requests are not
    told again where there are markers, since nobody looks at the rest. authors_by_user: callers whose one token
    serves many people name them in `user`, and each counts as an author.
    """

    temperature_max: float = 0.3
    unset_temperature: bool = True
    tools: bool = False
    images: bool = False
    turns_max: int = 8
    question_chars_max: int = 800
    private_markers: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    policy_version: str = "1"
    scan_chars_max: int = 262_144
    authors_by_user: bool = False

    def __post_init__(self) -> None:
        Markers.of(self.private_markers, self.words)


class Field(NamedTuple):
    """counts: "out" never; "exact" in the digest of the request; "both" in its partition as well.

    default: the value that says the same as none. ordered: the order of keys inside counts, as in schemas.
    """

    counts: Literal["out", "exact", "both"]
    default: Any = None
    ordered: bool = False
    why: str = ""


FIELDS: dict[str, Field] = {
    "model": Field("both", why="another model answers otherwise"),
    "messages": Field("both", why="all but the text of the last turn; that is compared by its meaning"),
    "prompt": Field("both", why="compared by its meaning in a completion"),
    "suffix": Field("both", "", why="the answer must lead to it"),
    "echo": Field("both", False, why="the answer begins with the prompt"),
    "temperature": Field("exact", why="its class is in the partition: none, 0, or low"),
    "top_p": Field("both", 1, why="decides which words may come"),
    "top_k": Field("both", why="decides which words may come"),
    "min_p": Field("both", why="decides which words may come"),
    "seed": Field("both", why="asks for one answer of many"),
    "n": Field("both", 1, why="how many answers; more than one is never told again"),
    "best_of": Field("both", 1, why="chosen among many"),
    "max_tokens": Field("both", why="an answer under another limit is cut elsewhere"),
    "max_completion_tokens": Field("both", why="an answer under another limit is cut elsewhere"),
    "stop": Field("both", [], why="where the answer ends"),
    "presence_penalty": Field("both", 0, why="changes the answer"),
    "frequency_penalty": Field("both", 0, why="changes the answer"),
    "logit_bias": Field("both", {}, why="changes the answer"),
    "logprobs": Field("both", False, why="the answer holds more"),
    "top_logprobs": Field("both", 0, why="the answer holds more"),
    "response_format": Field("both", {"type": "text"}, ordered=True, why="the form of the answer"),
    "modalities": Field("both", ["text"], why="the kind of the answer"),
    "reasoning_effort": Field("both", why="changes the answer"),
    "verbosity": Field("both", why="changes the answer"),
    "tools": Field("both", [], ordered=True, why="what the answer may call"),
    "tool_choice": Field("both", why="what the answer may call"),
    "parallel_tool_calls": Field("both", True, why="what the answer may call"),
    "functions": Field("both", [], ordered=True, why="what the answer may call"),
    "function_call": Field("both", why="what the answer may call"),
    "web_search_options": Field("both", why="answers of one moment: a tool"),
    "audio": Field("both", why="sound in the answer"),
    "stream": Field("out", why="the same answer in pieces"),
    "stream_options": Field("out", why="the same answer in pieces"),
    "user": Field("out", why="a name for the service's own statistics"),
    "safety_identifier": Field("out", why="a name for the service's own statistics"),
    "metadata": Field("out", why="notes for the service's own lists"),
    "store": Field("out", why="whether the service keeps it"),
    "service_tier": Field("out", why="how fast, and for how much"),
    "prompt_cache_key": Field("out", why="where the service looks for prefixes"),
    "prompt_cache_retention": Field("out", why="how long the service keeps prefixes"),
}
UNKNOWN = Field("both", why="nobody knows what it changes")
TOOL_FIELDS = ("tools", "functions", "web_search_options", "tool_choice", "function_call")
LISTED = frozenset({"stop"})
"""Fields where one value says the same as a list of it."""


def asked_of(
    body: Mapping[str, Any],
    kind: Kind,
    *,
    tenant: str,
    author: bytes = b"",
    rules: Rules | None = None,
    cache_control: str = "",
) -> Asked:
    """What the cache makes of a request's body, which was read from JSON. author: digest of the token that asked.

    Raises InputError if the body is no request of this kind. The same body under the same rules gives the same digests,
    whatever the order of its fields, spaces at the edges of texts, and ways to write one character.
    """
    rules = rules or Rules()
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InputError("`model` must be the name of a model", hint='as `"model": "gpt-4o-mini"`')
    turn = _chat(body) if kind == "chat" else _completion(body)
    counted = list(_counted(body, "messages" if kind == "chat" else "prompt"))
    said = {name: value for name, field, value in counted if field.counts != "out"}
    shared = {name: value for name, field, value in counted if field.counts == "both"}
    partition = _digest(
        VERSION,
        tenant.encode("utf-8", "surrogatepass"),
        kind.encode(),
        rules.policy_version.encode("utf-8", "surrogatepass"),
        _temperature_class(body).encode(),
        _written(shared),
        b"asked" if turn.is_asked else b"",
        turn.context,
    )
    exact = _digest(partition, _written(said), turn.question.encode("utf-8", "surrogatepass"))
    reach, reason = _reach(body, turn, rules, cache_control)
    if rules.authors_by_user and isinstance(user := body.get("user"), str):
        author = _digest(author, user.encode("utf-8", "surrogatepass"))
    return Asked(tenant, model, exact, partition[:PARTITION_BYTES], turn.question, reach, reason, author)


def shape_of(body: Mapping[str, Any], kind: Kind, rules: Rules) -> dict[str, str]:
    """What the partition is made of beside tenant and model, by name, so that people are told what differs: numbers and
    truth values as they are, of all else a digest. Raises as `asked_of`.
    """
    turn = _chat(body) if kind == "chat" else _completion(body)
    fields = _counted(body, "messages" if kind == "chat" else "prompt")
    shared = {name: value for name, field, value in fields if field.counts == "both" and name != "model"}
    told = {name: _shown(value) for name, value in sorted(shared.items())[:SHAPE_MAX]}
    around = f"#{hashlib.sha256(turn.context).hexdigest()[:8]}"
    fixed = {"route": kind, "temperature": _temperature_class(body), "policy_version": _shown(rules.policy_version)}
    return fixed | {"messages before the question": around} | {name[:SHAPE_CHARS_MAX]: told[name] for name in told}


def _shown(value: Any) -> str:
    text = _written(value)
    is_short = isinstance(value, int | float) and len(text) <= SHAPE_CHARS_MAX
    return text.decode() if is_short else f"#{hashlib.sha256(text).hexdigest()[:8]}"


def unkept(answer: str, rules: Rules) -> str:
    """Why this text of an answer may not be kept, or an empty string."""
    return Markers.of(rules.private_markers, ()).found(folded(answer), rules.scan_chars_max, "answer")


class Turn(NamedTuple):
    """question: the last turn. context: bytes of all before and around it. texts: all texts of the request.

    kinds: what is not text among the parts of messages. earlier: turns before the last, system prompts not counted.
    """

    question: str
    context: bytes
    kinds: frozenset[str]
    earlier: int
    has_tools: bool
    is_asked: bool


def _chat(body: Mapping[str, Any]) -> Turn:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InputError("`messages` must be a list of at least one message")
    if len(messages) > MESSAGES_MAX:
        raise InputError(f"`messages` has {len(messages):,} messages, at most {MESSAGES_MAX:,} are taken")
    plain = [_message(index, message) for index, message in enumerate(messages)]
    last = plain[-1]
    is_asked = last["role"] == "user" and isinstance(last.get("content"), str)
    question = last["content"] if is_asked else ""
    around = [*plain[:-1], {**last, "content": None}] if is_asked else plain
    roles = [message["role"] for message in plain]
    return Turn(
        question,
        _written(around),
        frozenset(kind for message in plain for kind in _kinds(message.get("content"))),
        sum(role not in SYSTEM for role in roles[:-1]),
        any(role in OF_TOOLS for role in roles) or any(m.get("tool_calls") or m.get("function_call") for m in plain),
        is_asked,
    )


def _completion(body: Mapping[str, Any]) -> Turn:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return Turn(normalize("NFC", prompt), b"", frozenset(), 0, False, True)
    if not isinstance(prompt, list) or not prompt:
        raise InputError("`prompt` must be a text, a list of texts, or a list of token ids")
    return Turn("", _written(prompt), frozenset(), 0, False, False)


def _message(index: int, message: Any) -> dict[str, Any]:
    """A message as it counts: text in NFC without spaces at its edges, one part of text as a text, no empty fields."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InputError(f"`messages[{index}]` must be an object with a `role`")
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and _is_text(content[0]):
        content = content[0]["text"]
    if isinstance(content, str):
        content = normalize("NFC", content).strip()
    elif content is not None and not isinstance(content, list):
        raise InputError(f"`messages[{index}].content` must be a text or a list of parts")
    return {**{name: value for name, value in message.items() if value is not None}, "content": content}


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, Mapping)
        and part.keys() == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )


def _kinds(content: Any) -> Iterator[str]:
    if not isinstance(content, list):
        return
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        yield kind if isinstance(kind, str) else "unknown"


def _counted(body: Mapping[str, Any], question_field: str) -> Iterator[tuple[str, Field, Any]]:
    """Fields beside the one with the question, as they count: without those that say what their absence says."""
    for name, value in body.items():
        field = FIELDS.get(name, UNKNOWN)
        if name == question_field:
            continue
        if field is not UNKNOWN:
            if value is None:
                continue
            if _same(value, field.default):
                continue
        alone = name in LISTED and isinstance(value, str)
        yield name, field, [value] if alone else _Ordered(value) if field.ordered else value


def _same(value: Any, default: Any) -> bool:
    return default is not None and isinstance(value, bool) == isinstance(default, bool) and value == default


class _Ordered(NamedTuple):
    """A value whose keys keep their order."""

    value: Any


def _temperature_class(body: Mapping[str, Any]) -> str:
    temperature = body.get("temperature")
    if temperature is None:
        return "none"
    return "zero" if temperature == 0 else "low"


def _reach(body: Mapping[str, Any], turn: Turn, rules: Rules, cache_control: str) -> tuple[Reach, str]:
    """The first rule that speaks decides; those that say "nothing" come first."""
    for reason in _never(body, turn, rules, cache_control):
        if reason:
            return "nothing", reason
    for reason in _no_further(body, turn, rules):
        if reason:
            return "exact", reason
    return "semantic", ""


def _never(body: Mapping[str, Any], turn: Turn, rules: Rules, cache_control: str) -> Iterator[str]:
    yield "the question holds half characters (lone surrogates)" if not _is_whole(turn.question) else ""
    yield "the request says `cache-control: no-store`" if "no-store" in _directives(cache_control) else ""
    if not rules.tools:
        yield "tools: the answer depends on more than the question" if _has_tools(body, turn) else ""
    if not rules.images and (others := sorted(turn.kinds - {"text"})):
        yield f"not text alone: a part of kind `{others[0][:40]}`"
    yield "the answer is to be sound" if body.get("audio") is not None else ""
    yield _temperature_reason(body, rules)
    n = body.get("n")
    yield "more than one answer is asked for (`n`)" if n is not None and n != 1 else ""
    best_of = body.get("best_of")
    yield "chosen among several (`best_of`)" if best_of is not None and best_of != 1 else ""
    markers = Markers.of(rules.private_markers, rules.words)
    if not markers.is_empty:
        yield markers.found(
            "\n".join(folded(text) for text in _texts(body, DEPTH_MAX)), rules.scan_chars_max, "request"
        )
        yield markers.spoken(folded(turn.question))


def _no_further(body: Mapping[str, Any], turn: Turn, rules: Rules) -> Iterator[str]:
    yield "" if turn.is_asked else "the last turn is no text of a user"
    yield "tools: told again to the same request only" if _has_tools(body, turn) else ""
    yield "not text alone: told again to the same request only" if turn.kinds - {"text"} else ""
    yield "the question is empty" if not turn.question.strip() else ""
    size = len(turn.question)
    limit = rules.question_chars_max
    yield f"the question has {size:,} characters, more than {limit:,}" if size > limit else ""
    turns = turn.earlier
    yield f"{turns:,} earlier turns, more than {rules.turns_max:,}" if turns > rules.turns_max else ""
    yield hides(turn.question)


def _has_tools(body: Mapping[str, Any], turn: Turn) -> bool:
    return turn.has_tools or any(body.get(name) not in (None, [], "none") for name in TOOL_FIELDS)


def _temperature_reason(body: Mapping[str, Any], rules: Rules) -> str:
    temperature = body.get("temperature")
    if temperature is None:
        return "" if rules.unset_temperature else "no temperature is named"
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        return "a temperature that is no number"
    within = 0 <= temperature <= rules.temperature_max
    return "" if within else f"temperature {temperature:g} is above {rules.temperature_max:g}"


def _is_whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _directives(cache_control: str) -> frozenset[str]:
    return frozenset(part.partition("=")[0].strip().lower() for part in cache_control.split(","))


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Every text of a value, names of fields too."""
    if depth < 0:
        raise _too_deep()
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            yield from _texts(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, depth - 1)


def _digest(*frames: bytes) -> bytes:
    """SHA-256 of frames, each behind its length: no two lists of frames are the same bytes."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(len(frame).to_bytes(8, "little"))
        digest.update(frame)
    return digest.digest()


def _written(value: Any) -> bytes:
    """One text for one value: keys sorted but where their order counts, whole numbers without a point."""
    return json.dumps(_plain(value, DEPTH_MAX, ordered=False), separators=(",", ":"), ensure_ascii=True).encode()


def _too_deep() -> InputError:
    return InputError(f"the request is nested deeper than {DEPTH_MAX} levels")


def _plain(value: Any, depth: int, *, ordered: bool) -> Any:
    if depth < 0:
        raise _too_deep()
    if isinstance(value, _Ordered):
        return _plain(value.value, depth, ordered=True)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        items = value.items() if ordered else sorted(value.items())
        return {str(name): _plain(inner, depth - 1, ordered=ordered) for name, inner in items}
    if isinstance(value, list):
        return [_plain(inner, depth - 1, ordered=ordered) for inner in value]
    return value
