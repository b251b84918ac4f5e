"""What is in a file that somebody brings: an ONNX model, or a compiled module. In a process of its own.

python -m littoral.making.contents onnx|wasm MEMORY_BYTES SECONDS < FILE > REPORT
"""

import hashlib
import resource
import sys
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from littoral.artifact.manifest import AGENT_SECTION, MODEL_SECTION, AgentManifest, Manifest
from littoral.artifact.sections import custom_section
from littoral.artifact.signatures import read_signatures, split_signature
from littoral.errors import LittoralError
from littoral.runtime.abi import check_interface, grants_for
from littoral.runtime.interface import Interface, read_interface
from littoral.runtime.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from littoral.compiler.onnx.proto import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["examined", "main"]

PORTS_MAX = 256
OPERATORS_MAX = 512
DEPTH_MAX = 16


def main(arguments: list[str]) -> int:
    """Exit code 0 with the report on stdout, whatever is wrong with the file."""
    kind, memory_bytes, time_s = arguments[0], int(arguments[1]), int(arguments[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (time_s, time_s + 1))  # it outlives its parent by no more than this
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    sys.stdout.buffer.write(msgspec.json.encode(examined(sys.stdin.buffer.read(), kind)))
    return 0


def examined(data: bytes, kind: str) -> dict[str, Any]:
    """kind: `onnx` or `wasm`. What the node cannot use it for is in `problems`."""
    told: dict[str, Any] = {"kind": kind, "file_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        return told | (_module(data) if kind == "wasm" else _onnx(data))
    except LittoralError as error:
        return told | {"is_usable": False, "problems": [_problem(error)]}


def _problem(error: LittoralError) -> dict[str, Any]:
    return {"message": error.message, "hint": error.hint}


def _module(wasm: bytes) -> dict[str, Any]:
    interface = read_interface(wasm)
    told: dict[str, Any] = {
        "signed_by": _signed_by(wasm),
        "imports": [str(wanted) for wanted in interface.imports],
        "exports": sorted(map(printable, interface.functions)),
    }
    if (payload := custom_section(wasm, MODEL_SECTION)) is not None:
        return told | {"is_usable": True, "problems": [], **_model(Manifest.decode(payload))}
    if (payload := custom_section(wasm, AGENT_SECTION)) is not None:
        return told | _agent(AgentManifest.decode(payload), interface)
    words = f"has neither `{MODEL_SECTION}` nor `{AGENT_SECTION}`: it is no model and no agent of Littoral"
    hint = "`littoral build` makes a model of ONNX; an agent says what it is in a section"
    return told | {"is_usable": False, "problems": [{"message": words, "hint": hint}]}


def _signed_by(wasm: bytes) -> list[str]:
    """Key ids in the module's own section, not verified."""
    payload, _ = split_signature(wasm)
    blocks = [] if payload is None else read_signatures(payload)
    return sorted({signature.key_id.hex() for block in blocks for signature in block.signatures})


def _model(manifest: Manifest) -> dict[str, Any]:
    first = manifest.variants[0]
    return {
        "is_a": "model",
        "name": manifest.name,
        "version": manifest.version,
        "compiler": manifest.compiler,
        "target": manifest.target,
        "threads": manifest.threads,
        "inputs": [str(port.spec) for port in first.inputs],
        "outputs": [str(port.spec) for port in first.outputs],
        "variants": [variant.key for variant in manifest.variants],
        "weights_bytes": manifest.memory.weights[1],
        "memory_bytes": manifest.memory.pages << 16,
        "macs": sum(layer.macs for layer in manifest.layers),
        "operators": [
            {"name": kind, "count": count, "is_known": True}
            for kind, count in Counter(layer.kind for layer in manifest.layers).most_common(OPERATORS_MAX)
        ],
    }


def _agent(manifest: AgentManifest, interface: Interface) -> dict[str, Any]:
    """As it would be opened with every grant that there is."""
    grants = grants_for(interface)
    problems = []
    try:
        check_interface(interface, f"agent `{printable(manifest.name)}`", [g for g in grants if g != "littoral.log"])
    except LittoralError as error:
        problems.append(_problem(error))
    return {
        "is_a": "agent",
        "is_usable": not problems,
        "problems": problems,
        "name": manifest.name,
        "version": manifest.version,
        "inputs": _ports(manifest.input),
        "outputs": _ports(manifest.output),
        "memory_bytes": manifest.memory_bytes_max,
        "deadline_ms": manifest.deadline_ms,
        "grants": list(grants),
    }


def _ports(ports: Any) -> list[str]:
    return ["bytes"] if ports == "bytes" else [str(port) for port in ports]


def _onnx(data: bytes) -> dict[str, Any]:
    if find_spec("littoral.compiler") is None:
        words = "this installation has no compiler, so it cannot read ONNX"
        return {"is_usable": False, "problems": [{"message": words, "hint": "`littoral explain FILE` elsewhere"}]}
    from littoral.compiler.onnx import OPERATORS, decode_model

    model = decode_model(data)
    assert model.graph is not None
    graph, opset = model.graph, next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    counts = Counter(f"{node.domain}.{node.op_type}".removeprefix("ai.onnx").lstrip(".") for node in _nodes(graph, 0))
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in weights]
    rows = [
        {"name": printable(name), "count": count, "is_known": name in OPERATORS or _is_function(model, name)}
        for name, count in counts.most_common(OPERATORS_MAX)
    ]
    unknown = [f"`{row['name']}`" for row in rows if not row["is_known"]]
    told = {
        "is_a": "onnx",
        "name": printable(graph.name),
        "producer": printable(model.producer_name),
        "opset": opset,
        "inputs": [_declared(info) for info in inputs[:PORTS_MAX]],
        "outputs": [_declared(info) for info in graph.output[:PORTS_MAX]],
        "nodes": sum(counts.values()),
        "operators": rows,
    }
    if unknown:
        words = f"operators that are not supported: {', '.join(unknown[:20])}"
        hint = "docs/reference/operators.md lists those that are"
        return told | {"is_usable": False, "problems": [{"message": words, "hint": hint}]}
    return told | _tried(model, inputs)


def _is_function(model: "ModelProto", name: str) -> bool:
    return any(f"{function.domain}.{function.name}" == name for function in model.functions)


def _nodes(graph: "GraphProto", depth: int) -> "Iterator[NodeProto]":
    """Those in bodies too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute if depth < DEPTH_MAX else ():
            if attribute.g is not None:
                yield from _nodes(attribute.g, depth + 1)


def _dims(info: "ValueInfoProto") -> list[int | str] | None:
    tensor = info.type.tensor_type if info.type else None
    if tensor is None or tensor.shape is None:
        return None
    return [dim.dim_param or ("?" if dim.dim_value in (None, -1) else dim.dim_value or 0) for dim in tensor.shape.dim]


def _declared(info: "ValueInfoProto") -> str:
    from littoral.compiler.onnx.tensors import ONNX_DTYPES, UNHELD_DTYPES

    tensor = info.type.tensor_type if info.type else None
    if tensor is None:
        return f"`{printable(info.name)}` no tensor"
    dtype = ONNX_DTYPES.get(tensor.elem_type) or UNHELD_DTYPES.get(tensor.elem_type, f"type {tensor.elem_type}")
    dims = _dims(info)
    shape = "of any shape" if dims is None else f"[{', '.join(printable(str(dim)) for dim in dims)}]"
    return f"`{printable(info.name)}` {dtype}{shape if dims is not None else f' {shape}'}"


def _tried(model: "ModelProto", inputs: "list[ValueInfoProto]") -> dict[str, Any]:
    """Imports it, with 1 for each dimension that is left open."""
    from littoral.compiler.onnx import import_model

    shapes = {}
    for info in inputs:
        dims = _dims(info)
        if dims is not None and any(isinstance(dim, str) for dim in dims):
            shapes[info.name] = [dim if isinstance(dim, int) else 1 for dim in dims]
    told = {"tried_with": {printable(name): shape for name, shape in shapes.items()}}
    try:
        import_model(model, shapes, None)
    except LittoralError as error:
        return told | {"is_usable": False, "problems": [_problem(error)]}
    return told | {"is_usable": True, "problems": []}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
