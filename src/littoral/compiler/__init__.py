"""ONNX in, one WebAssembly module out. `driver.py` is the pipeline, to be read top to bottom."""
