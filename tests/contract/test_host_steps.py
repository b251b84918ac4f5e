"""Host steps on arrays: against plain loops, on random values, and what they refuse."""

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import BYTES, HITS, TensorsType, Value
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.host.jpeg import encode_jpeg
from littoral.runtime.host.options import Ctc
from littoral.runtime.host.png import encode_png
from littoral.runtime.host_steps import HostStep
from littoral.runtime.step import How
from littoral.tensors import Array, TensorSpec


def spec(name: str, array: Array) -> TensorSpec:
    return TensorSpec(name, array.dtype.name, array.shape)


def ran(kind: str, tensors: Mapping[str, Any], *, labels: list[str] | None = None, **options: Any) -> Value:
    """The step's answer, bound to exactly these tensors; what it says it gives is held against it."""
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    with GuestThreads(1) as threads:
        if kind == "ctc":
            options = {"told": Ctc(labels="m")}
        stage = HostStep(options.pop("told", kind), threads=threads, labels=labels, **options).bind(
            TensorsType(tuple(spec(name, array) for name, array in arrays.items()))
        )
        value = asyncio.run(stage.run(arrays, How()))
    if isinstance(value, Mapping):
        assert isinstance(stage.gives, TensorsType)
        assert [port.name for port in stage.gives.ports] == list(value)
        assert all(port.accepts(value[port.name].dtype.name, value[port.name].shape) for port in stage.gives.ports)
    else:
        assert stage.gives == (BYTES if isinstance(value, bytes) else HITS)
    return value


def tensors(value: Value) -> Mapping[str, Array]:
    assert isinstance(value, Mapping)
    return value


def refused(kind: str, ports: list[TensorSpec], **options: Any) -> str:
    with GuestThreads(1) as threads, pytest.raises(SettingError) as caught:
        HostStep(kind, threads=threads, **options).bind(TensorsType(tuple(ports)))
    return caught.value.message


SEEDS = st.integers(0, 2**31)


def made_up_rows(seed: int) -> Array:
    """float32[1 … 5, 4], some zeros and equal numbers among them."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1000, 1000, (rng.integers(1, 6), 4)).astype(np.float32)
    return rows * rng.integers(0, 2, rows.shape).astype(np.float32)


@settings(deadline=None)
@given(SEEDS)
def test_rows_are_normalized_and_summed_to_one(seed: int) -> None:
    array = made_up_rows(seed)
    unit = tensors(ran("normalize", {"v": array}))["v"]
    lengths = np.linalg.norm(array.astype(np.float64), axis=1)
    assert np.allclose(unit * lengths[:, None], array, rtol=1e-5, atol=1e-6)
    shares = tensors(ran("softmax", {"v": array}))["v"]
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares.argmax(axis=1) == array.argmax(axis=1)).all()


@settings(deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_the_largest_come_first_and_ties_by_index(seed: int, k: int) -> None:
    rows = made_up_rows(seed)
    found = tensors(ran("top_k", {"v": rows}, k=k))
    for row, scores, indices in zip(rows, found["scores"], found["indices"], strict=True):
        assert indices.tolist() == sorted(range(4), key=lambda i: (-row[i], i))[:k]
        assert scores.tolist() == row[indices].tolist()


def test_names_of_a_model_become_the_payload_of_hits() -> None:
    found = ran("top_k", {"v": np.array([[0.1, 0.7, 0.2]], np.float32)}, k=2, labels=["cat", "dog", "hen"])
    assert [(hit["id"], hit["payload"]) for hit in found] == [(1, {"label": "dog"}), (2, {"label": "hen"})]
    rows = TensorSpec("v", "float32", (2, 3))
    with GuestThreads(1) as threads:
        step = HostStep("top_k", threads=threads, k=2, labels=["cat", "dog", "hen"])
        with pytest.raises(SettingError, match="takes one row"):
            step.bind(TensorsType((rows,)))
        with pytest.raises(SettingError, match="takes a last dimension of 3"):
            step.bind(TensorsType((TensorSpec("v", "float32", (1, 4)),)))


def test_what_is_below_the_threshold_goes() -> None:
    values = np.array([[0.2, 0.5], [0.9, np.nan]], np.float32)
    assert tensors(ran("threshold", {"m": values}, at=0.5))["m"].tolist() == [[False, True], [True, False]]
    rows = {"scores": np.array([0.9, 0.1, 0.5], np.float32), "boxes": np.arange(12).reshape(3, 4)}
    kept = tensors(ran("threshold", rows, at=0.5, by="scores"))
    assert kept["boxes"].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert kept["scores"].tolist() == [np.float32(0.9), 0.5]
    two = [TensorSpec("scores", "float32", (3,)), TensorSpec("boxes", "float32", (2, 4))]
    assert refused("threshold", two, at=1.0, by="scores") == "takes `scores` float32[?] and tensors of as many rows"
    assert refused("threshold", two[1:], at=1.0, by="scores").startswith("takes `scores`")


def plain_nms(boxes: Array, scores: Array, iou: float, score_min: float, limit: int) -> list[int]:
    """One class, boxes as corners, by the book."""
    kept: list[int] = []
    for i in sorted(np.flatnonzero(scores >= score_min), key=lambda i: (-scores[i], i)):
        if len(kept) < limit and all(overlap(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(int(i))
    return kept


def overlap(one: Array, two: Array) -> float:
    def area(box: Array) -> float:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

    inner = max(0.0, min(one[2], two[2]) - max(one[0], two[0])) * max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    union = area(one) + area(two) - inner
    return float(inner / union) if union > 0 else 0.0


@settings(deadline=None)
@given(SEEDS, st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(1, 20))
def test_of_boxes_that_overlap_the_best_stays(seed: int, count: int, iou: float, limit: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.integers(0, 20, (count, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores = (rng.integers(0, 10, count) / 8).astype(np.float32)
    found = tensors(ran("nms", {"boxes": boxes, "scores": scores}, iou=iou, limit=limit))
    kept = plain_nms(boxes.astype(np.float64), scores, iou, 0.25, limit)
    assert found["boxes"].tolist() == boxes[kept].tolist()
    assert found["scores"].tolist() == scores[kept].tolist()


def test_every_layout_of_boxes_tells_the_same() -> None:
    rng = np.random.default_rng(3)
    centres = rng.uniform(20, 80, (30, 2)).astype(np.float32)
    sides = rng.uniform(5, 30, (30, 2)).astype(np.float32)
    scores = rng.uniform(0, 1, (30, 3)).astype(np.float32)
    rows = np.concatenate([centres, sides, scores], axis=1)
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    wanted = tensors(ran("nms", {"boxes": corners, "scores": scores}))
    assert len(wanted["boxes"]) > 3
    ones = np.concatenate([rows[:, :4], np.ones((30, 1), np.float32), rows[:, 4:]], axis=1)
    for found in (
        ran("nms", {"boxes": corners[None], "scores": scores[None]}),
        ran("nms", {"boxes": np.concatenate([centres - sides / 2, sides], axis=1), "scores": scores}, format="xywh"),
        ran("nms", {"out": rows}, layout="rows"),
        ran("nms", {"out": rows.T[None].copy()}, layout="columns"),
        ran("nms", {"out": ones[None]}, layout="rows_objectness"),
    ):
        assert np.array_equal(tensors(found)["classes"], wanted["classes"])
        assert np.allclose(tensors(found)["boxes"], wanted["boxes"], atol=1e-4)
    apart = tensors(ran("nms", {"boxes": np.tile(corners[:1], (2, 1)), "scores": np.eye(2, dtype=np.float32)}))
    together = ran("nms", {"boxes": np.tile(corners[:1], (2, 1)), "scores": np.eye(2)}, across_classes=True)
    assert (len(apart["boxes"]), len(tensors(together)["boxes"])) == (2, 1)


def test_boxes_that_are_no_numbers_are_left_out() -> None:
    boxes = np.array([[0, 0, 1, 1], [np.nan, 0, 1, 1], [0, 0, np.inf, 1], [-3e38, -3e38, 3e38, 3e38]], np.float32)
    scores = np.array([0.5, 0.9, 0.8, np.nan], np.float32)
    assert tensors(ran("nms", {"boxes": boxes, "scores": scores}))["boxes"].tolist() == [[0, 0, 1, 1]]
    huge = tensors(ran("nms", {"boxes": boxes[[3, 3]], "scores": np.array([0.5, 0.6], np.float32)}))
    assert huge["scores"].tolist() == [np.float32(0.6)]


def plain_regions(mask: Array) -> list[tuple[int, int, int, int]]:
    """Flood fill, one pixel after the other."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    boxes = []
    while left:
        found, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            found.add((y, x))
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
        ys, xs = [y for y, _ in found], [x for _, x in found]
        boxes.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return sorted(boxes)


@settings(deadline=None)
@given(SEEDS, st.integers(1, 14), st.integers(1, 14), st.floats(0, 1))
def test_what_hangs_together_is_one_region(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    chances = mask[None, None].astype(np.float32) * np.float32(0.75)
    found = tensors(ran("regions", {"map": chances}, side_min=0, unclip=0, limit=4096))
    assert sorted(map(tuple, found["boxes"].astype(int).tolist())) == plain_regions(mask)
    assert np.allclose(found["scores"], 0.75)


def test_regions_are_grown_sorted_and_bounded() -> None:
    chances = np.zeros((40, 60), np.float32)
    chances[20:30, 5:25] = 0.9
    chances[2:6, 30:50] = 0.6
    chances[35:37, 35:37] = 1.0
    chances[10:16, 40:48] = 0.4
    found = tensors(ran("regions", {"map": chances}))
    assert found["boxes"].tolist() == [[30 - 2.5, 2 - 2.5, 50 + 2.5, 6 + 2.5], [0, 15, 30, 35]]
    assert found["scores"].tolist() == [pytest.approx(0.6), pytest.approx(0.9)]
    assert tensors(ran("regions", {"map": chances}, limit=1))["scores"].tolist() == [pytest.approx(0.9)]
    noise = (np.indices((400, 400)).sum(axis=0) % 2).astype(np.float32)
    with pytest.raises(InputError, match="80000 stretches in the map, at most 65536"):
        ran("regions", {"map": noise})


def test_letters_are_read_without_blanks_and_repetitions() -> None:
    letters = ["", "a", "b"]
    columns = np.eye(3, dtype=np.float32)[[1, 1, 0, 1, 2, 2, 0, 0]] * np.float32(0.5)
    assert ran("ctc", {"s": columns[None]}, labels=letters) == [{"id": 0, "score": 0.5, "payload": {"text": "aab"}}]


def plain_crop(picture: Array, box: list[float], width: int, height: int) -> Array:
    result = np.zeros((height, width, picture.shape[2]))
    for j in range(height):
        for i in range(width):
            x = np.clip(box[0] + (i + 0.5) * (box[2] - box[0]) / width - 0.5, 0, picture.shape[1] - 1)
            y = np.clip(box[1] + (j + 0.5) * (box[3] - box[1]) / height - 0.5, 0, picture.shape[0] - 1)
            x0, y0 = int(x), int(y)
            x1, y1 = min(x0 + 1, picture.shape[1] - 1), min(y0 + 1, picture.shape[0] - 1)
            upper = picture[y0, x0] * (1 - x + x0) + picture[y0, x1] * (x - x0)
            lower = picture[y1, x0] * (1 - x + x0) + picture[y1, x1] * (x - x0)
            result[j, i] = upper * (1 - y + y0) + lower * (y - y0)
    return result


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(1, 6))
def test_parts_are_resized_as_written_down(seed: int, w: int, h: int, width: int, height: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    corner = np.array([rng.integers(0, w), rng.integers(0, h)], np.float32)
    box = [*corner.tolist(), float(rng.uniform(corner[0] + 1, w)), float(rng.uniform(corner[1] + 1, h))]
    box = [float(np.float32(x)) for x in box]
    found = ran("crop", {"image": picture, "boxes": np.float32([box])}, width=width, height=height, dtype="float32")
    assert np.allclose(tensors(found)["crops"][0], plain_crop(picture, box, width, height), atol=0.01)


def test_a_part_of_its_own_size_is_the_part_itself() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    boxes = np.array([[4, 5, 10, 9], [24, 16, 30, 20]], np.float32)
    found = tensors(ran("crop", {"image": picture, "boxes": boxes}, width=6, height=4))["crops"]
    assert np.array_equal(found, np.stack([picture[5:9, 4:10], picture[16:20, 24:30]]))
    chw = np.ascontiguousarray(picture.transpose(2, 0, 1))[None]
    same = ran(
        "crop", {"image": chw, "boxes": boxes / 2}, width=6, height=4, picture="nchw", space=[15, 10], layout="nchw"
    )
    assert np.array_equal(tensors(same)["crops"], found.transpose(0, 3, 1, 2))
    scaled = ran(
        "crop",
        {"image": picture, "boxes": boxes},
        width=6,
        height=4,
        dtype="float32",
        rescale=0.5,
        mean=[1, 2, 3],
        std=2,
    )
    assert np.allclose(tensors(scaled)["crops"], (found * 0.5 - np.array([1, 2, 3])) / 2)


def test_boxes_beyond_the_picture_are_cut_to_it() -> None:
    picture = np.full((10, 10, 1), 7, np.uint8)
    boxes = np.array([[-5, -5, 50, 50], [20, 20, 30, 30], [5, 5, 1, 1], [0, 0, 1e30, 1e30]], np.float32)
    found = tensors(ran("crop", {"image": picture, "boxes": boxes}, width=3, height=2))["crops"]
    assert (found == 7).all()
    assert tensors(ran("crop", {"image": picture, "boxes": boxes[:0]}, width=3, height=2))["crops"].shape == (
        0,
        2,
        3,
        1,
    )
    with pytest.raises(InputError, match="step `crop`: box 1 is not finite"):
        ran("crop", {"image": picture, "boxes": np.float32([[0, 0, 1, 1], [np.nan] * 4])}, width=3, height=2)
    with pytest.raises(InputError, match="step `crop`: 3 boxes, at most 2"):
        ran("crop", {"image": picture, "boxes": boxes[:3]}, width=3, height=2, limit=2)


def test_a_part_keeps_its_shape_where_it_is_contained() -> None:
    picture = np.full((10, 40, 3), 200, np.uint8)
    boxes = np.array([[0, 0, 20, 10], [0, 0, 40, 2]], np.float32)
    found = tensors(ran("crop", {"image": picture, "boxes": boxes}, width=64, height=16, fit="contain", pad=1))["crops"]
    ink = [(found[i] == 200).all(axis=2) for i in range(2)]
    assert [(i.any(axis=1).sum(), i.any(axis=0).sum()) for i in ink] == [(16, 32), (3, 64)]
    assert (found[~np.stack(ink)] == 1).all()


PICTURE = TensorSpec("image", "uint8", (-1, -1, 3))
BOXES = TensorSpec("boxes", "float32", (-1, 4))
CROP_MISFITS: list[tuple[list[TensorSpec], dict[str, Any], str]] = [
    ([PICTURE], {}, "takes `image`"),
    ([PICTURE, TensorSpec("boxes", "float32", (-1, 5))], {}, "takes `image`"),
    ([TensorSpec("image", "float64", (-1, -1, 3)), BOXES], {}, "takes `image`"),
    ([TensorSpec("image", "uint8", (-1, -1, 4)), BOXES], {}, "takes `image`"),
    ([PICTURE, BOXES], {"rescale": 2.0}, "`rescale`, `mean` and `std` have no meaning for uint8"),
    ([PICTURE, BOXES], {"dtype": "float32", "std": 0.0}, "`std` is 0"),
    ([PICTURE, BOXES], {"pad": 3}, "`pad` has no meaning for `stretch`"),
    ([PICTURE, BOXES], {"space": [0, 4]}, "`space` must be two numbers above 0"),
    ([PICTURE, BOXES], {"width": 4096, "height": 4096}, "gives more than 256 MiB with 64 boxes of [4096, 4096, 3]"),
]


@pytest.mark.parametrize(("ports", "options", "message"), CROP_MISFITS)
def test_what_cannot_be_cut_is_refused(ports: list[TensorSpec], options: dict[str, Any], message: str) -> None:
    assert refused("crop", ports, **({"width": 8, "height": 8} | options)).startswith(message)


@pytest.mark.parametrize("file", ["jpeg", "png"])
def test_boxes_and_names_are_drawn(file: str) -> None:
    picture = np.full((60, 90, 3), 120, np.uint8)
    given_ = {
        "image": picture,
        "boxes": np.array([[10, 30, 50, 50], [80, 5, 200, 300], [-9, -9, -5, -5]], np.float32),
        "scores": np.array([0.9, 0.8, 0.7], np.float32),
        "classes": np.array([1, 0, 7]),
    }
    data = ran("draw", given_, file=file, labels=["cat", "dog"])
    assert isinstance(data, bytes)
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.size, opened.mode) == (file.upper(), (90, 60), "RGB")
        shown = np.asarray(opened).astype(int)
    changed = np.abs(shown - 120).max(axis=2) > 40
    assert changed[30, 12:48].all()
    assert changed[32:48, 10].all()
    assert changed[20:30, 12:20].any()
    assert not changed[35:45, 20:45].any()
    assert not changed[40:, :8].any()
    assert not isinstance(ran("draw", {"image": picture, "boxes": given_["boxes"][:0]}), Mapping)


def test_a_picture_is_not_drawn_on_where_numbers_differ() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="step `draw`: 1 boxes and 2 `scores`"):
        ran("draw", {"image": picture, "boxes": np.zeros((1, 4), np.float32), "scores": np.zeros(2, np.float32)})
    assert refused("draw", [PICTURE, BOXES, TensorSpec("masks", "float32", (3,))]).startswith("takes `image`")
    assert refused("draw", [PICTURE, BOXES], file="png", quality=3) == "`quality` has no meaning for `png`"


SIZES = [(1, 1), (7, 9), (8, 8), (16, 16), (17, 33), (40, 24)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_files_hold_the_picture(size: tuple[int, int], channels: int) -> None:
    """PNG exactly; JPEG as near as Pillow's own encoder comes."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(x / 5 + i) * 60 + np.cos(y / 7 - i) * 60 + 127 for i in range(channels)]
    picture = np.stack(waves, axis=2).round().astype(np.uint8)
    plain = picture if channels == 3 else picture[:, :, 0]
    with Image.open(io.BytesIO(encode_png(picture))) as opened:
        assert np.array_equal(np.asarray(opened), plain)
    for quality in (20, 85, 100):
        theirs = io.BytesIO()
        Image.fromarray(plain).save(theirs, "JPEG", quality=quality, subsampling=2)
        errors = []
        for data in (encode_jpeg(picture, quality=quality), theirs.getvalue()):
            with Image.open(io.BytesIO(data)) as opened:
                errors.append(np.abs(np.asarray(opened).astype(float) - plain).mean())
        assert errors[0] <= errors[1] * 1.25 + 0.3


def test_noise_and_the_largest_steps_can_be_written() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 2, (32, 48, 3), dtype=np.uint8) * np.uint8(255)
    with Image.open(io.BytesIO(encode_jpeg(noise, quality=100))) as opened:
        assert np.abs(np.asarray(opened.convert("L")).astype(float) - noise @ [0.299, 0.587, 0.114]).mean() < 4
