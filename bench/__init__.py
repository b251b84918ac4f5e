"""Benchmarks: `python -m bench NAME`. A module with `run() -> list[Row]` is one; tests assert no times, these do."""
