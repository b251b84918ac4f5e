"""Certificates and keys: what is changed, of another kind or another's is refused, always with the same error."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from littoral.errors import TrustError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.trust.certificates import (
    NodeCertificate,
    certificates_of,
    make_request,
    pem_of_chain,
    read_request,
)
from littoral.mesh.trust.chain import Reason, Refusal, Trust
from littoral.mesh.trust.keys import (
    issuing_key_of,
    new_issuing_key,
    new_node_key,
    node_key_of,
    pem_of,
    seal,
    sign,
    unseal,
    verify,
)
from mesh_site import DAY_S, MovedClock, found, joined


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def founder(tmp_path: Path, clock: MovedClock) -> Identity:
    return found(tmp_path, clock)


def changed(data: bytes, index: int) -> bytes:
    bad = bytearray(data)
    bad[index] ^= 0x55
    return bytes(bad)


def test_every_changed_byte_of_a_certificate_is_noticed(founder: Identity, clock: MovedClock) -> None:
    der = certificates_of(founder.credential.chain)[0].public_bytes(serialization.Encoding.DER)
    for index in range(len(der)):
        judged = founder.trust.judge(changed(der, index), clock.wall())
        assert isinstance(judged, Refusal), index
        assert judged.reason is Reason.FOREIGN


def test_every_changed_byte_of_a_request_is_noticed() -> None:
    der = make_request("gw-2", new_node_key())
    for index in range(len(der)):
        with pytest.raises(TrustError):
            read_request(changed(der, index))


def test_a_certificate_is_judged_by_the_time_that_is_given(founder: Identity, clock: MovedClock) -> None:
    end_s = founder.credential.certificate.expires_at_s
    for now_s in (0.0, clock.wall(), end_s):
        assert isinstance(founder.trust.judge(founder.credential.chain, now_s), NodeCertificate)
    judged = founder.trust.judge(founder.credential.chain, end_s + DAY_S)
    assert judged == Refusal(
        Reason.EXPIRED,
        "the certificate of `gw-1` ended 1.0 days ago",
        "renew it at an issuer: `littoral mesh renew`",
    )


def test_an_authority_is_no_node(founder: Identity, clock: MovedClock) -> None:
    for certificate in (founder.trust.issuing, founder.trust.root):
        judged = founder.trust.judge(pem_of_chain([certificate]), clock.wall())
        assert isinstance(judged, Refusal)
        assert judged.reason is Reason.FOREIGN


def test_a_node_issues_nothing(founder: Identity, clock: MovedClock) -> None:
    """Its certificate in the place of an issuer's."""
    leaf = certificates_of(founder.credential.chain)[0]
    with pytest.raises(TrustError):
        Trust.of(pem_of_chain([founder.trust.root]), pem_of_chain([leaf]))
    judged = founder.trust.judge(pem_of_chain([leaf, leaf]), clock.wall())
    assert isinstance(judged, Refusal)


def test_a_root_by_another_is_not_the_sites(tmp_path: Path, founder: Identity) -> None:
    other = found(tmp_path / "o", MovedClock(), site="farm")
    with pytest.raises(TrustError, match="was not issued by the site's root"):
        Trust.of(pem_of_chain([other.trust.root]), pem_of_chain([founder.trust.issuing]))


def test_a_certificate_is_for_serving_and_connecting_under_its_name(founder: Identity) -> None:
    from cryptography import x509

    leaf = certificates_of(founder.credential.chain)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gw-1"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(list(usage)) == 2
    assert leaf.not_valid_before_utc.timestamp() == 0


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\x30\x00", b"x" * 20_000])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(TrustError):
        certificates_of(data)


def test_requests_with_other_keys_are_refused() -> None:
    from cryptography import x509

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw-2")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for key, digest in (
        (ed25519.Ed25519PrivateKey.generate(), None),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
    ):
        with pytest.raises(TrustError, match="its key is not P-256"):
            read_request(builder.sign(key, digest).public_bytes(serialization.Encoding.DER))


def test_a_seal_is_for_one_key() -> None:
    mine, yours = new_node_key(), new_node_key()
    sealed = seal(mine.public_key(), b"secret")
    assert unseal(mine, sealed) == b"secret"
    assert seal(mine.public_key(), b"secret") != sealed
    for key, data in ((yours, sealed), (mine, sealed[:-1]), (mine, b""), (mine, changed(sealed, 70))):
        with pytest.raises(TrustError, match="seal"):
            unseal(key, data)


@pytest.mark.parametrize("make", [new_node_key, new_issuing_key])
def test_a_signature_is_for_one_purpose(make) -> None:
    key = make()
    signature = sign(key, "renewal", b"data")
    verify(key.public_key(), "renewal", b"data", signature)
    for purpose, data in (("document", b"data"), ("renewal", b"date")):
        with pytest.raises(TrustError, match="does not match"):
            verify(key.public_key(), purpose, data, signature)


def test_keys_are_of_their_kind() -> None:
    with pytest.raises(TrustError, match="not Ed25519"):
        issuing_key_of(pem_of(new_node_key()))
    with pytest.raises(TrustError, match="not P-256"):
        node_key_of(pem_of(new_issuing_key()))
    with pytest.raises(TrustError, match="not a private key"):
        node_key_of(b"nothing")


async def test_a_certificate_replaces_its_predecessor_as_a_whole(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    """Of another name, or with another key, it does not; the files are then as before."""
    other = await joined(tmp_path, founder, "gw-2", clock)
    before = founder.credential_file.read_bytes()
    with pytest.raises(TrustError, match="this node is `gw-1`"):
        founder.renew(other.credential.chain, other.credential.key)
    with pytest.raises(TrustError, match="does not belong to its key"):
        founder.renew(founder.credential.chain, new_node_key())
    assert founder.credential_file.read_bytes() == before
