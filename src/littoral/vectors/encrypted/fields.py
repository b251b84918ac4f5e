"""Payloads with sealed fields: what lies in the store for a value, and the way back.

For the value of a field `customer`, the store has at `customer` a token in the place of each text, whole number and
truth value (`~` for what no filter can equal: other numbers, objects, lists in lists), in lists as alone, and at
`customer__sealed` the whole value sealed, bound to collection, field and point. Null, and a list of nothing, stay: so
conditions on equality, presence and number of values find the same points as on plain values.

While a field comes or goes some of its values lie sealed and some plain; what lies beside tells which, and equality is
looked for in either form.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from littoral.errors import InputError, TrustError
from littoral.vault import KeyRing
from littoral.vectors.checks import check_payload
from littoral.vectors.encrypted.names import SUFFIX
from littoral.vectors.filters import Condition, Filter, Match, PayloadField
from littoral.vectors.payload_paths import steps_of
from littoral.vectors.records import Payload, PointId

__all__ = ["Renewal", "SealedFields"]

NOTHING_EQUALS = "~"
INT64 = range(-(1 << 63), 1 << 63)


class Renewal(NamedTuple):
    """Writes a value anew: `payload` where `matching` still finds the point, which is while nobody else changed it.

    Without a payload it takes `keys` away.
    """

    matching: Filter
    payload: Payload
    keys: Sequence[str] = ()


class SealedFields:
    """Of one collection. ring: its keys. owner: whose it is, if not this node's own; what one sealed opens in no other
    owner's collection of that name. Raises SetupError without the extra, by what it imports.

    either: those of the fields whose values may lie in either form. opening: those of them that are written plain from
    now on. is_cleared: no value of these lies sealed any more, only what stands in the place of one.
    """

    def __init__(
        self,
        collection: str,
        fields: Sequence[str],
        ring: KeyRing,
        owner: str = "",
        *,
        either: Collection[str] = (),
        opening: Collection[str] = (),
        is_cleared: bool = False,
    ) -> None:
        from littoral.vault.sealed import Values

        self.collection = collection
        self.settled: Callable[[], None] = lambda: None
        """To be called, in any thread, when all values lie as they are to lie."""
        self._either = frozenset(either) | frozenset(opening)
        self._opening, self._is_cleared = frozenset(opening), is_cleared
        self._bound = f"{owner}{collection}"
        self._values = {name: Values(ring, f"payload field\0{self._bound}\0{name}") for name in fields}
        self._beside = {f"{name}{SUFFIX}": name for name in fields}

    @property
    def names(self) -> list[str]:
        return list(self._values)

    @property
    def opening(self) -> list[str]:
        """Those that are to lie plain, and may not yet."""
        return [] if self._is_cleared else sorted(self._opening)

    @property
    def cleared(self) -> list[str]:
        """Those that lie plain."""
        return sorted(self._opening) if self._is_cleared else []

    def of_path(self, path: str) -> str | None:
        """The field that a path leads to or into; None for others, and for what is no path, of which the store tells.

        Raises InputError for the place of a sealed value itself.
        """
        if (first := _first(path)) in self._beside:
            raise self._reserved(first)
        return first if first in self._values else None

    def of_whole(self, path: str, what: str) -> str | None:
        """As `of_path`. Raises InputError for a path into a sealed value."""
        if (field := self.of_path(path)) is None:
            return None
        steps = steps_of(path)
        if len(steps) > 1 or steps[0][1] not in ([], [None]):
            raise self.refused(field, f"{what} into it")
        return field

    def refused(self, field: str, what: str) -> InputError:
        """The error for what cannot be done with a sealed field."""
        return InputError(
            f"field `{field}` of collection `{self.collection}` is encrypted: no {what}",
            hint="match it by `value`, `any` or `except`, or test `is_empty`, `is_null` or `values_count`",
        )

    def is_either(self, field: str) -> bool:
        """Whether some values of it may lie plain."""
        return field in self._either

    @staticmethod
    def beside(field: str) -> str:
        """Where its sealed values lie."""
        return f"{field}{SUFFIX}"

    def tokens(self, field: str, value: bool | int | str) -> list[str]:
        """What the store may have for a value, by every key."""
        return [_text(token) for token in self._values[field].tokens(_told(value))]

    def sealed(self, point_id: PointId, payload: Payload) -> Payload:
        """A copy as it is to be stored. Raises InputError for what no payload may hold."""
        self.check_keys(payload)
        found = dict(payload)
        for field, value in payload.items():
            if field in self._values:
                found |= self._stored(field, point_id, value)
        return found

    def needs_id(self, payload: Payload) -> bool:
        """Whether something in it is bound to its point."""
        sealed = self._values.keys() - self._opening
        return any(value is not None and value != [] for field, value in payload.items() if field in sealed)

    def check_keys(self, payload: Mapping[str, Any]) -> None:
        """Raises InputError where something stands in the place of a sealed value."""
        for key in payload:
            if key in self._beside:
                raise self._reserved(key)

    def all_keys(self, keys: Sequence[str], what: str) -> list[str]:
        """Paths with the places of the sealed values beside them. Raises InputError for one into a sealed value."""
        fields = [self.of_whole(key, what) for key in keys]
        return [*keys, *(f"{field}{SUFFIX}" for field in fields if field is not None)]

    def stored_names(self) -> list[str]:
        """Where something of the fields lies."""
        return [*self._values, *self._beside]

    def opened(self, point_id: PointId, payload: Payload) -> Payload:
        """The payload as it was given; changed in place. What was stored plain before is as it is.

        Raises TrustError for a value that was changed or belongs elsewhere, or whose key is not there.
        """
        for beside, field in self._beside.items():
            text = payload.pop(beside, None)
            if text is not None:
                payload[field] = self._opened(field, point_id, text)
        return payload

    def renewals(self, point_id: PointId, stored: Payload) -> Iterator[Renewal]:
        """What of a point does not lie as it is to lie: sealed by the key that seals now, or plain.

        stored: at least `stored_names` of its payload.
        """
        for beside, field in self._beside.items():
            text, value = stored.get(beside), stored.get(field)
            is_opening = field in self._opening
            if isinstance(text, str):
                if is_opening or not self._values[field].is_current(_bytes(text)):
                    same = [Condition(has_id=[point_id]), Condition(key=beside, match=Match(value=text))]
                    opened = self._opened(field, point_id, text)
                    yield Renewal(Filter(must=same), self._stored(field, point_id, opened))
            elif is_opening:
                if self._is_cleared and beside in stored:
                    empty = [Condition(has_id=[point_id]), Condition(is_empty=PayloadField(beside))]
                    yield Renewal(Filter(must=empty), {}, [beside])
            elif text is None and value is not None and value != []:
                yield Renewal(_unsealed(point_id, field, beside), self._stored(field, point_id, value))

    def _stored(self, field: str, point_id: PointId, value: Any) -> Payload:
        """What is to lie there for a value. Where none is sealed any more, nothing has to take the place of one."""
        if field not in self._opening:
            return self._sealed(field, point_id, value)
        return {field: value} if self._is_cleared else {field: value, self.beside(field): None}

    def _sealed(self, field: str, point_id: PointId, value: Any) -> Payload:
        beside = self.beside(field)
        if value is None or value == []:
            return {field: value, beside: None}
        check_payload({field: value}, f"point `{point_id}`")
        data = self._values[field].seal(msgspec.json.encode(value), self._place(field, point_id))
        tokens = [self._token(field, one) for one in value] if isinstance(value, list) else self._token(field, value)
        return {field: tokens, beside: _text(data)}

    def _opened(self, field: str, point_id: PointId, text: Any) -> Any:
        what = f"field `{field}` of point `{point_id}` in collection `{self.collection}`"
        if not isinstance(text, str):
            raise TrustError(f"{what} is not as it was sealed")
        return msgspec.json.decode(self._values[field].open(_bytes(text), self._place(field, point_id), what))

    def _place(self, field: str, point_id: PointId) -> bytes:
        """It says by itself what is derived from the key too, for who reads the format."""
        return f"{self._bound}\0{field}\0{type(point_id).__name__}\0{point_id}".encode()

    def _token(self, field: str, value: Any) -> str | None:
        if value is None:
            return None
        is_equal_to_some = isinstance(value, str | bool) or (isinstance(value, int) and value in INT64)
        return _text(self._values[field].token(_told(value))) if is_equal_to_some else NOTHING_EQUALS

    def _reserved(self, key: str) -> InputError:
        return InputError(
            f"payload: `{key}` is where the sealed value of `{self._beside[key]}` lies", hint="use another name"
        )


def _unsealed(point_id: PointId, field: str, beside: str) -> Filter:
    """Whether a point still has a value that was stored before the field was encrypted."""
    return Filter(
        must=[Condition(has_id=[point_id]), Condition(is_empty=PayloadField(beside))],
        must_not=[Condition(is_empty=PayloadField(field))],
    )


def _first(path: str) -> str:
    try:
        return steps_of(path)[0][0]
    except InputError:
        return ""


def _told(value: bool | int | str) -> bytes:
    """Different for each value of any kind: JSON tells texts, numbers and truth values apart."""
    return msgspec.json.encode(value)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Nothing for what is no base64: then no cipher opens it."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
