"""Pictures and configurations that the agent `image` has to refuse: each with words, none with a trap or an answer."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent_host import AgentHost, AgentRefusalError
from littoral.artifact import AgentManifest, custom_section
from pictures import chunk, joined, jpeg, natural, one_scan_a_component, png, raw_png, segments

INPUT, TOO_LARGE, UNSUPPORTED, CONFIG, MEMORY = -1, -2, -3, -4, -7
SMALL = {"width": 16, "height": 16, "dtype": "uint8"}


def refusal(host: AgentHost, data: bytes) -> tuple[int, str]:
    with pytest.raises(AgentRefusalError) as caught:
        host.infer(data)
    return caught.value.number, caught.value.text


def frame_patched(data: bytes, at: int, value: bytes) -> bytes:
    """The JPEG with other bytes in its frame header."""
    parts = [
        (marker, payload[:at] + value + payload[at + len(value) :] if marker in (0xC0, 0xC2) else payload)
        for marker, payload in segments(data)
    ]
    return joined(parts)


def marker_patched(data: bytes, marker: int) -> bytes:
    return joined([(marker if found in (0xC0, 0xC2) else found, payload) for found, payload in segments(data)])


@pytest.mark.parametrize(
    ("data", "number", "text"),
    [
        (b"", INPUT, "input is empty, a JPEG or PNG picture is expected"),
        (
            b"hello, world",
            INPUT,
            "input is no picture: begins with `68 65 6c 6c 6f 2c 20 77`, a JPEG or PNG is expected",
        ),
        (b"\xff", INPUT, "input is no picture: begins with `ff`, a JPEG or PNG is expected"),
        (b"GIF89a", UNSUPPORTED, "input is GIF, JPEG and PNG are supported"),
        (b"RIFF\0\0\0\0WEBPVP8 ", UNSUPPORTED, "input is WebP, JPEG and PNG are supported"),
        (b"\0\0\0\x20ftypheic", UNSUPPORTED, "input is HEIF or AVIF, JPEG and PNG are supported"),
        (b"BM" + bytes(60), UNSUPPORTED, "input is BMP, JPEG and PNG are supported"),
        (b"\xff\xd8", INPUT, "JPEG: cut off: 2 bytes, no end-of-image marker"),
        (b"\xff\xd8\xff\xd9", INPUT, "JPEG: no frame header before the end marker"),
        (b"\xff\xd8hello\xff\xd9", INPUT, "JPEG: byte 2 is `68`, a marker `ff` is expected"),
        (b"\x89PNG\r\n\x1a\n", INPUT, "PNG: cut off: 8 bytes, no end chunk"),
        (b"\x89PNGxxxxxxxxxxxxxx", INPUT, "PNG: does not begin with the signature"),
    ],
)
def test_what_is_no_picture(image: Path, data: bytes, number: int, text: str) -> None:
    assert refusal(AgentHost(image, SMALL), data) == (number, text)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=str)
def test_jpeg_cut_off_anywhere(image: Path, options: dict[str, Any]) -> None:
    host = AgentHost(image, SMALL)
    data = jpeg(natural(48, 40), quality=70, **options)
    for length in range(len(data)):
        assert refusal(host, data[:length])[1]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=str)
def test_jpeg_cut_off_anywhere_and_closed_with_an_end_marker(image: Path, options: dict[str, Any]) -> None:
    host = AgentHost(image, SMALL)
    data = jpeg(natural(48, 40), quality=70, **options)
    for length in range(2, len(data) - 2):
        number, text = refusal(host, data[:length] + b"\xff\xd9")
        assert number == INPUT
        assert text.startswith("JPEG: ")


@pytest.mark.parametrize("size", [(640, 480), (1000, 700)])
def test_half_of_a_photograph_is_called_cut_off(image: Path, size: tuple[int, int]) -> None:
    host = AgentHost(image, SMALL)
    for progressive in (False, True):
        data = jpeg(natural(*size), progressive=progressive)
        assert "cut off" in refusal(host, data[: len(data) // 2])[1]
        assert "cut off" in refusal(host, data[: len(data) // 2] + b"\xff\xd9")[1]


@pytest.mark.parametrize("interlaced", [False, True])
def test_png_cut_off_anywhere(image: Path, interlaced: bool) -> None:
    host = AgentHost(image, SMALL)
    samples = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    data = raw_png(samples, 2, 8, interlaced=interlaced)
    for length in range(len(data)):
        assert refusal(host, data[:length])[1].startswith(("PNG: ", "input is "))


def test_png_whose_pixels_end_early_but_whose_chunks_do_not(image: Path) -> None:
    host = AgentHost(image, SMALL)
    noise = np.random.default_rng(2).integers(0, 256, (20, 60), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in noise)
    whole = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", 20, 20, 8, 2, 0, 0, 0)
    for kept in range(0, len(rows), 37):
        for stream in (zlib.compress(rows[:kept]), whole[:kept]):
            data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
            number, text = refusal(host, data)
            assert (number, text[:5]) == (INPUT, "PNG: ")


def test_jpeg_of_refused_kinds(image: Path) -> None:
    host = AgentHost(image, SMALL)
    data = jpeg(natural(24, 24))
    cmyk = jpeg(natural(24, 24).convert("CMYK"))
    for picture, text in [
        (
            cmyk,
            "JPEG: 4 components (CMYK or YCCK), 1 (grey) or 3 (colour) are supported · hint: convert it to RGB first",
        ),
        (marker_patched(data, 0xC9), "JPEG: arithmetic coding, Huffman coding is supported"),
        (marker_patched(data, 0xCA), "JPEG: arithmetic coding, Huffman coding is supported"),
        (marker_patched(data, 0xC3), "JPEG: lossless coding, baseline and progressive are supported"),
        (marker_patched(data, 0xC5), "JPEG: hierarchical coding, baseline and progressive are supported"),
        (frame_patched(data, 0, b"\x0c"), "JPEG: 12 bits a sample, 8 are supported"),
        (frame_patched(data, 1, b"\0\0"), "JPEG: declares 24×0 pixels, at least 1×1 expected"),
        (
            frame_patched(data, 7, b"\x32\x00\x02\x21"),
            "JPEG: component 1 is sampled 2×1 of 3×2, a whole ratio is supported",
        ),
    ]:
        assert refusal(host, picture) == (UNSUPPORTED, text)


def test_jpeg_with_broken_tables_and_scans(image: Path) -> None:
    host = AgentHost(image, SMALL)
    data = jpeg(natural(24, 24), quality=90)
    parts = list(segments(data))

    def without(marker: int) -> bytes:
        return joined([part for part in parts if part[0] != marker])

    def replaced(marker: int, payload: bytes) -> bytes:
        return joined([(m, payload) if m == marker else (m, p) for m, p in parts])

    for picture, text in [
        (without(0xDB), "JPEG: a scan uses quantization table 0, which no segment defines"),
        (without(0xDA), "JPEG: no scan before the end marker"),
        (without(0xC0), "JPEG: a scan comes before the frame header"),
        (
            joined([*parts[:-1], *[part for part in parts if part[0] == 0xC0], parts[-1]]),
            "JPEG: two frame headers, one expected",
        ),
        (replaced(0xC4, b"\0" + bytes([3]) + bytes(15) + b"abc"), "JPEG: Huffman table with too many codes of 1 bits"),
        (replaced(0xC4, b"\0" + bytes([255] * 16) + bytes(9)), "JPEG: Huffman table of 4080 codes with 9 symbols"),
        (replaced(0xC4, b"\x42"), "JPEG: Huffman table `42`, must be 00..03 or 10..13"),
        (replaced(0xDB, b"\x00\x01"), "JPEG: quantization table 0 of 1 bytes, 64 expected"),
        (joined([*parts[:-1], (0xDD, b"\1"), parts[-1]]), "JPEG: restart interval of 1 bytes, 2 expected"),
        (
            joined([*parts[:-1], (0xDD, b"\0\1"), parts[-1]]),
            "JPEG: entropy-coded data end where restart marker 0 is expected",
        ),
    ]:
        assert refusal(host, picture) == (INPUT, text)


def test_wrong_restart_marker(image: Path) -> None:
    data = jpeg(natural(64, 64), restart_marker_blocks=2)
    assert b"\xff\xd1" in data
    swapped = data.replace(b"\xff\xd1", b"\xff\xd4")
    assert refusal(AgentHost(image, SMALL), swapped) == (INPUT, "JPEG: restart marker 4 where 1 is expected")


def test_declared_sizes_beyond_the_limits_cost_no_memory(image: Path) -> None:
    host = AgentHost(image, SMALL)
    settled = host.memory_bytes
    small = jpeg(natural(24, 24))
    bomb = raw_bomb(10_000, 10_000)
    assert len(bomb) < 400_000
    for data, text in [
        (
            frame_patched(small, 1, b"\xff\xff\xff\xff"),
            "picture of 65535×65535 = 4294836225 pixels, at most 16000000 (`max_pixels`)",
        ),
        (
            frame_patched(jpeg(natural(24, 24), progressive=True), 1, b"\xff\xff\xff\xff"),
            "picture of 65535×65535 = 4294836225 pixels, at most 16000000 (`max_pixels`)",
        ),
        (bomb, "picture of 10000×10000 = 100000000 pixels, at most 16000000 (`max_pixels`)"),
        (raw_bomb(1, 2_000_000_000, rows=1), "picture of 1×2000000000 pixels, at most 65535 a side"),
    ]:
        assert refusal(host, data) == (TOO_LARGE, text)
    assert host.memory_bytes <= settled + 2 * len(bomb)


def raw_bomb(width: int, height: int, *, rows: int | None = None) -> bytes:
    """A grey PNG of many pixels in few bytes."""
    stream = zlib.compressobj(9)
    row = b"\0" + bytes(width)
    pixels = b"".join(stream.compress(row) for _ in range(rows or height)) + stream.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_more_pixels_than_the_header_declares_are_not_unpacked(image: Path) -> None:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    bomb = zlib.compress(bytes(64_000_000), 9)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")
    host = AgentHost(image, SMALL, memory_bytes_max=8 << 20)
    try:
        host.infer(data)
    except AgentRefusalError as error:
        assert error.text.startswith("PNG: ")
    assert host.memory_bytes <= 8 << 20


def test_text_that_unpacks_to_megabytes_is_left_packed(image: Path) -> None:
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(64_000_000), 9))
    data = raw_png(np.zeros((4, 4, 3), np.uint8), 2, 8, extra=bomb + chunk(b"iCCP", bomb[8:-4]))
    host = AgentHost(image, SMALL, memory_bytes_max=16 << 20)
    assert host.tensors(data)["image"].max() == 0


def test_progressive_bombs(image: Path) -> None:
    host = AgentHost(image, SMALL)
    parts = list(segments(jpeg(Image.new("L", (2000, 2000)), progressive=True)))
    scans = next(payload for marker, payload in parts if marker == 0xDA)
    before = [part for part in parts if part[0] != 0xDA]
    first = bytes([0, 8, 1, 1, 0, 0, 0, 1])
    refine = bytes([0, 8, 1, 1, 0, 0, 0, 0x10])
    assert scans[:6] == first[:6]
    dc = scans[8 : scans.index(b"\xff", 8)]
    many = joined([*before, (0xDA, first + dc), *[(0xDA, refine + bytes(10))] * 200])
    assert refusal(host, many) == (UNSUPPORTED, "JPEG: more than 100 scans")
    twice = joined([*before, (0xDA, first + dc), (0xDA, first + dc)])
    assert refusal(host, twice) == (INPUT, "JPEG: coefficient 0 of component 0 is sent twice or out of order")
    unfinished = joined([*before, (0xDA, first + dc)])
    assert refusal(host, unfinished) == (
        INPUT,
        "JPEG: cut off: its scans do not send all of coefficient 0 of component 0",
    )


def test_a_scan_that_is_missing(image: Path) -> None:
    planes = np.asarray(natural(40, 40).convert("YCbCr"))
    parts = list(segments(one_scan_a_component([planes[..., i] for i in range(3)])))
    scans = parts[-1][1].split(b"\xff\xda")
    host = AgentHost(image, SMALL)
    two = joined([*parts[:-1], (0xDA, b"\xff\xda".join(scans[:2]))])
    assert refusal(host, two) == (INPUT, "JPEG: cut off: its scans do not send all of coefficient 0 of component 2")


def test_limits_are_configured(image: Path) -> None:
    data = jpeg(natural(40, 30))
    assert refusal(AgentHost(image, SMALL | {"max_pixels": 1199}), data) == (
        TOO_LARGE,
        "picture of 40×30 = 1200 pixels, at most 1199 (`max_pixels`)",
    )
    assert refusal(AgentHost(image, SMALL | {"max_bytes": len(data) - 1}), data) == (
        TOO_LARGE,
        f"input of {len(data)} bytes, at most {len(data) - 1} (`max_bytes`)",
    )
    AgentHost(image, SMALL | {"max_pixels": 1200, "max_bytes": len(data)}).infer(data)


def test_crop_of_a_picture_that_is_too_small(image: Path) -> None:
    assert refusal(AgentHost(image, SMALL | {"fit": "crop"}), png(natural(20, 15))) == (
        INPUT,
        "picture of 20×15 pixels, at least 16×16 expected (`fit` = `crop`)",
    )


def test_without_memory_for_it_a_picture_is_refused_and_the_instance_lives_on(image: Path) -> None:
    host = AgentHost(image, SMALL | {"dct_scaling": False}, memory_bytes_max=8 << 20)
    large, small = png(Image.new("RGB", (2000, 2000))), jpeg(natural(300, 200))
    expected = host.infer(small)
    for _ in range(3):
        assert refusal(host, large) == (MEMORY, "out of memory: 12000000 more bytes cannot be had")
        assert refusal(host, jpeg(Image.new("RGB", (1500, 1500)), progressive=True))[0] == MEMORY
        assert host.infer(small) == expected


def test_random_damage_never_traps(image: Path) -> None:
    host = AgentHost(image, SMALL)
    rng = np.random.default_rng(7)
    originals = [
        jpeg(natural(60, 50)),
        jpeg(natural(60, 50), progressive=True, subsampling="4:2:0"),
        jpeg(natural(60, 50), restart_marker_blocks=3),
        png(natural(30, 25)),
        raw_png(rng.integers(0, 16, (20, 20, 1)), 3, 4, interlaced=True, extra=chunk(b"PLTE", bytes(range(48)))),
    ]
    refused = 0
    for i in range(1500):
        damaged = bytearray(originals[i % len(originals)])
        for at in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[at] = rng.integers(0, 256)
        try:
            assert host.tensors(bytes(damaged))["image"].shape == (1, 3, 16, 16)
        except AgentRefusalError as error:
            assert error.text
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"widht": 3}, "unknown key `widht` · hint: did you mean `width`?"),
        ({"width": "224"}, '`width` is `"224"`, must be a whole number 1..4096'),
        ({"width": 0}, "`width` is `0`, must be a whole number 1..4096"),
        ({"height": 4097}, "`height` is `4097`, must be a whole number 1..4096"),
        ({"height": 1.5}, "`height` is `1.5`, must be a whole number 1..4096"),
        ({"height": -1}, "`height` is `-1`, must be a whole number 1..4096"),
        ({"layout": "NCHW"}, '`layout` is `"NCHW"`, must be `nchw` or `nhwc`'),
        ({"dtype": "float16"}, '`dtype` is `"float16"`, must be `float32` or `uint8`'),
        ({"fit": None}, "`fit` is `null`, must be `stretch` or `cover` or `contain` or `crop`"),
        ({"filter": 3}, "`filter` is `3`, must be `bilinear` or `bicubic`"),
        ({"name": ""}, '`name` is `""`, must be a text of 1..256 bytes'),
        ({"dct_scaling": 1}, "`dct_scaling` is `1`, must be true or false"),
        ({"mean": [1, 2]}, "`mean` is `[1,2]`, must be a number or 3 numbers"),
        ({"mean": "x"}, '`mean` is `"x"`, must be a number or 3 numbers'),
        ({"rescale": [1, 2, 3]}, "`rescale` is `[1,2,3]`, must be a number"),
        ({"std": 0}, None),
        ({"std": [1, 0, 1], "mean": 1}, None),
        ({"rescale": 1e300}, None),
        ({"short_side": 256}, "`short_side` has a meaning only with `fit` = `cover`"),
        ({"fit": "cover", "short_side": 100}, "`short_side` is `100`, must be at least the `width` and `height` 224"),
        ({"pad": 3}, "`pad` has a meaning only with `fit` = `contain`"),
        ({"fit": "contain", "pad": 256}, None),
        ({"fit": "contain", "pad": [1, 2, 3.5]}, None),
        ({"fit": "crop", "filter": "bicubic"}, "`filter` has a meaning only with a `fit` that resizes"),
        ({"dtype": "uint8", "mean": 1}, "`mean` has a meaning only with `dtype` = `float32`"),
        ({"width": 4096, "height": 4096}, "output of 201326"),
        ({"max_pixels": 0}, "`max_pixels` is `0`, must be a whole number 1..268435456"),
        ({"max_bytes": 1 << 40}, "`max_bytes` is `1099511627776`, must be a whole number 1..268435456"),
        (b"[1]", "no JSON object: "),
        (b"{", "no JSON object: "),
        (b"\xff\xfe", "no JSON object: "),
        (b"[" * 100_000, "no JSON object: "),
        (b'{"width": 1, "width": 2, "x": ' + b"[" * 1000, "no JSON object: "),
        (b" " * (1 << 21), "2097152 bytes, at most 1048576"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:30],
)
def test_configurations_that_are_wrong(image: Path, config: dict[str, Any] | bytes, text: str | None) -> None:
    with pytest.raises(AgentRefusalError) as caught:
        AgentHost(image, config)
    assert caught.value.number == CONFIG
    assert caught.value.text.startswith(f"config: {text or ''}")


def test_the_agent_does_what_its_schema_says(image: Path) -> None:
    manifest = AgentManifest.decode(custom_section(image.read_bytes(), "littoral.agent") or b"")
    assert manifest.config is not None
    context = {
        "short_side": {"fit": "cover", "width": 1, "height": 1},
        "pad": {"fit": "contain"},
        "max_bytes": {},
    }
    properties = manifest.config["properties"]
    defaults = {key: rule["default"] for key, rule in properties.items() if key not in context}
    data = jpeg(natural(30, 40))
    assert AgentHost(image, defaults).infer(data) == AgentHost(image, {}).infer(data)
    for key, rule in properties.items():
        good = [rule["default"], *rule.get("enum", []), *(rule[k] for k in ("minimum", "maximum") if k in rule)]
        bad = [rule[k] + step for k, step in (("minimum", -1), ("maximum", 1)) if k in rule] + [None, {}, [[]]]
        for value in good:
            config = {"width": 4, "height": 4} | context.get(key, {}) | {key: value}
            assert AgentHost(image, config).describe()["input"] == "bytes", (key, value)
        for value in bad:
            with pytest.raises(AgentRefusalError, match=f"`{key}` is "):
                AgentHost(image, context.get(key, {}) | {key: value})
    with pytest.raises(AgentRefusalError, match="known are ") as caught:
        AgentHost(image, {"x": 1})
    assert set(caught.value.text.partition("known are ")[2].split(", ")) == properties.keys()
