"""ONNX Runtime's own static quantisation, of the feeds that ours gets."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from littoral.tensors import Array

__all__ = ["static_int8"]


class _Feeds(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Mapping[str, Array]]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._left, None)


def static_int8(source: bytes, feeds: Sequence[Mapping[str, Array]]) -> bytes:
    """The quantised model: weights by channel, activations u8, min-max ranges, as its documentation advises for x86."""
    with tempfile.TemporaryDirectory() as folder:
        exact, prepared, whole = (Path(folder) / f"{name}.onnx" for name in ("exact", "prepared", "whole"))
        exact.write_bytes(source)
        quant_pre_process(exact, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            whole,
            _Feeds(feeds),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        return whole.read_bytes()
