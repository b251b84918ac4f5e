"""`littoral run`: a model once, on arrays from files."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import littoral
from littoral.artifact.manifest import THREADS_MAX
from littoral.cli.console import results, show_json
from littoral.cli.model_source import feeds_from, model_from, random_feeds
from littoral.clock import SYSTEM
from littoral.errors import InputError, SetupError
from littoral.tensors import Array

__all__ = ["run"]

OUTPUT_FILE = "outputs.npz"


def run(
    source: Annotated[Path, typer.Argument(help="Compiled model (.wasm), or a model to compile first.")],
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="NAME=FILE.npy, FILE.npy, or FILE.npz by name.")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Random input, from --seed.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="For --random.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for outputs.npz.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=THREADS_MAX, help="Threads of the model that is compiled; default 1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Run a model once and tell what comes out."""
    if bool(inputs) == random:
        raise InputError("needs either `--input` or `--random`")
    model = model_from(source, shape, threads=threads)
    feeds = random_feeds(model, seed) if random else feeds_from(model, inputs or [])
    began = SYSTEM.monotonic()
    with littoral.load(model) as session:
        loaded = SYSTEM.monotonic()
        outputs = session.run(feeds)
        ran = SYSTEM.monotonic()
        report: dict[str, Any] = {
            "name": model.manifest.name,
            "engine": session.engine,
            "threads": session.threads,
            "load_ms": round((loaded - began) * 1000, 3),
            "run_ms": round((ran - loaded) * 1000, 3),
            "outputs": {name: about(array) for name, array in outputs.items()},
            "saved": str(save(output, outputs)) if output else None,
        }
    if as_json:
        show_json(report)
        return
    for name, told in report["outputs"].items():
        results.print(f"{name}  {told['dtype']}{told['shape']}  {_range(told)}", markup=False)
    results.print(f"{report['engine']} engine, loaded in {report['load_ms']} ms, ran in {report['run_ms']} ms")
    if output:
        results.print(f"saved {report['saved']}", markup=False)


def about(array: Array) -> dict[str, Any]:
    """dtype, shape and range of the finite values; None where there are none."""
    numbers = array.astype(np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    least, mean, most = (float(f(finite)) for f in (np.min, np.mean, np.max)) if finite.size else (None, None, None)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "min": least,
        "mean": mean,
        "max": most,
        "not_finite": int(numbers.size - finite.size),
    }


def save(folder: Path, outputs: dict[str, Array]) -> Path:
    """The outputs by name, in `outputs.npz`. Raises SetupError where it cannot be written."""
    path = folder / OUTPUT_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **outputs)
    except OSError as error:
        raise SetupError(f"`{path}`: {error.strerror}") from error
    return path


def _range(told: dict[str, Any]) -> str:
    if told["min"] is None:
        return "no finite value" if told["not_finite"] else "empty"
    spread = f"{told['min']:.6g} … {told['max']:.6g}, mean {told['mean']:.6g}"
    return spread + (f", {told['not_finite']} not finite" if told["not_finite"] else "")
