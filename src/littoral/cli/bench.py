"""`littoral bench`: how long a model takes here."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import littoral
from littoral.artifact import Model
from littoral.artifact.manifest import THREADS_MAX
from littoral.cli.build import parse_shapes
from littoral.cli.console import bytes_text, progress_bar, results, show_json
from littoral.cli.model_source import model_from, random_feeds
from littoral.cli.tuning_option import TuningOption, tuning_from
from littoral.clock import SYSTEM, Clock
from littoral.compiler.driver import planned
from littoral.errors import NotOfferedError, SetupError
from littoral.making.feed_files import Feeds, read_feeds
from littoral.quality.layer_chart import layer_chart
from littoral.quality.layer_times import LayerTimes, time_layers, why_untimed

__all__ = ["bench"]

WARM_UP_COUNT = 3


def bench(
    source: Annotated[Path, typer.Argument(help="Compiled model (.wasm), or a model to compile first.")],
    iterations: Annotated[int, typer.Option("--iterations", "-n", min=1, max=1_000_000, help="Timed calls.")] = 50,
    layers: Annotated[bool, typer.Option("--layers", help="Time, work and constants of each layer.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", help="File for a bar chart of the layers' times.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=THREADS_MAX, help="Threads of the model that is compiled; default 1.")
    ] = None,
    tuning: TuningOption = None,
    int8: Annotated[
        Path | None, typer.Option(help="Calibration feeds, as `build` takes them: measure it in integers.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Measure a model: milliseconds a call, GFLOP/s, time to load from the cache."""
    feeds = None if int8 is None else read_feeds(int8)
    model = model_from(source, shape, threads=threads, tuning=tuning, int8=feeds)
    report = measure(model, iterations, SYSTEM)
    if layers or svg is not None:
        times, note = _timed_layers(source, model, iterations, shape=shape, tuning=tuning, int8=feeds)
        if svg is not None:
            _save_chart(svg, model, times, note)
        report |= {"layers_note": note, "layers": untimed_rows(model) if times is None else timed_rows(times)}
        if times is not None:
            report |= {
                "layers_ms": times.sum_ms,
                "layers_whole_ms": times.whole_ms,
                "limit_gflops": times.limit_gflops,
                "limits_gops": dict(times.limits_gops),
            }
    if as_json:
        show_json(report)
        return
    results.print(f"{report['name']}  {report['iterations']} calls, {_threads_note(report)}, {report['engine']} engine")
    results.print(f"  p50 {report['p50_ms']:.3f} ms  p95 {report['p95_ms']:.3f} ms  min {report['min_ms']:.3f} ms")
    results.print(f"  {report['gflops']:.1f} GFLOP/s at {report['macs'] / 1e6:.1f} M MACs")
    results.print(f"  load from cache {report['load_ms']:.2f} ms{_compile_note(report)}")
    if layers:
        _print_layers(report)


def _timed_layers(
    source: Path, model: Model, rounds: int, *, shape: list[str] | None, tuning: str | None, int8: Feeds | None
) -> tuple[LayerTimes | None, str | None]:
    """The times, or why there are none."""
    if source.suffix == ".wasm":
        return None, "a compiled model runs as a whole: for times by layer, give the ONNX model it was made from"
    found = planned(source, shapes=parse_shapes(shape or []), tuning=tuning_from(tuning), int8=int8)
    if (why := why_untimed(found)) is not None:
        return None, why
    with progress_bar("layer by layer") as tell:
        return time_layers(found, random_feeds(model, seed=0), rounds, progress=tell), None


def _save_chart(path: Path, model: Model, times: LayerTimes | None, note: str | None) -> None:
    """Raises NotOfferedError where there are no times, SetupError where the file cannot be written."""
    if times is None:
        raise NotOfferedError(f"`--svg {path}`: {note}")
    try:
        path.write_text(layer_chart(model.manifest.name, times), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"`{path}`: {error.strerror}") from error


def _print_layers(report: dict[str, Any]) -> None:
    if report["layers_note"]:
        results.print(f"  {report['layers_note']}")
    else:
        together = f"  layers {report['layers_ms']:.3f} ms together, as a whole {report['layers_whole_ms']:.3f} ms"
        others = "".join(f", {kind} {gops:.1f}" for kind, gops in report["limits_gops"].items())
        results.print(f"{together}; strict float32 can do {report['limit_gflops']:.1f} GFLOP/s here{others}")
        results.print("        ms   share   GF/s of limit  kernel     tile               M MACs  constants  layer")
    for row in report["layers"]:
        size = bytes_text(row["bytes"])
        if row["time_ms"] is None:
            work = f"{row['macs'] / 1e6:9.2f} M MACs {row['share']:6.1%}"
            results.print(f"  {row['kernel']:10} {work} {size:>10}  {row['name']}", markup=False)
            continue
        speed = f"{row['gflops']:6.1f} {row['limit_share']:8.1%}" if row["gflops"] else " " * 15
        what = f"{row['kernel']:10} {row['tile']:16} {row['macs'] / 1e6:8.2f} {size:>10}"
        line = f"  {row['time_ms']:8.3f} {row['time_share']:7.1%} {speed}  {what}  {row['name']}"
        results.print(line, markup=False)


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
        engine, threads = session.engine, session.threads
    macs = sum(layer.macs for layer in model.manifest.layers)
    p50_ms, p95_ms = (float(np.percentile(times_ms, share)) for share in (50, 95))
    return {
        "name": model.manifest.name,
        "sha256": model.digest,
        "engine": engine,
        "threads": threads,
        "iterations": iterations,
        "p50_ms": p50_ms,
        "p95_ms": p95_ms,
        "min_ms": float(times_ms.min()),
        "macs": macs,
        "gflops": 2 * macs / p50_ms / 1e6,
        "load_ms": load_ms,
        "compile_ms": compile_ms,
    }


def untimed_rows(model: Model) -> list[dict[str, Any]]:
    """One row a layer, in order, as the manifest has it. share: of all multiply-adds, which is not that of time."""
    unknown = dict.fromkeys(("tile", "output", "products", "time_ms", "time_share", "gflops", "limit_share"))
    rows = [(r.name, r.kind, r.macs, r.bytes) for r in model.manifest.layers]
    shares = _shares([float(macs) for _, _, macs, _ in rows])
    return [
        {"name": name, "kernel": kind, "macs": macs, "share": share, "bytes": size} | unknown
        for (name, kind, macs, size), share in zip(rows, shares, strict=True)
    ]


def timed_rows(times: LayerTimes) -> list[dict[str, Any]]:
    """One row a layer, in order; a written contract. share: of all multiply-adds; time_share: of the layers' times."""
    shares = _shares([float(layer.macs) for layer in times.layers])
    time_shares = _shares([layer.time_ms for layer in times.layers])
    return [
        layer._asdict()
        | {
            "share": share,
            "time_share": time_share,
            "gflops": layer.gflops,
            "limit_share": times.limit_share(layer),
        }
        for layer, share, time_share in zip(times.layers, shares, time_shares, strict=True)
    ]


def _shares(values: list[float]) -> list[float]:
    whole = sum(values) or 1
    return [value / whole for value in values]


def _threads_note(report: dict[str, Any]) -> str:
    return "one thread" if report["threads"] == 1 else f"{report['threads']} threads"


def _compile_note(report: dict[str, Any]) -> str:
    compile_ms = report["compile_ms"]
    return "" if compile_ms is None else f", machine code made in {compile_ms:.0f} ms"
