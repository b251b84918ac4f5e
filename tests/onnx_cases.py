"""The ONNX project's own operator cases, by name: models of few nodes with inputs and wanted outputs."""

import functools
import warnings
from typing import Any


@functools.cache
def collected() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return {c.name: c for c in collect_testcases("") if c.data_sets}
