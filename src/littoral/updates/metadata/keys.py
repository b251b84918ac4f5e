"""Keys of roles: files, sealed by a passphrase or not, and whatever a URI of securesystemslib names (`hsm:`, `awskms:`,
`gcpkms:`, `azurekms:`, `hv:`, `command:` …), so that a secret half need not be on this machine at all.
"""

import shlex
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature, Signer, SSlibKey

from littoral.artifact.model import write_atomically
from littoral.errors import ConflictError, InputError, LittoralError, NotFoundError, TrustError
from littoral.updates.metadata.hsm import TokenSigner, public_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

__all__ = ["Ask", "CommandSigner", "KeyRing", "new_key", "open_signer", "public_from", "read_public"]

Ask = Callable[[str], str]
"""For a secret by its name (`passphrase of root-1.key`, `pin`)."""

KEY, PUBLIC, URI = ".key", ".pub", ".uri"
COMMAND_S = 120.0
SIGNATURE_BYTES_MAX = 16384


class CommandSigner(Signer):
    """A program that signs: its standard input is what is to be signed, its output the signature, in hexadecimal.

    URI `command:` and the command's words, quoted as in a shell; `%` as in URLs. The program may ask for a PIN, wait
    for a button, or speak to a vault: for COMMAND_S seconds.
    """

    SCHEME = "command"

    def __init__(self, words: list[str], public_key: Key) -> None:
        self._words = words
        self._public_key = public_key

    @property
    def public_key(self) -> Key:
        return self._public_key

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Ask | None = None) -> "Signer":  # noqa: ARG003
        words = shlex.split(unquote(priv_key_uri.removeprefix(f"{cls.SCHEME}:")))
        if not words:
            raise InputError(f"`{priv_key_uri}` names no program", hint="as `command:/usr/bin/my-signer --slot 2`")
        return cls(words, public_key)

    def sign(self, payload: bytes) -> Signature:
        try:
            done = subprocess.run(self._words, input=payload, capture_output=True, timeout=COMMAND_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TrustError(f"signer `{self._words[0]}`: {error}") from error
        text = done.stdout[:SIGNATURE_BYTES_MAX].decode("ascii", "replace").strip()
        if done.returncode or not text:
            told = done.stderr[-300:].decode("utf-8", "replace").strip()
            raise TrustError(f"signer `{self._words[0]}` ended with {done.returncode} and signed nothing: {told}")
        return Signature(self._public_key.keyid, text)


SIGNER_FOR_URI_SCHEME.setdefault(CommandSigner.SCHEME, CommandSigner)
SIGNER_FOR_URI_SCHEME[TokenSigner.SCHEME] = TokenSigner


def new_key(path: Path, passphrase: str | None = None) -> CryptoSigner:
    """Ed25519, at `path`.key for its owner alone, and `path`.pub. Raises ConflictError for what is there."""
    secret, public = (path.with_name(f"{path.name}{suffix}") for suffix in (KEY, PUBLIC))
    for file in (secret, public):
        if file.exists():
            raise ConflictError(f"`{file}` is there already", hint="a lost key cannot be had again: take another name")
    key = Ed25519PrivateKey.generate()
    sealing: KeySerializationEncryption = NoEncryption()
    if passphrase:
        sealing = BestAvailableEncryption(passphrase.encode())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(secret, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing), 0o600)
    write_atomically(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return CryptoSigner(key)


def read_public(file: Path) -> SSlibKey:
    """PEM: Ed25519, ECDSA, RSA or ML-DSA. Raises NotFoundError, InputError."""
    try:
        return SSlibKey.from_crypto(load_pem_public_key(_bytes(file)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"key `{file}` is no public key in PEM", hint="the `.pub` beside the `.key`") from error


def public_from(spec: str, into: Path, ask: Ask | None = None) -> SSlibKey:
    """Writes the public half of a key on a token, as PEM. Raises as `hsm.public_of`, and ConflictError."""
    if into.exists():
        raise ConflictError(f"`{into}` is there already")
    key = public_of(spec, ask)
    write_atomically(into, key.keyval["public"].encode())
    return key


def open_signer(spec: str, *, public: Path | None = None, ask: Ask | None = None) -> Signer:
    """spec: a key file, or a URI whose public half is in the file `public`. ask: for passphrases and PINs.

    Raises NotFoundError, InputError for what is no key, TrustError for what cannot be used.
    """
    scheme = spec.partition(":")[0]
    if ":" not in spec or scheme not in SIGNER_FOR_URI_SCHEME:
        return _from_file(Path(spec), ask)
    if public is None:
        raise InputError(f"`{spec}` names a secret half only", hint="`--public FILE.pub` says which key it is")
    key = read_public(public)
    try:
        return Signer.from_priv_key_uri(spec, key, ask)
    except LittoralError:
        raise
    except Exception as error:
        raise TrustError(f"signer `{spec}`: {error}") from error


class KeyRing:
    """A folder of keys that sign without anybody there: `NAME.key`, or `NAME.uri` with `NAME.pub`.

    What a key is for is not said here but in the root that lists its id; more keys than are listed do no harm.
    """

    def __init__(self, folder: Path, ask: Ask | None = None) -> None:
        self._folder = folder
        self._ask = ask
        self._signers: dict[str, Signer] = {}
        self._files: frozenset[str] = frozenset()

    def new(self, name: str) -> Signer:
        """Makes `NAME.key`. Raises ConflictError where there is one."""
        signer = new_key(self._folder / name)
        self._signers[signer.public_key.keyid] = signer
        return signer

    def signers(self, key_ids: Iterable[str]) -> list[Signer]:
        """Those of the keys that are in the folder."""
        wanted = list(key_ids)
        if any(key_id not in self._signers for key_id in wanted):
            self._read()
        return [self._signers[key_id] for key_id in wanted if key_id in self._signers]

    def _read(self) -> None:
        if not self._folder.is_dir():
            raise NotFoundError(f"folder of keys `{self._folder}` is not there")
        files = frozenset(path.name for path in self._folder.iterdir() if path.suffix in (KEY, URI))
        for name in sorted(files - self._files):
            path = self._folder / name
            spec = str(path) if path.suffix == KEY else _bytes(path).decode().strip()
            signer = open_signer(spec, public=path.with_suffix(PUBLIC), ask=self._ask)
            self._signers[signer.public_key.keyid] = signer
        self._files = files


def _from_file(file: Path, ask: Ask | None) -> Signer:
    data = _bytes(file)
    key = _secret(file, data, None)
    if key is None and ask is not None:
        key = _secret(file, data, ask(f"passphrase of {file.name}"))
    if key is None:
        raise InputError(f"key `{file}` is sealed by a passphrase", hint="give it when it is asked for")
    try:
        return CryptoSigner(key)
    except ValueError as error:
        raise InputError(f"key `{file}`: {error}", hint="make one with `littoral keys new`") from error


def _secret(file: Path, data: bytes, passphrase: str | None) -> "PrivateKeyTypes | None":
    try:
        return load_pem_private_key(data, None if passphrase is None else passphrase.encode())
    except TypeError:
        return None
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None:
            raise TrustError(f"key `{file}`: the passphrase does not open it") from error
        raise InputError(f"key `{file}` is no secret key in PEM", hint="make one with `littoral keys new`") from error


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFoundError(f"key `{file}`: {error.strerror}") from error
