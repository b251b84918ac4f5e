"""What a machine may lack: a test without it says what is missing."""

import pytest

from littoral import settings


def need(found: object, missing: str) -> None:
    """Skips unless found; with LITTORAL_REQUIRE_ALL=1 fails."""
    if found:
        return
    if settings.boolean("LITTORAL_REQUIRE_ALL"):
        pytest.fail(f"missing: {missing}")
    pytest.skip(f"missing: {missing}")
