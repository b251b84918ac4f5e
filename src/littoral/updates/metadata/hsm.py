"""The one door to PKCS#11: keys of roles on a smart card, a USB key or a hardware security module.

URI `hsm:KEYID` or `hsm:KEYID?label=TOKEN`, as securesystemslib has it; without KEYID it is 2, a PIV card's slot for
signatures. A key is ECDSA on P-256 or P-384, and never leaves its token.
"""

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import HSMSigner, Key, Signature, SSlibKey

from littoral import settings
from littoral.errors import InputError, NotFoundError, SettingError, SetupError, TrustError

__all__ = ["TokenSigner", "public_of"]

MODULE, PIN, PIN_FILE = "PYKCS11LIB", "LITTORAL_PIN", "LITTORAL_PIN_FILE"
PIN_BYTES_MAX = 1024
LOCKS = "some tokens lock themselves after three wrong ones"
HINTS = {
    "PinIncorrect": ("the PIN is wrong", LOCKS),
    "PinInvalid": ("the PIN is wrong", LOCKS),
    "PinLenRange": ("no PIN has this length", LOCKS),
    "PinLocked": ("the PIN is locked", "its security officer sets another one"),
    "PinExpired": ("the PIN has expired", "set another one with the token's own tool"),
    "UserPinNotInitialized": ("the token has no PIN yet", "set one with the token's own tool"),
    "DeviceRemoved": ("the token was taken away", "plug it in again"),
    "MechanismInvalid": ("the key does not sign by ECDSA", "one on P-256 or P-384"),
}

Ask = Callable[[str], str]


class TokenSigner(HSMSigner):
    """A key on a token. The PIN is asked for once, when the first signature is made."""

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Ask | None = None) -> "TokenSigner":
        """Raises InputError, SetupError, SettingError."""
        key_id, label = _parsed(priv_key_uri)
        _need_module()
        if not isinstance(public_key, SSlibKey) or not public_key.scheme.startswith("ecdsa-sha2-nistp"):
            raise InputError(
                f"`{priv_key_uri}`: its public half is for `{public_key.scheme}`, which no token signs by here",
                hint="a key on P-256 or P-384; `littoral keys public` writes its public half",
            )
        return cls(key_id, public_key, _asked_once(priv_key_uri, secrets_handler), label)

    def sign(self, payload: bytes) -> Signature:
        """Raises TrustError for a token that is not there, refuses the PIN, or has another key."""
        where = f"key {self.hsm_keyid} on {_told(self.token_label)}"
        with _said(where):
            made = super().sign(payload)
        try:
            self.public_key.verify_signature(made, payload)
        except UnverifiedSignatureError as error:
            raise TrustError(
                f"{where} is not the one whose public half was given", hint="`littoral keys public` writes its own"
            ) from error
        return made


def public_of(uri: str, ask: Ask | None = None) -> SSlibKey:
    """The public half of a key on a token, from the token. ask: for the PIN, of those that show nothing without.

    Raises InputError, SetupError, SettingError, TrustError.
    """
    key_id, label = _parsed(uri)
    _need_module()
    with _said(f"key {key_id} on {_told(label)}"):
        _, key = HSMSigner.import_(key_id, label, _asked_once(uri, ask))
    return key


def _parsed(uri: str) -> tuple[int, str | None]:
    split = urlsplit(uri)
    if split.scheme != HSMSigner.SCHEME or not (split.path or "2").isdecimal():
        raise InputError(f"`{uri}` names no key on a token", hint="as `hsm:2?label=TOKEN`")
    return int(split.path or HSMSigner.SCHEME_KEYID), dict(parse_qsl(split.query)).get("label")


def _need_module() -> None:
    if find_spec("pkcs11") is None:
        raise SetupError("keys on a token need `python-pkcs11`", hint='install `pip install "littoral[hsm]"`')
    file = settings.text(MODULE)
    if not file:
        raise SettingError(
            f"environment variable `{MODULE}` is not set", hint="the token's PKCS#11 module, such as `/usr/lib/….so`"
        )
    if not Path(file).is_file():
        raise SettingError(f"environment variable `{MODULE}` is `{file}`, which is not there")


def _asked_once(uri: str, ask: Ask | None) -> Ask:
    """PIN of file or environment, else of who is there."""
    known: list[str] = []

    def pin(_: str) -> str:
        if not known:
            known.append(_pin(uri, ask))
        return known[0]

    return pin


def _pin(uri: str, ask: Ask | None) -> str:
    file = settings.text(PIN_FILE)
    if file:
        try:
            with Path(file).open("rb") as stream:
                return stream.read(PIN_BYTES_MAX).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f"`{PIN_FILE}`: `{file}`: {error}") from error
    if found := settings.text(PIN):
        return found
    if ask is None:
        raise InputError(f"`{uri}` wants a PIN, and nobody is there to ask", hint=f"`{PIN_FILE}` names a file with it")
    return ask(f"PIN of {uri}")


@contextlib.contextmanager
def _said(where: str) -> Iterator[None]:
    """What the library says of a token, in words that tell what to do."""
    from pkcs11.exceptions import PKCS11Error

    try:
        yield
    except PKCS11Error as error:
        kind = type(error).__name__
        what, hint = HINTS.get(kind, (f"{kind} {error}".strip(), f"`{MODULE}` names the token's own module"))
        raise TrustError(f"{where}: {what}", hint=hint) from error
    except ValueError as error:
        raise TrustError(f"{where}: {error}", hint="`pkcs11-tool --list-objects` shows what is there") from error


def _told(label: str | None) -> str:
    return "the token" if label is None else f"token `{label}`"
