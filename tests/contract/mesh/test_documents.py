"""Desired state: what is not the site's, not canonical or not newer is not taken; what was taken survives a start."""

from pathlib import Path

import msgspec
import pytest

from littoral.errors import ConflictError, ForbiddenError, NodeError, TooLargeError, TrustError
from littoral.mesh.documents import CONTENT_BYTES_MAX, Document, DocumentStore, open_document, sign_document
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.trust.keys import new_issuing_key
from mesh_site import MovedClock, found, joined

KIND = "shard-map"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def founder(tmp_path: Path, clock: MovedClock) -> Identity:
    return found(tmp_path, clock)


def signed(by: Identity, number: int, content: bytes = b"one", site: str = "farm") -> bytes:
    key = by.issuing_key()
    assert key is not None
    return sign_document(Document(site, KIND, number, by.name, 5, content), key, by.trust.issuing)


def test_only_a_higher_number_is_taken(founder: Identity) -> None:
    store = founder.documents
    assert store.take(signed(founder, 2))
    assert not store.take(signed(founder, 2))
    assert not store.take(signed(founder, 1, b"before"))
    assert store.take(signed(founder, 3, b"after"))
    found_now = store.current(KIND)
    assert found_now is not None
    assert (found_now.number, found_now.content) == (3, b"after")


def test_the_same_state_is_the_same_bytes(founder: Identity) -> None:
    assert signed(founder, 2) == signed(founder, 2)


def test_two_of_one_number_are_told(founder: Identity) -> None:
    founder.documents.take(signed(founder, 2))
    with pytest.raises(ConflictError, match=r"two documents `shard-map` of number 2"):
        founder.documents.take(signed(founder, 2, b"another"))


def test_a_rollback_is_refused_after_a_start_too(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    founder.documents.take(signed(founder, 7))
    again = Identity.open(tmp_path / "gw-1", clock)
    assert not again.documents.take(signed(founder, 6, b"old"))
    assert again.documents.numbers() == {KIND: 7, "roster": 1}


def test_another_sites_document_is_refused(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    other = found(tmp_path / "o", clock, site="other")
    with pytest.raises(TrustError, match="was not issued by the site's root"):
        founder.documents.take(signed(other, 2))


def test_another_site_under_the_same_root_is_refused(tmp_path: Path, clock: MovedClock) -> None:
    from littoral.mesh.identity.founding import new_root

    root = new_root("fleet", clock)
    north = found(tmp_path / "n", clock, site="north", root=root)
    south = found(tmp_path / "s", clock, site="south", root=root)
    for site in ("north", "south"):
        with pytest.raises(TrustError, match="is of the site"):
            north.documents.take(signed(south, 2, site=site))


def test_a_key_that_is_not_the_authoritys_signs_nothing(founder: Identity) -> None:
    document = Document("farm", KIND, 2, "gw-1", 5, b"forged")
    with pytest.raises(TrustError, match="does not match"):
        founder.documents.take(sign_document(document, new_issuing_key(), founder.trust.issuing))


def test_a_nodes_certificate_signs_nothing(founder: Identity) -> None:
    from littoral.mesh.trust.certificates import certificates_of

    leaf = certificates_of(founder.credential.chain)[0]
    document = Document("farm", KIND, 2, "gw-1", 5, b"forged")
    with pytest.raises(TrustError, match="was not issued by the site's root"):
        founder.documents.take(sign_document(document, new_issuing_key(), leaf))


def test_every_changed_byte_is_noticed(founder: Identity) -> None:
    good = signed(founder, 2)
    for index in range(0, len(good), 7):
        bad = bytearray(good)
        bad[index] ^= 1
        with pytest.raises(TrustError):
            open_document(bytes(bad), founder.trust)


def test_other_bytes_of_the_same_document_are_refused(founder: Identity) -> None:
    outer = msgspec.json.decode(signed(founder, 2))
    with pytest.raises(TrustError, match="canonical"):
        open_document(msgspec.json.format(msgspec.json.encode(outer), indent=1), founder.trust)


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 10_000, b"\xff", b"null", b"x" * (17 << 20)])
def test_what_is_no_document_is_refused(founder: Identity, data: bytes) -> None:
    with pytest.raises(TrustError, match="signed document"):
        founder.documents.take(data)


def test_too_much_is_not_signed(founder: Identity) -> None:
    with pytest.raises(TooLargeError, match="at most"):
        signed(founder, 2, bytes(CONTENT_BYTES_MAX + 1))


def test_a_document_on_disk_that_does_not_verify_stops_the_start(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    file = founder.folder / "documents" / "roster.json"
    file.write_bytes(file.read_bytes().replace(b"a", b"b"))
    with pytest.raises(NodeError, match=r"roster\.json"):
        Identity.open(tmp_path / "gw-1", clock)


def test_what_another_process_of_the_node_wrote_is_seen(tmp_path: Path, founder: Identity, clock: MovedClock) -> None:
    other = Identity.open(tmp_path / "gw-1", clock)
    Issuer(other).write_document(KIND, b"map")
    founder.documents.refresh()
    assert founder.documents.numbers() == {KIND: 1, "roster": 1}


def test_the_clock_learns_from_documents(tmp_path: Path, clock: MovedClock) -> None:
    writer = found(tmp_path, clock)
    Issuer(writer).write_document(KIND, b"map")
    late = BootAt1970()
    store = DocumentStore(tmp_path / "elsewhere", writer.trust, late.clock(tmp_path))
    document = writer.documents.signed(KIND)
    assert document is not None
    store.take(document)
    assert late.boot.wall() == pytest.approx(clock.wall(), abs=1)


class BootAt1970:
    """A machine that woke up without a time."""

    def clock(self, folder: Path):
        from littoral.mesh.trust.boot_clock import BootClock

        self.boot = BootClock(folder / "late", MovedClock(wall_s=0), latest_s=4e9)
        return self.boot


async def test_after_a_take_over_the_first_writer_is_not_heard(
    tmp_path: Path, founder: Identity, clock: MovedClock
) -> None:
    second = await joined(tmp_path, founder, "gw-2", clock, is_issuer=True)
    third = await joined(tmp_path, founder, "gw-3", clock)
    second.documents.take(founder.documents.signed("roster") or b"")
    Issuer(second).take_over()
    map_of_second = Issuer(second).write_document(KIND, b"by gw-2")
    for count in range(5):
        Issuer(founder).write_document(KIND, b"by gw-1 %d" % count)
    third.documents.take(second.documents.signed("roster") or b"")
    assert not third.documents.take(founder.documents.signed("roster") or b"")
    third.documents.take(founder.documents.signed(KIND) or b"")
    assert third.documents.take(map_of_second)
    founder.documents.take(second.documents.signed("roster") or b"")
    with pytest.raises(ForbiddenError, match=r"node `gw-2` writes the roster"):
        Issuer(founder).write_document(KIND, b"again")
