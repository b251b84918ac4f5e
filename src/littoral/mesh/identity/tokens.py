"""Join tokens: once, for one name, for an hour. The site keeps a digest only.

A token says whom to ask, proves who answers (the digest of the site's issuing certificate), and is known to nobody else
(128 random bits). One file a token, so that a command makes one while the door is open.
"""

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from littoral.artifact.model import write_atomically
from littoral.errors import ConflictError, ForbiddenError, InputError, TooLargeError
from littoral.mesh.trust.certificates import NAME_PATTERN

__all__ = ["Grant", "JoinToken", "Tokens", "parse_token"]

PREFIX = "littoral1"
TOKEN_COUNT_MAX = 1024
FILE_BYTES_MAX = 16 << 10
_TOKEN = re.compile(
    r"^littoral1\.(?P<issuer>[a-z0-9-]{1,63})\.(?P<id>[0-9a-f]{16})(?P<secret>[0-9a-f]{32})\.(?P<digest>[0-9a-f]{64})\Z"
)
_ID = re.compile(r"[0-9a-f]{16}")


class JoinToken(NamedTuple):
    """issuer: the node that takes it. digest: of the site's issuing certificate."""

    issuer: str
    id: str
    secret: str
    digest: str

    def __str__(self) -> str:
        return f"{PREFIX}.{self.issuer}.{self.id}{self.secret}.{self.digest}"


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is good for: one node, its place, its role. used_by: digest of the key that used it."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    secret_sha256: str
    expires_at_s: int
    region: str = ""
    labels: dict[str, str] = {}
    is_issuer: bool = False
    used_by: str = ""


def parse_token(text: str) -> JoinToken:
    """Raises InputError; the message does not repeat the token."""
    if (found := _TOKEN.match(text.strip())) is None:
        raise InputError(
            "this is no join token", hint="`littoral mesh token` prints one: `littoral1.ISSUER.….…`, all on one line"
        )
    return JoinToken(found["issuer"], found["id"], found["secret"], found["digest"])


class Tokens:
    """The grants of one issuer, in files. One process redeems; another may make."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, grant: Grant, issuer: str, digest: str, now_s: float) -> JoinToken:
        """grant: its digest is filled in here. Raises InputError for a wrong name, TooLargeError for too many."""
        if not re.match(NAME_PATTERN, grant.name):
            raise InputError(f"node `{grant.name[:80]}`: its name is 1 to 63 of a-z, 0-9 and `-`")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_old(now_s)
        if (count := len(list(self._folder.glob("*.json")))) >= TOKEN_COUNT_MAX:
            raise TooLargeError(f"{count} join tokens are open, at most {TOKEN_COUNT_MAX}")
        token = JoinToken(issuer, secrets.token_hex(8), secrets.token_hex(16), digest)
        self._write(token.id, msgspec.structs.replace(grant, secret_sha256=_digest(token.secret)))
        return token

    def check(self, id: str, secret: str, key_digest: str, now_s: float) -> Grant:  # noqa: A002
        """What the token grants to this key. Raises ForbiddenError for a wrong, old or used one.

        The key that used it may use it again: the answer may have been lost on the way.
        """
        grant = self._read(id) if _ID.fullmatch(id) else None
        if grant is None or not hmac.compare_digest(grant.secret_sha256, _digest(secret)):
            raise ForbiddenError("nobody here made this join token", hint="make one with `littoral mesh token`")
        if now_s > grant.expires_at_s:
            raise ForbiddenError(
                f"the join token for `{grant.name}` has expired", hint="make another with `littoral mesh token`"
            )
        if grant.used_by not in ("", key_digest):
            raise ConflictError(
                f"the join token for `{grant.name}` was used", hint="make another with `littoral mesh token`"
            )
        return grant

    def use(self, id: str, grant: Grant, key_digest: str) -> None:  # noqa: A002
        """From now on it is this key's only; on disk when this returns."""
        self._write(id, msgspec.structs.replace(grant, used_by=key_digest))

    def _remove_old(self, now_s: float) -> None:
        for file in self._folder.glob("*.json"):
            grant = self._read(file.stem)
            if grant is None or now_s > grant.expires_at_s:
                file.unlink(missing_ok=True)

    def _read(self, id: str) -> Grant | None:  # noqa: A002
        try:
            with (self._folder / f"{id}.json").open("rb") as stream:
                return msgspec.json.decode(stream.read(FILE_BYTES_MAX), type=Grant)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _write(self, id: str, grant: Grant) -> None:  # noqa: A002
        write_atomically(self._folder / f"{id}.json", msgspec.json.encode(grant), 0o600)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
