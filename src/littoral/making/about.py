"""What a compiled model is, as every page and report tells it."""

from collections import Counter
from typing import Any

from littoral.artifact.manifest import PAGE_BYTES, Manifest
from littoral.tensors import merged_specs

__all__ = ["about"]


def about(manifest: Manifest, digest: str, size_bytes: int) -> dict[str, Any]:
    """size_bytes: of the file."""
    inputs, outputs = (
        merged_specs([[port.spec for port in ports] for ports in forms])
        for forms in ([v.inputs for v in manifest.variants], [v.outputs for v in manifest.variants])
    )
    weights_bytes = manifest.memory.weights[1]
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": digest,
        "source_sha256": manifest.source_sha256,
        "compiler": manifest.compiler,
        "target": manifest.target,
        "threads": manifest.threads,
        "is_int8": manifest.int8 is not None,
        "inputs": inputs,
        "outputs": outputs,
        "variants": [variant.key for variant in manifest.variants],
        "memory_bytes": manifest.memory.pages * PAGE_BYTES,
        "weights_bytes": weights_bytes,
        "code_bytes": max(0, size_bytes - weights_bytes),
        "file_bytes": size_bytes,
        "layer_count": len(manifest.layers),
        "macs": sum(layer.macs for layer in manifest.layers),
        "kinds": dict(Counter(layer.kind for layer in manifest.layers).most_common()),
    }
