"""Texts that a gateway keeps beside its collection: sealed where the site has keys, as the collection's are."""

from typing import TYPE_CHECKING, NamedTuple

from littoral.vault.layout import MAGIC

if TYPE_CHECKING:
    from littoral.vault import KeyRing

__all__ = ["Seal"]


class Seal(NamedTuple):
    """keys: None: nothing is sealed. purpose: what is sealed for one is opened for no other."""

    keys: "KeyRing | None"
    purpose: str

    def pack(self, data: bytes) -> bytes:
        if self.keys is None:
            return data
        from littoral.vault.sealed import sealed

        return sealed(data, self.keys, self.purpose)

    def unpack(self, data: bytes) -> bytes:
        """Raises TrustError for what was not sealed so; what lies plain is left as it was before there were keys."""
        if self.keys is None or not data.startswith(MAGIC):
            return data
        from littoral.vault.sealed import opened

        return opened(data, self.keys, self.purpose, "near misses")
