"""Desired state as documents: numbered, signed by the issuing key, kept on disk, and replaced only by newer ones.

A document is pulled from any node that has it, because its signature says whose it is. Its bytes are canonical: what is
taken is what the writer signed, and the same state is the same bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from littoral.artifact.model import write_atomically
from littoral.errors import ConflictError, NodeError, TooLargeError, TrustError
from littoral.mesh.trust.boot_clock import BootClock
from littoral.mesh.trust.certificates import Certificate, certificates_of, issuing_key_in, pem_of_chain, site_of
from littoral.mesh.trust.chain import Refusal, Trust
from littoral.mesh.trust.keys import IssuingKey, sign, verify

__all__ = ["DOCUMENT_BYTES_MAX", "TERM_BITS", "Document", "DocumentStore", "open_document", "sign_document"]

CONTENT_BYTES_MAX = 8 << 20
DOCUMENT_BYTES_MAX = 2 * CONTENT_BYTES_MAX
NUMBER_MAX = (1 << 53) - 1
TERM_BITS = 20
"""A number's higher bits count the times that another node took over as writer."""

PURPOSE = "document 1"

Kind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """kind: there is one current document of each. writer: the node that wrote it. content: as the kind has it."""

    site: Annotated[str, Meta(max_length=64)]
    kind: Kind
    number: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    writer: Annotated[str, Meta(max_length=64)]
    written_at_s: Annotated[int, Meta(ge=0)]
    content: bytes
    format: Literal[1] = 1


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    document: bytes
    signature: Annotated[bytes, Meta(max_length=128)]
    certificate: Annotated[str, Meta(max_length=8192)]


def sign_document(document: Document, key: IssuingKey, issuing: Certificate) -> bytes:
    """What travels and is kept. Raises TooLargeError."""
    if len(document.content) > CONTENT_BYTES_MAX:
        raise TooLargeError(f"document `{document.kind}`: {len(document.content)} bytes, at most {CONTENT_BYTES_MAX}")
    data = _encode(document)
    return _encode(_Signed(data, sign(key, PURPOSE, data), pem_of_chain([issuing]).decode()))


class _Opened(NamedTuple):
    """signer: the authority's certificate."""

    document: Document
    signer: Certificate


def open_document(signed: bytes, trust: Trust) -> Document:
    """Raises TrustError unless an authority of this site signed it, and for any other form than the one it writes."""
    opened = _open(signed, trust)
    if refusal := _refusal_of(opened, trust):
        raise refusal.error()
    return opened.document


def _refusal_of(opened: _Opened, trust: Trust) -> Refusal | None:
    return trust.refusal_of_authority(opened.signer, f"document `{opened.document.kind}` {opened.document.number}")


def _open(signed: bytes, trust: Trust) -> _Opened:
    """By any authority that the site has or had. Raises TrustError."""
    if len(signed) > DOCUMENT_BYTES_MAX:
        raise TrustError(f"signed document of {len(signed)} bytes, at most {DOCUMENT_BYTES_MAX}")
    try:
        outer = msgspec.json.decode(signed, type=_Signed)
        document = msgspec.json.decode(outer.document, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"signed document: {error}") from error
    issuing = certificates_of(outer.certificate.encode())[0]
    if (site := site_of(issuing, trust.root)) != trust.site or document.site != trust.site:
        raise TrustError(f"document `{document.kind}` is of the site `{site}`, this is `{trust.site}`")
    verify(issuing_key_in(issuing), PURPOSE, outer.document, outer.signature)
    if _encode(document) != outer.document or _encode(outer) != signed:
        raise TrustError(f"document `{document.kind}` {document.number} is not in its canonical form")
    return _Opened(document, issuing)


class DocumentStore:
    """The current document of each kind, on disk before it is used.

    Raises NodeError, naming the file, for one on disk that does not verify: without it a lower number would be taken.
    What lies there was taken while its authority counted, and is kept when it does so no longer. trust: may be set.
    refused: told of what an authority signed that the site has retired.
    """

    def __init__(
        self, folder: Path, trust: Trust, clock: BootClock, refused: Callable[[Refusal], None] = lambda _: None
    ) -> None:
        self.trust = trust
        self._folder = folder
        self._clock = clock
        self._refused = refused
        self._signers: dict[str, Certificate] = {}
        self._signed: dict[str, bytes] = {}
        self._documents: dict[str, Document] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.json")):
            self._read(file)

    def current(self, kind: str) -> Document | None:
        return self._documents.get(kind)

    def signed(self, kind: str) -> bytes | None:
        """As it travels."""
        return self._signed.get(kind)

    def signer(self, kind: str) -> Certificate | None:
        """The authority that signed it."""
        return self._signers.get(kind)

    def numbers(self) -> dict[str, int]:
        """What is here, by kind."""
        return {kind: document.number for kind, document in self._documents.items()}

    def refresh(self) -> None:
        """Takes what another process of this node has written since. Raises as the constructor."""
        for file in sorted(self._folder.glob("*.json")):
            self._read(file)

    def opened(self, signed: bytes) -> Document:
        """Raises as `open_document`."""
        return self._opened(signed).document

    def take(self, signed: bytes) -> bool:
        """Whether it was newer. Raises TrustError, ConflictError for another one of the same number, NodeError."""
        document, signer = self._opened(signed)
        if (known := self._documents.get(document.kind)) is not None:
            if document.number < known.number or document == known:
                return False
            if document.number == known.number:
                raise ConflictError(
                    f"two documents `{document.kind}` of number {known.number}: by `{known.writer}` at "
                    f"{known.written_at_s} and by `{document.writer}` at {document.written_at_s}",
                    hint="`littoral mesh take-over` on the node that shall go on writing",
                )
        file = self._folder / f"{document.kind}.json"
        try:
            write_atomically(file, signed, 0o600)
        except OSError as error:
            raise NodeError(f"`{file}`: {error.strerror}", hint="the one before holds; make room") from error
        self._keep(document, signed, signer)
        return True

    def _opened(self, signed: bytes) -> _Opened:
        opened = _open(signed, self.trust)
        if refusal := _refusal_of(opened, self.trust):
            self._refused(refusal)
            raise refusal.error()
        return opened

    def _read(self, file: Path) -> None:
        try:
            with file.open("rb") as stream:
                signed = stream.read(DOCUMENT_BYTES_MAX + 1)
            if signed == self._signed.get(file.stem):
                return
            document, signer = _open(signed, self.trust)
        except (OSError, TrustError) as error:
            raise NodeError(f"`{file}`: {error}", hint="remove it, and it is pulled again from another node") from error
        known = self._documents.get(document.kind)
        if known is None or document.number > known.number:
            self._keep(document, signed, signer)

    def _keep(self, document: Document, signed: bytes, signer: Certificate) -> None:
        self._signers[document.kind] = signer
        self._documents[document.kind] = document
        self._signed[document.kind] = signed
        self._clock.learn(document.written_at_s)


def _encode(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
