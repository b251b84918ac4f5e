"""Makes the three models of this example from the wheel `rapidocr-onnxruntime`: `python make.py WHEEL [FOLDER]`.

The wheel's models are PaddleOCR's (Apache-2.0). FOLDER: where they go, default beside this file.
"""

import sys
import zipfile
from pathlib import Path

import onnx

import littoral

MODELS = "rapidocr_onnxruntime/models/"


def main(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        finder = files.read(f"{MODELS}ch_PP-OCRv4_det_infer.onnx")
        reader = files.read(f"{MODELS}ch_PP-OCRv4_rec_infer.onnx")
        upright = files.read(f"{MODELS}ch_ppocr_mobile_v2.0_cls_infer.onnx")
    littoral.compile(finder, shapes={"x": (1, 3, 480, 640)}, name="finder").save(folder / "finder.wasm")
    shapes = {"x": (1, 3, 48, 320)}
    littoral.compile(reader, shapes=shapes, name="reader", labels=letters(reader)).save(folder / "reader.wasm")
    shapes, labels = {"x": (1, 3, 48, 192)}, ["upright", "on its head"]
    littoral.compile(upright, shapes=shapes, name="upright", labels=labels).save(folder / "upright.wasm")


def letters(model: bytes) -> list[str]:
    """As the model's file has them: a blank first, a space last."""
    told = {entry.key: entry.value for entry in onnx.load_model_from_string(model).metadata_props}
    return ["", *told["character"].splitlines(), " "]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent))
