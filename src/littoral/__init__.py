"""Edge intelligence: ONNX models as sandboxed WebAssembly, agents, and vector search on small Linux boxes."""

__version__ = "0.1.0"
