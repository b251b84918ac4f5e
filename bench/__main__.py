"""Runs benchmarks: `python -m bench NAME … [--json]`, `--list`, `--all`.

Prints a table and, as its last line, one JSON object {"name", "date", "machine", "rows"}; with --json only that. With
several names: one such line each. --write puts what was measured into `bench/RESULTS.md`, and the figures of
README.md are made from it; what other benchmarks wrote there stays. Exit code 1 if a figure misses its limit.
"""

import argparse
import datetime as dt
import importlib
import json
import os
import pkgutil
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import bench
from bench.figures import README, with_figures
from bench.results import RESULTS, Result, written
from bench.rows import Row

HELPERS = {
    "__main__",
    "answer_streams",
    "convolutional",
    "drifted",
    "fault_client",
    "fault_site",
    "fault_soak",
    "fleet_site",
    "figures",
    "graph_layers",
    "guests",
    "inspector",
    "isolated",
    "load",
    "mesh_peer",
    "moved_questions",
    "networks",
    "oip_client",
    "question_pairs",
    "onnxruntime_int8",
    "results",
    "rows",
    "sentences",
    "soak_site",
    "spread_world",
    "transformers",
    "vector_sets",
}


def names() -> list[str]:
    """Benchmarks by name: every module here with a `run`."""
    found = (module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in HELPERS)
    return sorted(name for name in found if hasattr(importlib.import_module(f"bench.{name}"), "run"))


def machine() -> dict[str, str | float]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wasmtime": version("wasmtime"),
    }


def print_table(name: str, rows: list[Row]) -> None:
    print(f"\n{name}")
    width = max((len(r["key"]) for r in rows), default=0)
    for r in rows:
        peer = "" if r["peer"] is None else f"  {r['peer']} {r['peer_value']:g} (× {r['ratio']:g})"
        limit = "" if r["limit"] is None else f"  limit {r['limit']:g} {'ok' if r['ok'] else 'MISSED'}"
        print(f"  {r['key']:<{width}}  {r['value']:>10g} {r['unit']}{peer}{limit}")


def write(result: Result) -> None:
    results = written(RESULTS.read_text() if RESULTS.exists() else "", result)
    RESULTS.write_text(results)
    README.write_text(with_figures(README.read_text(), results))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run")
    parser.add_argument("--all", action="store_true", help="run every benchmark")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--json", action="store_true", help="print the JSON lines only")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md and the figures of README.md")
    asked = parser.parse_args()
    known = names()
    if asked.list:
        print("\n".join(known))
        return 0
    chosen = known if asked.all else asked.names
    if not chosen or set(chosen) - set(known):
        wrong = ", ".join(sorted(set(chosen) - set(known))) or "none given"
        print(f"no such benchmark: {wrong}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    is_within = True
    for name in chosen:
        where = machine()
        rows: list[Row] = importlib.import_module(f"bench.{name}").run()
        if not asked.json:
            print_table(name, rows)
        date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        result = Result(name=name, date=date, machine=where, rows=rows)
        print(json.dumps(result, ensure_ascii=False), flush=True)
        if asked.write:
            write(result)
        is_within = is_within and all(r["ok"] is not False for r in rows)
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
