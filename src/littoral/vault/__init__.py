"""What Littoral writes for later, sealed: keys with ids, files and records that tell when they were changed."""

from littoral.vault.keys import KEY_BYTES, Key, KeyRing, parse_keys

__all__ = ["KEY_BYTES", "Key", "KeyRing", "parse_keys"]
