"""Frames out of bytes that come in any pieces, and what is no frame."""

import random
import struct

import pytest

from littoral.errors import InputError, RequestError, TooLargeError
from littoral.web.framing import Frame, Framing, framing_of

LENGTHS = "application/x-littoral-frames"
PARTS = "multipart/mixed; boundary=b"


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def all_of(framing: Framing, parts: list[bytes]) -> list[Frame]:
    found = [frame for part in parts for frame in framing.feed(part)]
    framing.end()
    return found


def written(kind: str, frames: list[bytes], *, lengths: bool = True) -> bytes:
    if kind == LENGTHS:
        return b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
    parts = []
    for number, frame in enumerate(frames):
        size = f"\r\nContent-Length: {len(frame)}" if lengths else ""
        parts.append(
            f"--b\r\nlittoral-id: {number}\r\nContent-Type: image/jpeg; q=1{size}\r\n\r\n".encode() + frame + b"\r\n"
        )
    return b"".join(parts) + b"--b--\r\n"


@pytest.mark.parametrize(("kind", "lengths"), [(LENGTHS, True), (PARTS, True), (PARTS, False)])
def test_frames_in_any_pieces(kind: str, lengths: bool) -> None:
    for seed in range(300):
        rng = random.Random(seed)
        frames = [
            rng.choice([rng.randbytes(rng.randrange(40)), b"\r\n--", b"\r\n\r\n", b""]) for _ in range(rng.randrange(5))
        ]
        found = all_of(framing_of(kind, 64), pieces(rng, written(kind, frames, lengths=lengths)))
        assert [frame.data for frame in found] == frames, seed
        if kind == PARTS:
            assert [(frame.id, frame.media_type) for frame in found] == [
                (str(i), "image/jpeg") for i in range(len(frames))
            ]


def test_a_length_that_is_stated_lets_a_frame_hold_the_boundary() -> None:
    assert [f.data for f in all_of(framing_of(PARTS, 64), [written(PARTS, [b"\r\n--b--\r\n"])])] == [b"\r\n--b--\r\n"]


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (LENGTHS, struct.pack("<I", 65) + b"x", TooLargeError),
        (LENGTHS, b"\x05\0\0", InputError),
        (PARTS, b"--b\r\nContent-Length: 65\r\n\r\n", TooLargeError),
        (PARTS, b"--b\r\nContent-Length: -1\r\n\r\n", InputError),
        (PARTS, b"--b\r\n\r\n" + b"x" * 100, TooLargeError),
        (PARTS, b"--b\r\n\r\nabc", InputError),
        (PARTS, b"abc--b\r\n\r\n", InputError),
        (PARTS, b"x" * 20_000, InputError),
        (PARTS, b"--b" + b"x" * 20_000, InputError),
    ],
)
def test_what_is_no_frame(kind: str, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        all_of(framing_of(kind, 64), [body])


@pytest.mark.parametrize(
    "kind", ["", "image/jpeg", "multipart/mixed", "multipart/mixed; boundary=", f"multipart/x; boundary={'x' * 71}"]
)
def test_what_is_no_framing(kind: str) -> None:
    with pytest.raises(InputError, match="must be `application/x-littoral-frames`"):
        framing_of(kind, 64)


def test_random_bytes_end_in_frames_or_in_an_error_of_ours() -> None:
    for seed in range(2000):
        rng = random.Random(seed)
        body = bytearray(written(PARTS if seed % 2 else LENGTHS, [b"hello", b"world"]))
        for _ in range(rng.randrange(4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        try:
            found = all_of(framing_of(PARTS if seed % 2 else LENGTHS, 64), pieces(rng, bytes(body)))
        except RequestError:
            continue
        assert all(len(frame.data) <= 64 for frame in found)
