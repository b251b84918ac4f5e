"""ONNX models in: bounded reader, tensors, importers by operator family."""

from littoral.compiler.onnx import operators as _registered  # noqa: F401
from littoral.compiler.onnx.importer import OPERATORS, import_model
from littoral.compiler.onnx.proto import ModelProto, decode_model

__all__ = ["OPERATORS", "ModelProto", "decode_model", "import_model"]
