"""The door to X.509: a site's root, its issuing certificate, and its nodes' certificates, made and judged.

Every certificate is valid from 1970 on, so that a TLS library whose machine does not know the time yet accepts it. When
it was made stands in the first 40 bits of its serial number. A chain is judged here, by the time that the caller gives,
and not by the machine's clock (docs/adr/0031-certificates-begin-in-1970.md).
"""

import datetime as dt
import ipaddress
import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from littoral.errors import TrustError
from littoral.mesh.trust.keys import IssuingKey, IssuingPublicKey, NodeKey, NodePublicKey

__all__ = [
    "NAME_PATTERN",
    "Certificate",
    "NodeCertificate",
    "Request",
    "certificates_of",
    "common_name_of",
    "digest_of",
    "expires_at_s",
    "hosts_in",
    "issue",
    "issued_at_s",
    "issuing_key_in",
    "make_cross",
    "make_issuing",
    "make_request",
    "make_root",
    "node_of_common_name",
    "pem_of_chain",
    "read_node_certificate",
    "read_request",
    "serial_of",
    "site_of",
    "was_issued_by",
]

Certificate = x509.Certificate

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"
REQUEST_BYTES_MAX = 4096
CHAIN_BYTES_MAX = 16 << 10
CHAIN_LENGTH_MAX = 4
HOST_COUNT_MAX = 16
ROOT_S = 20 * 365 * 86400
ISSUING_S = 5 * 365 * 86400
RANDOM_BITS = 112
# What the library raises for bytes that are not what they should be.
_BROKEN = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_ISSUING = "littoral issuing "
_ROOT = "littoral root "
_NAME = re.compile(NAME_PATTERN)
_COMMON_NAME = re.compile(r"^(?P<name>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.(?P<generation>[1-9][0-9]{0,3}))?\Z")


class Request(NamedTuple):
    """A certificate signing request whose signature holds: the name that is asked for, and the key."""

    name: str
    public_key: NodePublicKey


class NodeCertificate(NamedTuple):
    """What a node's certificate says. serial: hexadecimal. Times are Unix time in seconds.

    generation: how often certificates of its node had been revoked when it was made.
    """

    name: str
    serial: str
    issued_at_s: int
    expires_at_s: int
    public_key: NodePublicKey
    generation: int = 0


def make_root(site: str, key: IssuingKey, now_s: float) -> Certificate:
    """Signed by itself, for twenty years."""
    name = _name(_ROOT + site)
    return _authority(name, name, key.public_key(), key, now_s, ROOT_S, depth=1)


def make_issuing(
    site: str, key: IssuingPublicKey, root: Certificate, root_key: IssuingKey, now_s: float
) -> Certificate:
    """For five years, not beyond the root's end. Raises TrustError for a key that is not the root's."""
    if root.public_key() != root_key.public_key():
        raise TrustError("the root's key does not belong to its certificate")
    length_s = min(ISSUING_S, expires_at_s(root) - int(now_s))
    return _authority(_name(_ISSUING + site), root.subject, key, root_key, now_s, length_s, depth=0)


def make_cross(issuing: Certificate, older: Certificate, key: IssuingKey) -> Certificate:
    """The same name and key as `issuing`, signed by the authority before it: for who trusts no more than that one.

    Raises TrustError for a key that is not the older one's.
    """
    if older.public_key() != key.public_key():
        raise TrustError("the issuing key does not belong to the older issuing certificate")
    now_s, end_s = issued_at_s(issuing), min(expires_at_s(issuing), expires_at_s(older))
    return _authority(
        issuing.subject, older.subject, issuing_key_in(issuing), key, now_s, max(0, end_s - now_s), depth=0
    )


def make_request(name: str, key: NodeKey) -> bytes:
    """DER, signed by the key."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def read_request(der: bytes) -> Request:
    """Raises TrustError for what is no request, of another kind of key, or not signed by it."""
    if len(der) > REQUEST_BYTES_MAX:
        raise TrustError(f"certificate request of {len(der)} bytes, at most {REQUEST_BYTES_MAX}")
    try:
        request = x509.load_der_x509_csr(der)
        key, holds, subject = request.public_key(), request.is_signature_valid, request.subject
    except _BROKEN as error:
        raise TrustError("not a certificate request") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TrustError("certificate request: its key is not P-256")
    if not holds:
        raise TrustError("certificate request: its signature does not match its key")
    return Request(_node_name(subject), key)


def issue(
    request: Request,
    issuing: Certificate,
    key: IssuingKey,
    *,
    now_s: float,
    life_s: float,
    hosts: Sequence[str] = (),
    generation: int = 0,
) -> Certificate:
    """A node's certificate: to serve and to connect, for its name and hosts, not beyond the issuer's end."""
    end_s = min(int(now_s + life_s), expires_at_s(issuing))
    names = [_general_name(host) for host in dict.fromkeys((request.name, *hosts[:HOST_COUNT_MAX]))]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = _name(common_name_of(request.name, generation))
    builder = _builder(subject, issuing.subject, request.public_key, now_s, end_s)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, None)
    )


def pem_of_chain(chain: Sequence[Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def certificates_of(data: bytes) -> list[Certificate]:
    """Of PEM, or one of DER. Raises TrustError for none, too many or too much."""
    if len(data) > CHAIN_BYTES_MAX:
        raise TrustError(f"certificates of {len(data)} bytes, at most {CHAIN_BYTES_MAX}")
    try:
        is_pem = data.lstrip().startswith(b"-----")
        found = x509.load_pem_x509_certificates(data) if is_pem else [x509.load_der_x509_certificate(data)]
        for certificate in found:
            _read_all(certificate)
    except _BROKEN as error:
        raise TrustError("not certificates in PEM or DER") from error
    if len(found) > CHAIN_LENGTH_MAX:
        raise TrustError(f"{len(found)} certificates, at most {CHAIN_LENGTH_MAX}")
    return found


def digest_of(certificate: Certificate) -> str:
    """SHA-256 in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def hosts_in(certificate: Certificate) -> list[str]:
    """The names and addresses that it proves."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def serial_of(certificate: Certificate) -> str:
    return f"{certificate.serial_number:x}"


def issued_at_s(certificate: Certificate) -> int:
    return certificate.serial_number >> RANDOM_BITS


def expires_at_s(certificate: Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp())


def site_of(issuing: Certificate, root: Certificate) -> str:
    """The site that an issuing certificate is for. Raises TrustError unless the root signed it as that."""
    _check_signed(issuing, root, "the site's root")
    if not _is_authority(issuing) or not (cn := _common_name(issuing.subject)).startswith(_ISSUING):
        raise TrustError(f"`{issuing.subject.rfc4514_string()}` is not an issuing certificate")
    return cn.removeprefix(_ISSUING)


def was_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _BROKEN:
        return False
    return True


def issuing_key_in(issuing: Certificate) -> IssuingPublicKey:
    """Raises TrustError for another kind of key."""
    if not isinstance(key := issuing.public_key(), ed25519.Ed25519PublicKey):
        raise TrustError("the issuing certificate's key is not Ed25519")
    return key


def read_node_certificate(certificate: Certificate, issuing: Certificate) -> NodeCertificate:
    """What it says; its time is not judged. Raises TrustError unless `issuing` signed it as a node's."""
    _check_signed(certificate, issuing, "the site")
    if _is_authority(certificate):
        raise TrustError("an authority's certificate is not a node's")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TrustError("the node's key is not P-256")
    name, generation = node_of_common_name(_common_name(certificate.subject))
    return NodeCertificate(
        name, serial_of(certificate), issued_at_s(certificate), expires_at_s(certificate), key, generation
    )


def common_name_of(name: str, generation: int) -> str:
    """What a certificate of the node says of itself: the one thing that Zenoh lets rules depend on."""
    return f"{name}.{generation}" if generation else name


def node_of_common_name(text: str) -> tuple[str, int]:
    """Name and generation. Raises TrustError for what no node has."""
    if (found := _COMMON_NAME.match(text)) is None:
        raise _no_name(text)
    return found["name"], int(found["generation"] or 0)


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: IssuingPublicKey,
    key: IssuingKey,
    now_s: float,
    length_s: int,
    *,
    depth: int,
) -> Certificate:
    builder = _builder(subject, issuer, public_key, now_s, int(now_s) + length_s)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, None)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: IssuingPublicKey | NodePublicKey, now_s: float, end_s: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number((int(now_s) << RANDOM_BITS) | secrets.randbits(RANDOM_BITS))
        .not_valid_before(_EPOCH)
        .not_valid_after(dt.datetime.fromtimestamp(end_s, dt.UTC))
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _check_signed(certificate: Certificate, issuer: Certificate, who: str) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _BROKEN as error:
        raise TrustError(f"`{certificate.subject.rfc4514_string()}` was not issued by {who}") from error


def _read_all(certificate: Certificate) -> None:
    """The library parses parts when they are asked for. Raises one of `_BROKEN` for a broken one."""
    _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.not_valid_after_utc
    certificate.public_key()


def _is_authority(certificate: Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        return False


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _common_name(name: x509.Name) -> str:
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _node_name(name: x509.Name) -> str:
    if not _NAME.match(found := _common_name(name)):
        raise _no_name(found)
    return found


def _no_name(text: str) -> TrustError:
    return TrustError(f"`{text[:80]}` is not a node's name: 1 to 63 of a-z, 0-9 and `-`")
