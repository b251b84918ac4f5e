"""Keys for what is sealed: 256 random bits each, named by an id that follows from them, the newest first.

A file of keys has one a line, `littoral-key-1` and its bytes in base64; what is sealed from now on is sealed by the
first, and what the others sealed can be read. So a new first line is a rotation, and a line may go once nothing is left
that names its id.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from littoral.errors import SettingError, TrustError

__all__ = ["KEY_BYTES", "KEY_FILE_BYTES_MAX", "KEY_ID_BYTES", "Key", "KeyRing", "new_key", "parse_keys"]

KEY_BYTES = 32
KEY_ID_BYTES = 8
PROOF_BYTES = 16
KEY_COUNT_MAX = 64
KEY_FILE_BYTES_MAX = 1 << 14
WORD = "littoral-key-1"
HINT = "`littoral keys seal FILE` makes one"


class Key(NamedTuple):
    """data: 32 bytes, which nothing may print."""

    data: bytes

    @property
    def id(self) -> bytes:
        """What is sealed names its key by: 8 bytes, which tell nothing of it."""
        return hmac.new(self.data, b"littoral key id", hashlib.sha256).digest()[:KEY_ID_BYTES]

    def derived(self, purpose: str) -> bytes:
        """Another 32 bytes for another use."""
        return hmac.new(self.data, f"littoral {purpose}".encode(), hashlib.sha256).digest()

    def proof(self, statement: str) -> str:
        """What only who has the key can say: 16 bytes, as hexadecimal digits."""
        return hmac.new(self.derived("proof"), statement.encode(), hashlib.sha256).digest()[:PROOF_BYTES].hex()

    def proves(self, statement: str, proof: str) -> bool:
        """Whether somebody who has the key said so."""
        return hmac.compare_digest(self.proof(statement).encode(), proof.encode())

    def __repr__(self) -> str:
        return f"Key(id={self.id.hex()})"


class KeyRing:
    """One key that seals, and all that may have sealed what is read. Raises SettingError for none, or too many."""

    def __init__(self, keys: Sequence[Key], place: str = "keys") -> None:
        if not 0 < len(keys) <= KEY_COUNT_MAX:
            raise SettingError(f"{place}: {len(keys)} keys, must be 1..{KEY_COUNT_MAX}", hint=HINT)
        self.current = keys[0]
        self._by_id = {key.id: key for key in reversed(keys)}
        if len(self._by_id) != len(keys):
            raise SettingError(f"{place}: a key stands there twice")

    @property
    def ids(self) -> list[str]:
        """In hexadecimal digits, that of the key which seals first."""
        return [self.current.id.hex(), *(one.hex() for one in self._by_id if one != self.current.id)]

    @property
    def keys(self) -> list[Key]:
        """All, that which seals first."""
        return [self.current, *(key for key in self._by_id.values() if key != self.current)]

    def sealing_by(self, key_id: str) -> "KeyRing":
        """The same keys, of which this one seals. key_id: in hexadecimal digits, of one of them."""
        return KeyRing(sorted(self.keys, key=lambda key: key.id.hex() != key_id))

    def of(self, key_id: bytes, what: str) -> Key:
        """Raises TrustError where the key of this id is not there. what: was sealed by it, for the message."""
        if (key := self._by_id.get(key_id)) is None:
            raise TrustError(
                f"{what} is sealed by key {key_id.hex()}, there are {', '.join(self.ids)}",
                hint="keep a key until nothing that it sealed is left",
            )
        return key


def new_key() -> tuple[Key, str]:
    """A key, and its line in a file."""
    key = Key(secrets.token_bytes(KEY_BYTES))
    return key, f"{WORD} {base64.b64encode(key.data).decode()}\n"


def parse_keys(data: bytes, place: str) -> KeyRing:
    """place: where the lines came from, for messages, which never tell what stands in them. Raises SettingError."""
    if len(data) > KEY_FILE_BYTES_MAX:
        raise SettingError(f"{place}: over {KEY_FILE_BYTES_MAX} bytes")
    lines = enumerate(data.splitlines(), 1)
    return KeyRing(
        [_key(line, f"{place}: line {at}") for at, line in lines if line.strip()[:1] not in (b"", b"#")], place
    )


def _key(line: bytes, place: str) -> Key:
    words = line.split()
    try:
        if (
            len(words) == 2
            and words[0] == WORD.encode()
            and len(raw := base64.b64decode(words[1], validate=True)) == KEY_BYTES
        ):
            return Key(raw)
    except binascii.Error:
        pass
    raise SettingError(f"{place} is no key: must be `{WORD}` and {KEY_BYTES} bytes in base64", hint=HINT)
