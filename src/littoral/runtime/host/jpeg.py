"""JPEG files: baseline, grey or YCbCr with chroma at half the size, the tables of the specification's annex K.

Source: ITU-T T.81 and JFIF 1.02. All blocks are transformed, quantised and coded at once, with arrays.
"""

import struct

import numpy as np

from littoral.tensors import Array

__all__ = ["encode_jpeg"]

_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99"""
_CHROMA += " 99" * 32
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)
_DC_COUNTS = ("0 1 5 1 1 1 1 1 1 0 0 0 0 0 0 0", "0 3 1 1 1 1 1 1 1 1 1 0 0 0 0 0")
_DC_VALUES = bytes(range(12))
_AC_COUNTS = ("0 2 1 3 3 2 4 3 5 5 4 4 0 0 1 125", "0 2 1 2 4 4 3 4 7 5 4 4 0 1 2 119")
_AC_LUMA = (
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a34353637"
    "38393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3"
    "a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMA = (
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a3536"
    "3738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999a"
    "a2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
_END_OF_BLOCK, _SIXTEEN_ZEROS = 0x00, 0xF0


def _zigzag() -> Array:
    """Index in a block of 64, by place in the file."""
    cells = [(row, column) for row in range(8) for column in range(8)]
    cells.sort(key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]))
    return np.array([row * 8 + column for row, column in cells])


def _transform() -> Array:
    """The discrete cosine transform of 8 values, as a matrix."""
    at = np.arange(8)
    matrix = np.cos((2 * at[None, :] + 1) * at[:, None] * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _codes(counts: str, values: bytes) -> Array:
    """int64[256, 2]: code and its length in bits, by value."""
    table = np.zeros((256, 2), np.int64)
    code = at = 0
    for length, count in enumerate(map(int, counts.split()), 1):
        for value in values[at : at + count]:
            table[value] = code, length
            code += 1
        at += count
        code <<= 1
    return table


_ZIGZAG = _zigzag()
_TRANSFORM = _transform()
_AC_BYTES = (bytes.fromhex(_AC_LUMA), bytes.fromhex(_AC_CHROMA))
_DC = np.stack([_codes(counts, _DC_VALUES) for counts in _DC_COUNTS])
_AC = np.stack([_codes(counts, values) for counts, values in zip(_AC_COUNTS, _AC_BYTES, strict=True)])


def encode_jpeg(picture: Array, *, quality: int = 85) -> bytes:
    """A file of uint8[height, width, 1 or 3]; quality 1 … 100 as libjpeg scales its tables."""
    height, width, channels = picture.shape
    tables = [_scaled(text, quality) for text in (_LUMA, _CHROMA)]
    header = [b"\xff\xd8", _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")]
    used = tables[: 1 if channels == 1 else 2]
    header += [_segment(0xDB, bytes([i]) + table[_ZIGZAG].astype(np.uint8).tobytes()) for i, table in enumerate(used)]
    factors = [(1, 1, 0)] if channels == 1 else [(2, 2, 0), (1, 1, 1), (1, 1, 1)]
    frame = b"".join(bytes([i + 1, h << 4 | v, table]) for i, (h, v, table) in enumerate(factors))
    header.append(_segment(0xC0, struct.pack(">BHHB", 8, height, width, channels) + frame))
    for i in range(len(used)):
        header.append(_segment(0xC4, bytes([i]) + _lengths(_DC_COUNTS[i]) + _DC_VALUES))
        header.append(_segment(0xC4, bytes([0x10 | i]) + _lengths(_AC_COUNTS[i]) + _AC_BYTES[i]))
    scan = b"".join(bytes([i + 1, table << 4 | table]) for i, (_, _, table) in enumerate(factors))
    header.append(_segment(0xDA, bytes([channels]) + scan + b"\0\x3f\0"))
    units = _grey_units(picture, tables) if channels == 1 else _colour_units(picture, tables)
    return b"".join([*header, _coded(*units), b"\xff\xd9"])


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _lengths(counts: str) -> bytes:
    return bytes(map(int, counts.split()))


def _scaled(text: str, quality: int) -> Array:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(text.split(), np.int64) * scale + 50) // 100, 1, 255)


def _grey_units(picture: Array, tables: list[Array]) -> tuple[Array, Array]:
    """Quantised blocks int64[n, 64] in the order of the file, and the component of each."""
    blocks = _quantised(_padded(picture[:, :, 0].astype(np.float32) - 128, 8), tables[0])
    return blocks.reshape(-1, 64), np.zeros(blocks.shape[0] * blocks.shape[1], np.int64)


def _colour_units(picture: Array, tables: list[Array]) -> tuple[Array, Array]:
    """As `_grey_units`: four blocks of luma, then one of each chroma, for every 16 × 16 pixels."""
    planes = _padded(picture.astype(np.float32) @ _TO_YCC.T, 16)
    luma = _quantised(planes[:, :, 0] - 128, tables[0])
    rows, columns = luma.shape[0] // 2, luma.shape[1] // 2
    units = np.empty((rows, columns, 6, 64), np.int64)
    units[:, :, :4] = luma.reshape(rows, 2, columns, 2, 64).transpose(0, 2, 1, 3, 4).reshape(rows, columns, 4, 64)
    halves = planes[:, :, 1:].reshape(rows * 8, 2, columns * 8, 2, 2).mean(axis=(1, 3))
    for i in range(2):
        units[:, :, 4 + i] = _quantised(halves[:, :, i], tables[1])
    return units.reshape(-1, 64), np.tile([0, 0, 0, 0, 1, 2], rows * columns)


def _padded(plane: Array, side: int) -> Array:
    """Its last row and column again, until both sides are whole multiples."""
    missing = [(0, -plane.shape[axis] % side) for axis in range(2)]
    return np.pad(plane, [*missing, *[(0, 0)] * (plane.ndim - 2)], mode="edge")


def _quantised(plane: Array, table: Array) -> Array:
    """int64[rows, columns, 64] of blocks, in zigzag order."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    blocks = plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
    spectrum = (_TRANSFORM @ blocks @ _TRANSFORM.T).reshape(rows, columns, 64)
    return np.rint(spectrum / table.astype(np.float32)).astype(np.int64)[:, :, _ZIGZAG]


def _coded(blocks: Array, components: Array) -> bytes:
    """The scan: every block's first value as a difference, the rest as runs of zeros and what follows them."""
    tables = np.minimum(components, 1)
    blocks[:, 1:] = blocks[:, 1:].clip(-1023, 1023)  # what the codes of a baseline file can say
    differences = np.empty(len(blocks), np.int64)
    for component in range(int(components.max()) + 1):
        mine = components == component
        differences[mine] = np.diff(blocks[mine, 0], prepend=0)
    block, place = np.nonzero(blocks[:, 1:])
    values, place = blocks[block, place + 1], place + 1
    is_first = np.diff(block, prepend=-1) != 0
    runs = place - np.where(is_first, 0, np.roll(place, 1)) - 1
    ends = np.ones(len(blocks), bool)
    ends[block[place == 63]] = False
    long = np.repeat(np.arange(len(runs)), runs // 16)  # each sixteen zeros have a code of their own
    parts = [
        (np.arange(len(blocks)) * 256, _sized(_DC, tables, differences)),
        (block[long] * 256 + place[long] * 2 - 1, _AC[tables[block[long]], _SIXTEEN_ZEROS]),
        (block * 256 + place * 2, _sized(_AC, tables[block], values, runs % 16)),
        (np.flatnonzero(ends) * 256 + 255, _AC[tables[ends], _END_OF_BLOCK]),
    ]
    order = np.argsort(np.concatenate([at for at, _ in parts]), kind="stable")
    return _packed(np.concatenate([codes for _, codes in parts])[order])


def _sized(codes: Array, tables: Array, values: Array, runs: Array | int = 0) -> Array:
    """int64[n, 2]: the code of run and size with the bits of the value behind it, and the length of both."""
    size = np.frexp(np.abs(values).astype(np.float64))[1].astype(np.int64)
    code, length = codes[tables, runs * 16 + size].T
    bits = np.where(values < 0, values + (1 << size) - 1, values)
    return np.stack([code << size | bits, length + size], axis=1)


def _packed(codes: Array) -> bytes:
    """Codes behind each other, filled up with ones; a byte of ones is followed by a zero."""
    lengths = codes[:, 1]
    aligned = (codes[:, 0] << (32 - lengths)).astype(">u4")  # at most 16 bits of code and 11 of value
    bits = np.unpackbits(aligned.view(np.uint8)).reshape(-1, 32)
    stream = bits[np.arange(32) < lengths[:, None]]
    stream = np.concatenate([stream, np.ones(-len(stream) % 8, np.uint8)])
    return np.packbits(stream).tobytes().replace(b"\xff", b"\xff\x00")
