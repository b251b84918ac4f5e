"""Pictures to test with: natural-looking ones, and JPEG and PNG files of kinds that Pillow does not write."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def natural(width: int, height: int, seed: int = 0) -> Image.Image:
    """As photographs are: a 1/f spectrum, smooth light, a few edges, correlated channels; RGB."""
    rng = np.random.default_rng(seed)
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    amplitudes = 1 / np.maximum(frequencies, 1 / max(width, height))
    texture = np.stack([_noise(rng, amplitudes, (height, width)) for _ in range(3)], axis=-1)
    y, x = np.mgrid[0:height, 0:width] / max(width, height, 2)
    light = 0.5 + 0.4 * np.cos(2.5 * x + 1.5 * y + seed)
    picture = light[..., None] + 0.08 * texture + 0.12 * texture.mean(axis=-1, keepdims=True)
    for _ in range(6):
        centre, radius = rng.random(2), 0.05 + 0.2 * rng.random()
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
        picture[inside] = 0.5 * picture[inside] + 0.5 * rng.random(3)
    return Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))


def _noise(rng: np.random.Generator, amplitudes: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    phases = np.exp(2j * np.pi * rng.random(amplitudes.shape))
    noise = np.fft.irfft2(amplitudes * phases, shape)
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-9))


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    return saved(picture, "JPEG", **options)


def png(picture: Image.Image, **options: Any) -> bytes:
    return saved(picture, "PNG", **options)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of a JPEG with their payloads; that of SOS (0xDA) is all up to the end marker."""
    at = 2
    while at < len(data) - 2:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        stop = len(data) - 2 if marker == 0xDA else at + 2 + length
        yield marker, data[at + 4 : stop] if marker != 0xDA else data[at + 2 : stop]
        at = stop


def joined(parts: Sequence[tuple[int, bytes]]) -> bytes:
    """A JPEG of these segments."""
    body = b"".join(
        bytes([0xFF, marker]) + (payload if marker == 0xDA else struct.pack(">H", len(payload) + 2) + payload)
        for marker, payload in parts
    )
    return b"\xff\xd8" + body + b"\xff\xd9"


def resampled(data: bytes, factors: Sequence[int]) -> bytes:
    """The same blocks under other sampling factors, one byte a component: another picture, but a valid one."""

    def changed(frame: bytes) -> bytes:
        return frame[:6] + b"".join(bytes([frame[6 + 3 * i], f, frame[8 + 3 * i]]) for i, f in enumerate(factors))

    return joined([(marker, changed(p) if marker == 0xC0 else p) for marker, p in segments(data)])


def one_scan_a_component(
    planes: Sequence[Pixels], factors: Sequence[int] = (0x11, 0x11, 0x11), **options: Any
) -> bytes:
    """A baseline JPEG whose three components have a scan each, sampled by `factors`; as large as the largest plane."""
    files = [list(segments(jpeg(Image.fromarray(plane), **options))) for plane in planes]
    tables = [part for part in files[0] if part[0] in (0xDB, 0xC4, 0xDD)]
    frame = next(payload for marker, payload in files[0] if marker == 0xC0)
    height, width = (max(plane.shape[axis] for plane in planes) for axis in (0, 1))
    components = b"".join(bytes([i, factor, 0]) for i, factor in enumerate(factors, 1))
    frame = frame[:1] + struct.pack(">HHB", height, width, 3) + components
    scans = []
    for component, file in enumerate(files, 1):
        scan = next(payload for marker, payload in file if marker == 0xDA)
        scans.append((0xDA, scan[:3] + bytes([component]) + scan[4:]))
    return joined([*tables, (0xC0, frame), *scans])


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(
    samples: npt.NDArray[Any], color: int, depth: int, *, interlaced: bool = False, extra: bytes = b""
) -> bytes:
    """A PNG of samples [height, width, channels], of any colour type and depth; `extra`: chunks before the pixels."""
    height, width, _ = samples.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(
        b"\0" + _packed_row(row, depth)
        for x, y, dx, dy in passes
        for row in samples[y::dy, x::dx]
        if samples[y::dy, x::dx].size
    )
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _packed_row(row: npt.NDArray[Any], depth: int) -> bytes:
    flat = row.reshape(-1)
    if depth == 16:
        return flat.astype(">u2").tobytes()
    if depth == 8:
        return flat.astype(np.uint8).tobytes()
    bits = "".join(f"{value:0{depth}b}" for value in flat.tolist())
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
