"""Sealed files: whatever is done to one is found, at any place of it; keys by id, and their rotation."""

import io

import pytest

from littoral.errors import SettingError, TrustError
from littoral.vault import Key, KeyRing, parse_keys
from littoral.vault.keys import new_key
from littoral.vault.layout import CHUNK_BYTES, HEAD_BYTES, MAGIC, SEALED_CHUNK_BYTES, plain_bytes
from littoral.vault.sealed import Records, SealedReader, opened, sealed

OLD, NEW = Key(bytes(range(32))), Key(bytes(range(1, 33)))
RING = KeyRing([OLD])
VECTOR = (
    "4c4954544f52414c2d5345414c45442d310ab5be19153822298633a658527e3b6b00e155a2ca2bd5726141807df800adabdd"
    "1db4a1893fa1f35db52b256a57c0b33aeaf951796153c5fb6d8df223f4e5570d"
)
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5)


def content(size: int) -> bytes:
    return bytes(i * 31 % 251 for i in range(size))


def refused(data: bytes, purpose: str = "test", ring: KeyRing = RING) -> bool:
    try:
        opened(data, ring, purpose, "file")
    except TrustError:
        return True
    return False


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_is_opened_again(size: int) -> None:
    data = sealed(content(size), RING, "test")
    assert opened(data, RING, "test", "file") == content(size)
    assert plain_bytes(len(data)) == size
    assert data.startswith(MAGIC)


def test_a_changed_byte_is_found_at_every_place() -> None:
    data = sealed(content(40), RING, "test")
    for at in range(len(data)):
        assert refused(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), at


def test_a_changed_byte_is_found_in_every_chunk() -> None:
    data = sealed(content(SIZES[-1]), RING, "test")
    for at in range(HEAD_BYTES, len(data), 4099):
        assert refused(data[:at] + bytes([data[at] ^ 128]) + data[at + 1 :]), at


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_was_cut_off_is_refused(size: int) -> None:
    data = sealed(content(size), RING, "test")
    ends = {0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 15, len(data) - 1}
    ends |= {HEAD_BYTES + i * SEALED_CHUNK_BYTES for i in range(4)}
    for end in ends:
        if end < len(data):
            assert refused(data[:end]), end


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_was_added_to_is_refused(size: int) -> None:
    data = sealed(content(size), RING, "test")
    assert refused(data + b"\0")
    assert refused(data + data[HEAD_BYTES:])
    assert refused(data + bytes(SEALED_CHUNK_BYTES))


def test_chunks_in_another_order_are_refused() -> None:
    data = sealed(content(SIZES[-1]), RING, "test")
    head, body = data[:HEAD_BYTES], data[HEAD_BYTES:]
    chunks = [body[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(body), SEALED_CHUNK_BYTES)]
    assert len(chunks) == 4
    assert refused(head + b"".join((chunks[1], chunks[0], *chunks[2:])))
    assert refused(head + b"".join((chunks[0], chunks[0], *chunks[2:])))
    assert refused(head + b"".join((*chunks[:2], chunks[3])))


def test_a_chunk_or_head_of_another_file_is_refused() -> None:
    one, two = (sealed(content(SIZES[-1]), RING, "test") for _ in range(2))
    cut = HEAD_BYTES + SEALED_CHUNK_BYTES
    assert refused(one[:cut] + two[cut:])
    assert refused(two[:HEAD_BYTES] + one[HEAD_BYTES:])


def test_a_file_is_not_opened_for_another_purpose() -> None:
    data = sealed(b"x", RING, "blob a")
    assert refused(data, "blob b")
    assert not refused(data, "blob a")


def test_nothing_of_a_changed_chunk_is_told() -> None:
    data = bytearray(sealed(content(SIZES[-1]), RING, "test"))
    data[HEAD_BYTES + SEALED_CHUNK_BYTES + 7] ^= 1
    chunks = SealedReader(io.BytesIO(data), RING, "test", "file").chunks()
    assert next(chunks) == content(SIZES[-1])[:CHUNK_BYTES]
    with pytest.raises(TrustError, match="chunk 1 of 65536"):
        next(chunks)


def test_no_two_files_are_sealed_alike() -> None:
    one, two = (sealed(bytes(1000), RING, "test") for _ in range(2))
    assert one[HEAD_BYTES:] != two[HEAD_BYTES:]


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    before = sealed(b"before", RING, "test")
    both = KeyRing([NEW, OLD])
    after = sealed(b"after", both, "test")
    assert opened(before, both, "test", "file") == b"before"
    assert opened(after, both, "test", "file") == b"after"
    with pytest.raises(TrustError, match=f"file is sealed by key {NEW.id.hex()}, there are {OLD.id.hex()}"):
        opened(after, RING, "test", "file")


def test_keys_are_read_from_lines_and_never_told() -> None:
    (key, first), (_, second) = new_key(), new_key()
    ring = parse_keys(f"# of 2026\n{first}\n{second}".encode(), "keys")
    assert (ring.current, len(ring.ids)) == (key, 2)
    secret = first.split()[1]
    assert secret not in repr(ring.current)
    for wrong in (b"", b"# none\n", (first * 2).encode(), f"{first} x".encode(), first[:-6].encode(), b"\xff" * 9):
        with pytest.raises(SettingError) as raised:
            parse_keys(wrong, "keys")
        assert secret not in str(raised.value)


def test_a_record_is_as_it_was_or_is_not() -> None:
    records = Records(RING, "cache", "file")
    record = records.seal(b"key and value")
    again = Records(KeyRing([NEW, OLD]), "cache", "file", records.head)
    assert (again.open(record), again.is_current) == (b"key and value", False)
    for at in range(len(record)):
        assert again.open(record[:at] + bytes([record[at] ^ 4]) + record[at + 1 :]) is None
    assert Records(RING, "other", "file", records.head).open(record) is None
    assert records.seal(b"key and value") != record


def test_what_was_sealed_once_is_opened_by_any_later_version() -> None:
    assert opened(bytes.fromhex(VECTOR), RING, "vector", "file") == b"Littoral"
