"""Models for registries: they carry what makes a module one of ours, and bytes that somebody chose instead of code."""

from littoral.artifact.manifest import MODEL_SECTION, Manifest, Memory, Variant
from littoral.artifact.sections import HEADER, custom_section_bytes

__all__ = ["model_of"]


def model_of(content: bytes) -> bytes:
    """Another model for other bytes; no node could run it."""
    manifest = Manifest(
        name="m",
        version="1",
        compiler="test",
        target="mvp",
        threads=1,
        source_sha256="0" * 64,
        memory=Memory(1, (0, 0), (0, 0)),
        variants=(Variant("run", {}, (), ()),),
        layers=(),
    )
    return HEADER + custom_section_bytes(MODEL_SECTION, manifest.encode()) + custom_section_bytes("content", content)
