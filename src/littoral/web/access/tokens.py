"""Bearer tokens: who holds one may do what its roles say. At rest there is a digest only.

A token is `littoral_ID_SECRET`: an id that is no secret, for lists and revocation, and 256 random bits. Nobody guesses
or tries out 256 random bits, whatever the digest costs; so it is one SHA-256, at each request, where a password would
need a slow one.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import InputError, NotFoundError, SettingError, TooLargeError
from littoral.vectors.formats import check_problem

__all__ = [
    "TOKEN_COUNT_MAX",
    "Token",
    "TokenFile",
    "claimed_id",
    "new_token",
    "read_tokens",
    "without",
    "write_tokens",
]

TOKEN_COUNT_MAX = 1024
FILE_BYTES_MAX = 1 << 20
FORMAT = 1
LOOK_AGAIN_S = 0.5
_TOKEN = re.compile(r"littoral_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_TENANT = r"^[a-zA-Z0-9_-]{1,64}\Z"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
RoleName = Annotated[str, Meta(pattern=r"^[a-z]{1,20}\Z")]
ROLE_COUNT_MAX = 8
OPERATORS = frozenset({"admin", "steps"})
"""Roles of a node that no tenant has."""

_NOBODYS = hashlib.sha256(secrets.token_bytes(32)).hexdigest()

_log = logging.getLogger("littoral.access")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """name: whose it is, for people; several may have one. expires_at_s: Unix time; None: it does not.

    tenant: for whose things it is good, and for nothing else; '' = the operator's.
    """

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}\Z")]
    name: Annotated[str, Meta(pattern=_NAME)]
    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=ROLE_COUNT_MAX)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    made_at_s: int
    expires_at_s: int | None = None
    tenant: Annotated[str, Meta(pattern=rf"({_TENANT})?")] = ""

    def __post_init__(self) -> None:
        if self.tenant and (role := _operators(self.roles)):
            raise ValueError(
                f"token `{self.name}` of tenant `{self.tenant}` has the role `{role}`, which is the operator's"
            )


def _operators(roles: Iterable[str]) -> str:
    """The first of them that no tenant has, or ''."""
    return next((role for role in roles if role in OPERATORS), "")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: Annotated[list[Token], Meta(max_length=TOKEN_COUNT_MAX)]
    format: Literal[1] = 1


def new_token(
    name: str, roles: Iterable[str], now_s: float, *, life_s: float | None = None, tenant: str = ""
) -> tuple[str, Token]:
    """The token itself, which is kept nowhere, and what is kept of it. Raises InputError for a wrong name, and for a
    role that no tenant has.
    """
    if not re.match(_NAME, name):
        raise InputError(f"token `{name[:80]}`: its name is 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`")
    token_id = secrets.token_hex(6)
    text = f"littoral_{token_id}_{secrets.token_urlsafe(32)}"
    expires_at_s = None if life_s is None else int(now_s + life_s)
    held = list(dict.fromkeys(map(str, roles)))
    if tenant and (role := _operators(held)):
        raise InputError(f"token `{name}`: the role `{role}` is the operator's alone", hint="a tenant has the others")
    return text, Token(token_id, name, held, _digest(text), int(now_s), expires_at_s, tenant)


def claimed_id(text: str) -> str:
    """The id in something that looks like a token, '' for anything else."""
    found = _TOKEN.fullmatch(text)
    return found["id"] if found else ""


def read_tokens(file: Path, roles: Collection[str] = ()) -> list[Token]:
    """Raises SettingError for what is no file of tokens; none where there is no file. roles: known ones; (): any."""
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingError(f"file of tokens `{file}`: {error.strerror}") from error
    try:
        if len(data) > FILE_BYTES_MAX:
            raise ValueError(f"over {FILE_BYTES_MAX} bytes")
        tokens = msgspec.json.decode(data, type=_File).tokens
        if len({token.id for token in tokens}) != len(tokens):
            raise ValueError("two tokens have the same id")
        strange = {role for token in tokens for role in token.roles} - set(roles) if roles else set()
        if strange:
            raise ValueError(f"role `{min(strange)}` is unknown, known: {', '.join(roles)}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        problem, hint = check_problem(data, FORMAT, error)
        raise SettingError(f"file of tokens `{file}`: {problem}", hint=hint or "`littoral tokens` writes it") from error
    return tokens


def write_tokens(file: Path, tokens: list[Token]) -> None:
    """For its owner only; there as a whole or not at all. Raises TooLargeError, OSError."""
    if len(tokens) > TOKEN_COUNT_MAX:
        raise TooLargeError(f"{len(tokens)} tokens, at most {TOKEN_COUNT_MAX}")
    write_atomically(file, msgspec.json.format(msgspec.json.encode(_File(tokens))) + b"\n", 0o600)


class _Seen(NamedTuple):
    """By which a change of the file is seen."""

    changed_ns: int
    size: int
    inode: int


TokensChanged = Callable[[Mapping[str, Token], Mapping[str, Token]], None]
"""Told of the tokens before and after a change, by their ids."""


def _unheard(_before: Mapping[str, Token], _now: Mapping[str, Token]) -> None:
    pass


class TokenFile:
    """The tokens of a running node: one that `littoral tokens` makes counts at once, what it takes back within half a
    second.

    A file that became unreadable is told in the log, and the tokens stay as they were: a node neither opens to all nor
    shuts everyone out because of a slip. Raises SettingError for one that is wrong at the start.
    """

    def __init__(self, file: Path, clock: Clock, roles: Collection[str] = ()) -> None:
        self._file = file
        self._roles = roles
        self._clock = clock
        self._seen: _Seen | None = None
        self._looked_at_s = clock.monotonic()
        self._tokens: Mapping[str, Token] = {}
        self.changed: TokensChanged = _unheard
        self._seen = self._look()
        self._take()

    def find(self, text: str) -> Token | None:
        """Whose it is; None for nobody's. What is compared takes the same time however much of it is right."""
        self._refresh()
        token_id = claimed_id(text)
        if token_id and token_id not in self._tokens:
            self._look_again()
        token = self._tokens.get(token_id)
        is_right = hmac.compare_digest(token.sha256 if token else _NOBODYS, _digest(text))
        return token if is_right else None

    def claimed_tenant(self, text: str) -> str:
        """Of the token that has the id in this text, whether it is that token or not."""
        self._refresh()
        token_id = claimed_id(text)
        if token_id and token_id not in self._tokens:
            self._look_again()
        token = self._tokens.get(token_id)
        return "" if token is None else token.tenant

    def held(self, token_id: str) -> Token | None:
        """The token of that id, while there is one."""
        self._refresh()
        return self._tokens.get(token_id)

    def has_expired(self, token: Token) -> bool:
        return token.expires_at_s is not None and self._clock.wall() >= token.expires_at_s

    def _refresh(self) -> None:
        if self._clock.monotonic() - self._looked_at_s >= LOOK_AGAIN_S:
            self._look_again()

    def _look_again(self) -> None:
        self._looked_at_s = self._clock.monotonic()
        if (seen := self._look()) == self._seen:
            return
        self._seen = seen
        try:
            self._take()
        except SettingError as error:
            _log.error("%s; tokens stay as they were", error)

    def _look(self) -> _Seen | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return _Seen(found.st_mtime_ns, found.st_size, found.st_ino)

    def _take(self) -> None:
        before, self._tokens = self._tokens, {token.id: token for token in read_tokens(self._file, self._roles)}
        if before != self._tokens:
            self.changed(before, self._tokens)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def without(tokens: list[Token], named: str) -> tuple[list[Token], list[Token]]:
    """Those that stay, and those of this id or name that go. Raises NotFoundError for none."""
    gone = [token for token in tokens if named in (token.id, token.name)]
    if not gone:
        raise NotFoundError(f"no token has the id or name `{named[:80]}`", hint="`littoral tokens list`")
    return [token for token in tokens if token not in gone], gone
