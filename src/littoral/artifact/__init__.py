"""What compiler and runtime share: the `.wasm` file with its manifest, digests, and this installation's own store."""

from littoral.artifact.manifest import THREADS_MAX, AgentManifest, Axis, Layer, Manifest, Memory, Port, Variant
from littoral.artifact.model import Model
from littoral.artifact.sections import custom_section, custom_section_bytes, digest
from littoral.artifact.store import Store

__all__ = [
    "THREADS_MAX",
    "AgentManifest",
    "Axis",
    "Layer",
    "Manifest",
    "Memory",
    "Model",
    "Port",
    "Store",
    "Variant",
    "custom_section",
    "custom_section_bytes",
    "digest",
]
