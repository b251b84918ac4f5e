"""What is in a file that was brought, in a worker; a compiled model is told of as a version is."""

from pathlib import Path
from typing import Any

from littoral.artifact import Model
from littoral.errors import LittoralError
from littoral.making.about import about
from littoral.making.contents import examined
from littoral.making.orders import SOURCE
from littoral.making.worker import Tell

__all__ = ["work"]

WASM = b"\0asm"


def work(folder: Path, _tell: Tell) -> dict[str, Any]:
    """`examined`: as `/api/examined` tells it. `report`: of a compiled model."""
    data = (folder / SOURCE).read_bytes()
    kind = "wasm" if data.startswith(WASM) else "onnx"
    found = examined(data, kind)
    return {"examined": found, "report": _report(data) if found.get("is_a") == "model" else None}


def _report(data: bytes) -> dict[str, Any] | None:
    try:
        model = Model(data)
    except LittoralError:  # told in `examined`
        return None
    return about(model.manifest, model.digest, len(data)) | {"comparison": None}
