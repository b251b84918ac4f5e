"""Benchmarks: `python -m bench NAME`. A module with `run() -> list[Row]` is one; tests assert no times, these do."""

from littoral import settings

settings.default_for_library("OPENBLAS_NUM_THREADS", settings.text("OPENBLAS_NUM_THREADS"))
"""Before numpy is there: parts of a node that run in a benchmark's process have what they have in a node's."""
