"""The keys of a site's authorities, on an issuer: one file for all, so that they change at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.model import write_atomically
from littoral.errors import TrustError
from littoral.mesh.trust.certificates import Certificate, issuing_key_in
from littoral.mesh.trust.chain import Trust
from littoral.mesh.trust.keys import IssuingKey, issuing_keys_of, pem_of, public_digest

__all__ = ["IssuingKeys", "Signing"]

FILE_BYTES_MAX = 8 << 10


class Signing(NamedTuple):
    """An authority's certificate and key."""

    authority: Certificate
    key: IssuingKey


class IssuingKeys:
    """None on a node that is no issuer. The file is read each time: another process of the node may write it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def signing(self, trust: Trust) -> Signing | None:
        """The newest authority whose key is here. Raises TrustError for keys of none that the site has or had."""
        keys = {_digest(key): key for key in self._read()}
        for authority in trust.authorities:
            if (key := keys.get(_digest(authority))) is not None:
                return Signing(authority, key)
        if keys.keys() - {_digest(authority) for authority in trust.retired}:
            raise TrustError(f"`{self._file}` is not the key of the site's issuing certificate")
        return None

    def pem(self, trust: Trust) -> bytes:
        """Those that count, for another issuer."""
        return b"".join(pem_of(key) for key in self._counting(trust))

    def take(self, pem: bytes, trust: Trust) -> None:
        """Beside those that are here, what another issuer has. Raises TrustError where none of it counts."""
        came = [key for key in issuing_keys_of(pem) if _counts(key, trust)]
        if not came:
            raise TrustError("the issuing key that came does not belong to the site's issuing certificate")
        self.write([*came, *self._counting(trust)])

    def add(self, key: IssuingKey, trust: Trust) -> None:
        """Of an authority that is to be announced."""
        self.write([key, *self._counting(trust)])

    def retire(self, trust: Trust) -> None:
        """Forgets those that count no longer."""
        kept = self._counting(trust)
        if len(kept) < len(self._read()):
            self.write(kept)

    def write(self, keys: Sequence[IssuingKey]) -> None:
        """In the place of those that are here."""
        if keys:
            different = {_digest(key): pem_of(key) for key in keys}
            write_atomically(self._file, b"".join(different.values()), 0o600)
        else:
            self._file.unlink(missing_ok=True)

    def _read(self) -> list[IssuingKey]:
        try:
            with self._file.open("rb") as stream:
                return issuing_keys_of(stream.read(FILE_BYTES_MAX))
        except FileNotFoundError:
            return []

    def _counting(self, trust: Trust) -> list[IssuingKey]:
        return [key for key in self._read() if _counts(key, trust)]


def _counts(key: IssuingKey, trust: Trust) -> bool:
    return _digest(key) in {_digest(authority) for authority in trust.authorities}


def _digest(of: IssuingKey | Certificate) -> str:
    return public_digest(of.public_key() if isinstance(of, IssuingKey) else issuing_key_in(of))
