"""Makes the model of this example: `python make.py [FOLDER]`. FOLDER: where it goes, default beside this file.

Not a trained network: a picture's thumbnail of 8 × 8 without its mean, so that its direction is kept by what a copy
changes (size, compression, brightness, contrast) and not by what another picture shows.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import littoral

SIDE, THUMB = 64, 8


def main(folder: Path) -> None:
    littoral.compile(network(), name="thumbnail").save(folder / "thumbnail.wasm")


def network() -> bytes:
    shape = numpy_helper.from_array(np.array([1, 3 * THUMB * THUMB], np.int64), "shape")
    window = [SIDE // THUMB] * 2
    nodes = [
        helper.make_node("AveragePool", ["image"], ["thumb"], kernel_shape=window, strides=window),
        helper.make_node("Reshape", ["thumb", "shape"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["embedding"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "thumbnail", [image], [helper.make_empty_tensor_value_info("embedding")], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent))
