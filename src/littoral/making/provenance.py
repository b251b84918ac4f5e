"""Where a compiled model is from, as the registry of a fleet keeps it."""

from collections.abc import Mapping
from typing import Any

from littoral.artifact.manifest import Manifest
from littoral.updates.artifacts import Provenance

__all__ = ["provenance"]


def provenance(manifest: Manifest, report: Mapping[str, Any], *, made_at: str, made_by: str) -> Provenance:
    """report: of the work that made or measured it. made_at: RFC 3339. made_by: whose token it was."""
    return Provenance(
        source_sha256=manifest.source_sha256 or None,
        compiler=manifest.compiler,
        calibration_sha256=report.get("calibration_sha256"),
        tuning_sha256=manifest.tuning_sha256,
        made_at=made_at,
        made_by=made_by,
        figures={name: float(value) for name, value in report.get("figures", {}).items()},
    )
