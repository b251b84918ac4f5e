"""Where a compiled model is from, as its own manifest says."""

from collections.abc import Mapping

from littoral.artifact.model import Model
from littoral.updates.artifacts import Provenance

__all__ = ["provenance_of"]

CALIBRATION = "calibration_sha256"


def provenance_of(
    wasm: bytes,
    *,
    calibration_sha256: str | None = None,
    made_at: str | None = None,
    made_by: str | None = None,
    figures: Mapping[str, float] | None = None,
) -> Provenance:
    """Of a module that the compiler made. calibration_sha256: of the feeds, where the manifest does not say.

    figures: measured when it is registered, by name with the unit. Raises ArtifactError for another module.
    """
    manifest = Model(wasm).manifest
    told = (manifest.int8 or {}).get(CALIBRATION)
    return Provenance(
        source_sha256=manifest.source_sha256,
        compiler=manifest.compiler,
        calibration_sha256=told if isinstance(told, str) else calibration_sha256,
        tuning_sha256=manifest.tuning_sha256,
        made_at=made_at,
        made_by=made_by,
        figures=dict(figures or {}),
    )
