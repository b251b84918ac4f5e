"""`littoral bench`: how long a model takes here."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import littoral
from littoral.artifact import Model
from littoral.cli.console import bytes_text, progress_bar, results, show_json
from littoral.cli.model_source import model_from, random_feeds
from littoral.clock import SYSTEM, Clock

__all__ = ["bench"]

WARM_UP_COUNT = 3


def bench(
    source: Annotated[Path, typer.Argument(help="Compiled model (.wasm), or a model to compile first.")],
    iterations: Annotated[int, typer.Option("--iterations", "-n", min=1, max=1_000_000, help="Timed calls.")] = 50,
    layers: Annotated[bool, typer.Option("--layers", help="List the layers: kernel, work, constants.")] = False,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Measure a model: milliseconds a call, GFLOP/s, time to load from the cache."""
    model = model_from(source, shape)
    report = measure(model, iterations, SYSTEM)
    if layers:
        report["layers"] = layers_of(model)
    if as_json:
        show_json(report)
        return
    results.print(f"{report['name']}  {report['iterations']} calls, one thread, {report['engine']} engine")
    results.print(f"  p50 {report['p50_ms']:.3f} ms  p95 {report['p95_ms']:.3f} ms  min {report['min_ms']:.3f} ms")
    results.print(f"  {report['gflops']:.1f} GFLOP/s at {report['macs'] / 1e6:.1f} M MACs")
    results.print(f"  load from cache {report['load_ms']:.2f} ms{_compile_note(report)}")
    for row in report.get("layers", ()):
        work = f"{row['macs'] / 1e6:9.2f} M MACs {row['share']:6.1%}"
        results.print(f"  {row['kernel']:10} {work} {bytes_text(row['bytes']):>10}  {row['name']}", markup=False)


def measure(model: Model, iterations: int, clock: Clock) -> dict[str, Any]:
    """The report; a written contract. compile_ms: machine code was made for it just now, else None."""
    began = clock.monotonic()
    with littoral.load(model) as first:
        compile_ms = None if first.is_cached else (clock.monotonic() - began) * 1000
    began = clock.monotonic()
    with littoral.load(model) as session:
        load_ms = (clock.monotonic() - began) * 1000
        feeds = random_feeds(model, seed=0)
        for _ in range(WARM_UP_COUNT):
            session.run(feeds)
        times_ms = np.empty(iterations)
        with progress_bar("measuring") as tell:
            for i in range(iterations):
                began = clock.monotonic()
                session.run(feeds)
                times_ms[i] = (clock.monotonic() - began) * 1000
                tell(f"{times_ms[i]:.2f} ms", i + 1, iterations)
        engine = session.engine
    macs = sum(layer.macs for layer in model.manifest.layers)
    p50_ms, p95_ms = (float(np.percentile(times_ms, share)) for share in (50, 95))
    return {
        "name": model.manifest.name,
        "sha256": model.digest,
        "engine": engine,
        "iterations": iterations,
        "p50_ms": p50_ms,
        "p95_ms": p95_ms,
        "min_ms": float(times_ms.min()),
        "macs": macs,
        "gflops": 2 * macs / p50_ms / 1e6,
        "load_ms": load_ms,
        "compile_ms": compile_ms,
    }


def layers_of(model: Model) -> list[dict[str, Any]]:
    """One row a layer, in order. share: of all multiply-adds, which is not that of the time."""
    rows = model.manifest.layers
    macs = max(1, sum(row.macs for row in rows))
    return [{"name": r.name, "kernel": r.kind, "macs": r.macs, "share": r.macs / macs, "bytes": r.bytes} for r in rows]


def _compile_note(report: dict[str, Any]) -> str:
    compile_ms = report["compile_ms"]
    return "" if compile_ms is None else f", machine code made in {compile_ms:.0f} ms"
