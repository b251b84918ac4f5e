"""`--for device`: modules for WebAssembly 1.0, hosts around wasm3 (C) and wasmi (Rust), and what all that takes."""

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from littoral.artifact.manifest import Layer
from littoral.bundle.footprint import code_bytes, sizes, stack_bytes
from littoral.bundle.plan import Finding, Options, Plan
from littoral.bundle.recipe import Recipe
from littoral.bundle.stages import Known, Operations, Stage, digest_of, known_answer, stages_of
from littoral.bundle.texts import filled

__all__ = ["FLASH_BYTES_MAX", "MEMORY_BYTES_MAX", "plan_device"]

MEMORY_BYTES_MAX = 256 << 10
FLASH_BYTES_MAX = 1 << 20
COPIED = {
    "c/littoral_device.c": "littoral_device.c",
    "c/main.c": "main.c",
    "wamr/littoral_device.c": "wamr.c",
    "rust/Cargo.toml": "Cargo.toml",
    "rust/Cargo.lock": "Cargo.lock",
    "rust/src/main.rs": "main.rs",
    "rust/src/pipeline.rs": "pipeline.rs",
}
BYTES_A_LINE = 32


def plan_device(recipe: Recipe, options: Options) -> Plan:
    """Models one behind the other, for engines without SIMD. Raises InputError for any other pipeline."""
    stages = stages_of(recipe)
    known = known_answer(stages)
    report = _report(recipe, stages, known)
    told = {
        "pipeline": recipe.pipeline,
        "version": report["version"],
        "given": stages[0].given.spec,
        "made": stages[-1].made.spec,
    }
    files = {
        **{f"{stage.name}.wasm": stage.wasm for stage in stages},
        **{path: _text(name) for path, name in COPIED.items()},
        "c/littoral_device.h": filled("device/littoral_device.h", **told, **_header(stages)),
        "c/modules.c": _modules(stages).encode(),
        "rust/src/stages.rs": filled("device/stages.rs", stages="".join(map(_rust, stages)), **told),
        "known/input.bin": known.given,
        "known/output.bin": known.made,
        "report.json": (json.dumps(report, indent=2, sort_keys=True) + "\n").encode(),
        "README.md": filled("device/device.md", **told, **_figures(report)),
    }
    return Plan(files, tuple(_findings(report, options)), report)


def _text(name: str) -> bytes:
    return (resources.files("littoral.bundle") / "texts" / "device" / name).read_bytes()


def _report(recipe: Recipe, stages: Sequence[Stage], known: Known) -> dict[str, Any]:
    """flash, memory and stack in bytes; operations: executed instructions of a run."""
    digest, model = digest_of(stages), stages[-1].part.model
    rows = [_stage_report(stage, count) for stage, count in zip(stages, known.operations, strict=True)]
    return {
        "version": f"{model.manifest.version}-{digest[:12]}",
        "digest": digest,
        "pipeline": recipe.pipeline,
        "stages": rows,
        "flash_bytes": sum(len(stage.wasm) for stage in stages),
        "memory_bytes": sum(stage.memory_bytes for stage in stages),
        "stack_bytes": sum(row["stack_bytes"] for row in rows),
        "operations": sum(found.whole for found in known.operations),
    }


def _stage_report(stage: Stage, operations: Operations) -> dict[str, Any]:
    layers = stage.part.model.manifest.layers
    own: Sequence[int | None] = operations.by_layer or [None] * len(layers)
    return {
        "model": stage.name,
        "sha256": stage.part.model.digest,
        "flash": sizes(stage.wasm),
        "memory_bytes": stage.memory_bytes,
        "stack_bytes": stack_bytes(stage.wasm),
        "operations": operations.whole,
        "code_bytes": code_bytes(stage.wasm),
        "layers": [_layer(layer, count) for layer, count in zip(layers, own, strict=True)],
    }


def _layer(layer: Layer, operations: int | None) -> dict[str, Any]:
    """function: into `code_bytes`; layers that name the same one share its code."""
    told = {"name": layer.name, "kind": layer.kind, "function": layer.function, "operations": operations}
    return {**told, "macs": layer.macs, "bytes": layer.bytes}


def _header(stages: Sequence[Stage]) -> dict[str, int]:
    return {
        "input_bytes": stages[0].given.bytes,
        "output_bytes": stages[-1].made.bytes,
        "memory_bytes": sum(stage.memory_bytes for stage in stages),
        "stack_bytes": max(stack_bytes(stage.wasm) for stage in stages),
        "count": len(stages),
    }


def _figures(report: dict[str, Any]) -> dict[str, str]:
    return {name: f"{report[name]:,}" for name in ("flash_bytes", "memory_bytes", "stack_bytes", "operations")}


def _findings(report: dict[str, Any], options: Options) -> Iterator[Finding]:
    yield Finding("memory and stack", report["memory_bytes"] + report["stack_bytes"], MEMORY_BYTES_MAX, "bytes")
    yield Finding("flash", report["flash_bytes"], options.size_bytes_max or FLASH_BYTES_MAX, "bytes")


def _modules(stages: Sequence[Stage]) -> str:
    """The modules as C arrays, and the table of stages."""
    arrays = "".join(
        f"static const unsigned char module_{i}[] = {{\n{_numbers(s.wasm)}}};\n\n" for i, s in enumerate(stages)
    )
    rows = "".join(_c(stage, i) for i, stage in enumerate(stages))
    return f'#include "littoral_device.h"\n\n{arrays}const struct littoral_stage LITTORAL_STAGE[] = {{\n{rows}}};\n'


def _numbers(data: bytes) -> str:
    lines = (data[at : at + BYTES_A_LINE] for at in range(0, len(data), BYTES_A_LINE))
    return "".join("  " + ",".join(map(str, line)) + ",\n" for line in lines)


def _c(stage: Stage, index: int) -> str:
    given, made = stage.given, stage.made
    places = f"{given.offset}, {given.bytes}, {made.offset}, {made.bytes}"
    return (
        f'  {{"{stage.name}", "{stage.entry}", module_{index}, {len(stage.wasm)}, {stage.memory_bytes}, {places}}},\n'
    )


def _rust(stage: Stage) -> str:
    return f"""    Stage {{
        name: "{stage.name}",
        entry: "{stage.entry}",
        wasm: include_bytes!("../../{stage.name}.wasm"),
        memory_bytes: {stage.memory_bytes},
        input_offset: {stage.given.offset},
        input_bytes: {stage.given.bytes},
        output_offset: {stage.made.offset},
        output_bytes: {stage.made.bytes},
    }},
"""
