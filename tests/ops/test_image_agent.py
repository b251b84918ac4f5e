"""The agent `image` against Pillow: the same decoder and the same resizing, so the same bytes, not nearly the same."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from agent_host import AgentHost
from littoral.artifact import AgentManifest, custom_section
from littoral.runtime.agents import Agent
from littoral.tensors import Array, TensorSpec
from pictures import chunk, joined, jpeg, natural, one_scan_a_component, opened, png, raw_png, resampled, segments

ROOT = Path(__file__).parents[2]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
BYTES = {"layout": "nhwc", "dtype": "uint8", "dct_scaling": False}


def answer(image: Path, data: bytes, config: Mapping[str, Any]) -> Array:
    """The picture as the agent gives it: uint8[height, width, 3] with `BYTES`."""
    (array,) = AgentHost(image, config).tensors(data).values()
    return array[0]


def whole(image: Path, data: bytes) -> Array:
    """The decoded picture, not resized."""
    width, height = opened(data).size
    return answer(image, data, BYTES | {"width": width, "height": height})


def rgb(data: bytes) -> Array:
    picture = opened(data)
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    return np.asarray(picture.convert("RGB"))


def assert_decodes_as_pillow(image: Path, data: bytes) -> None:
    np.testing.assert_array_equal(whole(image, data), rgb(data))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 9), (8, 8), (16, 17), (33, 15), (130, 67)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_every_size_and_subsampling(
    image: Path, size: tuple[int, int], subsampling: str, progressive: bool
) -> None:
    assert_decodes_as_pillow(image, jpeg(natural(*size), subsampling=subsampling, progressive=progressive, quality=88))


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 95, 100])
def test_jpeg_of_every_quality(image: Path, quality: int) -> None:
    for seed, options in enumerate(({}, {"optimize": True}, {"progressive": True})):
        assert_decodes_as_pillow(image, jpeg(natural(90, 75, seed), quality=quality, **options))


@pytest.mark.parametrize(
    "options",
    [{"restart_marker_blocks": 1}, {"restart_marker_blocks": 7}, {"restart_marker_rows": 1}],
    ids="-".join,
)
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_with_restart_markers(image: Path, options: dict[str, int], progressive: bool) -> None:
    assert_decodes_as_pillow(image, jpeg(natural(120, 70), progressive=progressive, **options))


@pytest.mark.parametrize("progressive", [False, True])
def test_grey_jpeg(image: Path, progressive: bool) -> None:
    assert_decodes_as_pillow(image, jpeg(natural(61, 43).convert("L"), progressive=progressive))


def test_jpeg_that_stores_rgb(image: Path) -> None:
    assert_decodes_as_pillow(image, jpeg(natural(50, 40), keep_rgb=True))


@pytest.mark.parametrize(
    ("subsampling", "factors"),
    [
        ("4:2:2", [0x12, 0x11, 0x11]),  # 4:4:0
        ("4:2:0", [0x41, 0x11, 0x11]),  # 4:1:1
        ("4:2:0", [0x14, 0x11, 0x11]),
    ],
)
def test_jpeg_of_rare_sampling(image: Path, subsampling: str, factors: list[int]) -> None:
    data = jpeg(natural(64, 64), subsampling=subsampling, quality=90)
    assert_decodes_as_pillow(image, resampled(data, factors))


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 3}])
def test_jpeg_with_a_scan_for_each_component(image: Path, options: dict[str, int]) -> None:
    planes = np.asarray(natural(45, 38).convert("YCbCr"))
    assert_decodes_as_pillow(image, one_scan_a_component([planes[..., i] for i in range(3)], quality=90, **options))


@pytest.mark.parametrize("factors", [(0x11, 0x21, 0x11), (0x11, 0x11, 0x12), (0x12, 0x22, 0x11), (0x11, 0x44, 0x22)])
def test_jpeg_whose_first_component_is_a_coarse_one(image: Path, factors: tuple[int, int, int]) -> None:
    across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
    planes = np.asarray(natural(75, 58).convert("YCbCr"))
    coarse = [planes[: -(-58 * (f & 15) // down), : -(-75 * (f >> 4) // across), i] for i, f in enumerate(factors)]
    assert_decodes_as_pillow(image, one_scan_a_component(coarse, factors, quality=90))


def test_jpeg_without_huffman_tables_as_cameras_send_video(image: Path) -> None:
    data = jpeg(natural(80, 60))
    bare = joined([part for part in segments(data) if part[0] != 0xC4])
    np.testing.assert_array_equal(whole(image, bare), rgb(data))


def test_jpeg_with_sixteen_bit_quantization_tables(image: Path) -> None:
    data = jpeg(natural(40, 40), quality=60)

    def widened(payload: bytes) -> bytes:
        tables = [payload[i : i + 65] for i in range(0, len(payload), 65)]
        return b"".join(bytes([0x10 | t[0]]) + b"".join(bytes([0, step]) for step in t[1:]) for t in tables)

    wide = joined([(marker, widened(p) if marker == 0xDB else p) for marker, p in segments(data)])
    np.testing.assert_array_equal(whole(image, wide), rgb(data))


def test_bytes_after_the_end_are_ignored(image: Path) -> None:
    data = jpeg(natural(30, 20))
    np.testing.assert_array_equal(
        whole(image, data), answer(image, data + b"more", BYTES | {"width": 30, "height": 20})
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_every_mode_pillow_writes(image: Path, mode: str) -> None:
    picture = natural(53, 37)
    if mode in ("LA", "RGBA"):
        picture.putalpha(natural(53, 37, 1).convert("L"))
    assert_decodes_as_pillow(image, png(picture.convert(mode)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("interlaced", [False, True])
def test_png_with_a_palette(image: Path, depth: int, interlaced: bool) -> None:
    rng = np.random.default_rng(depth)
    palette = chunk(b"PLTE", rng.integers(0, 256, 3 << depth, np.uint8).tobytes())
    transparency = chunk(b"tRNS", rng.integers(0, 256, 1 << depth, np.uint8).tobytes())
    samples = rng.integers(0, 1 << depth, (19, 27, 1))
    for extra in (palette, palette + transparency):
        assert_decodes_as_pillow(image, raw_png(samples, 3, depth, interlaced=interlaced, extra=extra))


@pytest.mark.parametrize(("color", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (2, 8), (2, 16), (4, 8), (6, 8), (6, 16)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (19, 27)])
def test_png_interlaced_or_not(image: Path, color: int, depth: int, size: tuple[int, int]) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    samples = np.random.default_rng(depth).integers(0, 1 << depth, (*size, channels))
    for interlaced in (False, True):
        assert_decodes_as_pillow(image, raw_png(samples, color, depth, interlaced=interlaced))


@pytest.mark.parametrize("color", [0, 4])
def test_grey_png_of_sixteen_bits_keeps_the_upper_eight(image: Path, color: int) -> None:
    samples = np.random.default_rng(3).integers(0, 1 << 16, (9, 11, 1 if color == 0 else 2))
    got = whole(image, raw_png(samples, color, 16))
    np.testing.assert_array_equal(got, np.repeat(samples[..., :1] >> 8, 3, axis=-1))


def test_png_with_large_chunks_of_other_matter(image: Path) -> None:
    samples = np.zeros((4, 4, 3), np.uint8)
    text = chunk(b"tEXt", b"note\0" + bytes(range(32, 127)) * 60_000) + chunk(b"prVt", bytes(3_000_000))
    assert_decodes_as_pillow(image, raw_png(samples, 2, 8, extra=chunk(b"prVt", bytes(3_000_000))))
    assert whole(image, raw_png(samples, 2, 8, extra=text)).max() == 0


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(224, 224), (1, 1), (3, 300), (96, 17), (301, 203), (640, 480)])
def test_resizing_is_pillows(image: Path, name: str, size: tuple[int, int]) -> None:
    for source in [(301, 203), (13, 640), (1, 1), (500, 2)]:
        data = png(natural(*source))
        got = answer(image, data, BYTES | {"width": size[0], "height": size[1], "filter": name})
        np.testing.assert_array_equal(got, np.asarray(opened(data).resize(size, FILTERS[name])))


def test_overshoot_is_clipped_between_the_passes(image: Path) -> None:
    checks = np.kron(np.indices((12, 12)).sum(axis=0) % 2, np.ones((9, 9)))[..., None].repeat(3, -1) * 255
    data = png(Image.fromarray(checks.astype(np.uint8)))
    got = answer(image, data, BYTES | {"width": 71, "height": 50, "filter": "bicubic"})
    np.testing.assert_array_equal(got, np.asarray(opened(data).resize((71, 50), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(500, 333), (333, 500), (225, 300)])
def test_cover_is_torchvisions_resize_and_center_crop(image: Path, name: str, size: tuple[int, int]) -> None:
    data = png(natural(*size))
    long = int(256 * max(size) / min(size))
    resized = opened(data).resize((256, long) if size[0] <= size[1] else (long, 256), FILTERS[name])
    left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
    config = BYTES | {"fit": "cover", "short_side": 256, "filter": name}
    np.testing.assert_array_equal(
        answer(image, data, config), np.asarray(resized.crop((left, top, left + 224, top + 224)))
    )


def test_cover_without_a_short_side_cuts_as_little_as_can_be(image: Path) -> None:
    data = png(natural(400, 200))
    got = answer(image, data, BYTES | {"fit": "cover", "width": 50, "height": 40})
    np.testing.assert_array_equal(got, np.asarray(opened(data).resize((80, 40), FILTERS["bilinear"]))[:, 15:65])


@pytest.mark.parametrize("size", [(400, 200), (100, 333), (64, 64)])
def test_contain_pads_on_both_sides(image: Path, size: tuple[int, int]) -> None:
    data = png(natural(*size))
    config = BYTES | {"fit": "contain", "width": 96, "height": 64, "pad": [114, 0, 255]}
    got = answer(image, data, config)
    scale = min(96 / size[0], 64 / size[1])
    inner = opened(data).resize((round(size[0] * scale), round(size[1] * scale)), FILTERS["bilinear"])
    expected = Image.new("RGB", (96, 64), (114, 0, 255))
    expected.paste(inner, ((96 - inner.width) // 2, (64 - inner.height) // 2))
    np.testing.assert_array_equal(got, np.asarray(expected))
    np.testing.assert_array_equal(
        answer(image, data, {**config, "dtype": "float32", "layout": "nchw", "rescale": 1}),
        np.asarray(expected).transpose(2, 0, 1).astype(np.float32),
    )


def test_crop_takes_the_middle_as_it_is(image: Path) -> None:
    data = png(natural(101, 60))
    got = answer(image, data, BYTES | {"fit": "crop", "width": 50, "height": 60})
    np.testing.assert_array_equal(got, rgb(data)[:, 26:76])  # (101 − 50) / 2 = 25.5, to the even


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize(
    "config", [{"fit": "stretch"}, {"fit": "cover", "filter": "bicubic"}, {"fit": "crop", "width": 31, "height": 20}]
)
def test_exif_orientation(image: Path, orientation: int, kind: str, config: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    save = {"jpeg": jpeg, "png": png}[kind]
    data = save(natural(75, 46), exif=exif)
    upright = save(natural(75, 46)) if orientation == 1 else png(ImageOps.exif_transpose(opened(data)))
    config = BYTES | {"width": 40, "height": 30} | config
    np.testing.assert_array_equal(answer(image, data, config), answer(image, upright, config))
    if config["fit"] == "stretch":
        expected = ImageOps.exif_transpose(opened(data)).resize((40, 30), FILTERS["bilinear"])
        np.testing.assert_array_equal(answer(image, data, config), np.asarray(expected))


@pytest.mark.parametrize("size", [(640, 480), (641, 483), (1000, 333)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "grey"])
@pytest.mark.parametrize("divisor", [2, 4, 8])
def test_scaled_decoding_is_pillows_draft(image: Path, size: tuple[int, int], subsampling: str, divisor: int) -> None:
    picture = natural(*size)
    data = (
        jpeg(picture.convert("L"), progressive=True)
        if subsampling == "grey"
        else jpeg(picture, subsampling=subsampling)
    )
    target = (size[0] // divisor // 3, size[1] // divisor // 3)
    draft = opened(data)
    draft.draft(None, (size[0] // divisor, size[1] // divisor))
    assert draft.size == (-(-size[0] // divisor), -(-size[1] // divisor))
    box = (0, 0, size[0] / divisor, size[1] / divisor)
    expected = draft.convert("RGB").resize(target, FILTERS["bilinear"], box=box)
    got = answer(image, data, BYTES | {"width": target[0], "height": target[1], "dct_scaling": True})
    np.testing.assert_array_equal(got, np.asarray(expected))


@pytest.mark.parametrize("name", FILTERS)
def test_scaled_decoding_is_nearly_the_same_picture(image: Path, name: str) -> None:
    for seed in range(4):
        data = jpeg(natural(1280, 720, seed), quality=90)
        for side in (40, 90, 160, 224):
            config = BYTES | {"width": side, "height": side, "filter": name}
            exact = answer(image, data, config).astype(int)
            scaled = answer(image, data, config | {"dct_scaling": True}).astype(int)
            assert np.abs(exact - scaled).mean() <= 2
            assert np.abs(exact - scaled).max() <= 6


@pytest.mark.parametrize(
    ("config", "rescale", "mean", "std"),
    [
        ({}, 1 / 255, 0, 1),
        ({"rescale": 1, "mean": 127, "std": 128}, 1, 127, 128),
        (
            {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            1 / 255,
            [0.485, 0.456, 0.406],
            [0.229, 0.224, 0.225],
        ),
    ],
)
def test_normalization_is_exact(image: Path, config: dict[str, Any], rescale: float, mean: Any, std: Any) -> None:
    data = png(natural(64, 48))
    expected = ((rgb(data).astype(np.float64) * rescale - mean) / std).astype(np.float32)
    config = {"width": 64, "height": 48, **config}
    np.testing.assert_array_equal(answer(image, data, config), expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(answer(image, data, config | {"layout": "nhwc"}), expected)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_agent_describes_what_it_gives(image: Path, dtype: str, layout: str) -> None:
    host = AgentHost(image, {"width": 20, "height": 10, "dtype": dtype, "layout": layout, "name": 'a "b"'})
    shape = [1, 3, 10, 20] if layout == "nchw" else [1, 10, 20, 3]
    spec = {"name": 'a "b"', "dtype": dtype, "shape": shape}
    assert host.describe() == {"input": "bytes", "output": [spec]}
    ((name, array),) = host.tensors(jpeg(natural(30, 30))).items()
    assert (name, array.dtype.name, list(array.shape)) == (spec["name"], dtype, shape)


def test_the_same_bytes_give_the_same_tensor(image: Path) -> None:
    data = jpeg(natural(200, 150), progressive=True)
    other = jpeg(natural(333, 222, 1))
    first, second = AgentHost(image, {}), AgentHost(image, {})
    expected = first.infer(data)
    for host in (first, second):
        for between in (other, png(natural(50, 60)), b"damaged"):
            try:
                host.infer(between)
            except Exception as error:  # noqa: BLE001 - what it answers is tested elsewhere
                assert between == b"damaged", error
            assert host.infer(data) == expected


def test_memory_is_flat(image: Path) -> None:
    host = AgentHost(image, BYTES)
    exif = Image.Exif()
    exif[0x0112] = 6
    inputs = [
        jpeg(natural(320, 240)),
        jpeg(natural(640, 272), progressive=True),
        jpeg(natural(100, 300), exif=exif),
        png(natural(500, 120)),
        raw_png(np.zeros((200, 300, 4), np.uint8), 6, 8, interlaced=True),
        jpeg(natural(320, 240))[:3000],
        b"text",
    ]

    def call(data: bytes) -> None:
        try:
            host.infer(data)
        except Exception as error:
            if len(data) > 3000:
                raise AssertionError("refused") from error

    for data in inputs * 3:
        call(data)
    settled = host.memory_bytes
    for i in range(500):
        call(inputs[i * i % len(inputs)])
    assert host.memory_bytes == settled


def test_whatever_the_default_limits_admit_fits_the_declared_memory(image: Path) -> None:
    manifest = AgentManifest.decode(custom_section(image.read_bytes(), "littoral.agent") or b"")
    assert manifest.config is not None
    pixels = manifest.config["properties"]["max_pixels"]["default"]
    size_bytes = manifest.config["properties"]["max_bytes"]["default"]
    side = int(pixels**0.5)
    host = AgentHost(image, {"dct_scaling": False}, memory_bytes_max=manifest.memory_bytes_max)
    for data in (
        jpeg(Image.new("RGB", (side // 2, side)), progressive=True, subsampling="4:4:4"),
        png(Image.new("RGBA", (side, side))),
        jpeg(Image.new("RGB", (side, side), "teal"), progressive=True, subsampling="4:4:4"),
    ):
        padded = data + bytes(size_bytes - len(data))
        assert host.tensors(padded)["image"].shape == (1, 3, 224, 224)


def test_through_the_runtime() -> None:
    picture = natural(640, 272)
    with Agent.open("builtin:image", {"width": 224, "height": 224, "layout": "nhwc", "dtype": "uint8"}) as agent:
        assert agent.output == (TensorSpec("image", "uint8", (1, 224, 224, 3)),)
        answer = agent.infer(jpeg(picture))
    expected = np.asarray(opened(jpeg(picture)).resize((224, 224), FILTERS["bilinear"]))
    assert isinstance(answer, dict)
    np.testing.assert_array_equal(answer["image"][0], expected)


def test_the_committed_binary_is_the_one_of_the_digests() -> None:
    folder = ROOT / "src/littoral/runtime/builtin"
    digests = tomllib.loads((folder / "digests.toml").read_text())
    assert {path.stem for path in folder.glob("*.wasm")} == digests.keys()
    for name, entry in digests.items():
        assert hashlib.sha256((folder / f"{name}.wasm").read_bytes()).hexdigest() == entry["sha256"]


def test_the_binary_carries_the_manifest_of_the_sources(image: Path) -> None:
    section = custom_section(image.read_bytes(), "littoral.agent")
    assert section == (ROOT / "guests/image/manifest.json").read_bytes()
    version = tomllib.loads((ROOT / "guests/Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert json.loads(section)["version"] == version
