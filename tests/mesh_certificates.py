"""A certificate authority for tests, and certificates of every kind that it should and should not have made."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Credentials:
    """Files of PEM."""

    ca: Path
    certificate: Path
    key: Path


class Authority:
    """Issues certificates to nodes at 127.0.0.1 and at other addresses if named."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("site")
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder(self._name, self._name, self._key.public_key(), 1)
            .not_valid_before(now - DAY)
            .not_valid_after(now + 100 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, days: float = 30, places: tuple[str, ...] = ("127.0.0.1",), common_name: str = ""
    ) -> Credentials:
        """days: until it expires; negative: so long ago. common_name: default: the name."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = dt.datetime.now(dt.UTC) + days * DAY
        addresses = [x509.IPAddress(ipaddress.ip_address(place)) for place in places]
        certificate = (
            x509.CertificateBuilder(
                self._name, _named(common_name or name), key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(end - 60 * DAY)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), *addresses]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        serial = certificate.serial_number
        made = Credentials(self.ca, self._folder / f"{name}-{serial}.pem", self._folder / f"{name}-{serial}.key")
        made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
