"""`littoral build`: an ONNX model or a sentence encoder in, a compiled model out."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

import littoral
from littoral.artifact import Manifest, Model, Port
from littoral.artifact.manifest import THREADS_MAX
from littoral.cli.comparison_text import comparison_text
from littoral.cli.console import bytes_text, progress_bar, results, show_json
from littoral.cli.preprocess_option import check_preprocess, preprocess_from, preprocess_text
from littoral.cli.tuning_option import TuningOption, tuning_from
from littoral.errors import InputError, NotFoundError
from littoral.making.feed_files import read_feeds
from littoral.node.making.through import agents_through
from littoral.quality.compare import Parts
from littoral.quality.compare import held_out as parts_of
from littoral.quality.compared_build import compiled_and_compared
from littoral.tensors import merged_specs

__all__ = ["build", "parse_axes", "parse_shapes", "read_labels"]


def build(
    source: Annotated[Path, typer.Argument(help="ONNX model, or sentence-transformers folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: beside it.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="A set of shapes in the same file, 'a=1,64 b=1,64'; several times.")
    ] = None,
    pad: Annotated[
        list[str] | None, typer.Option(help="What fills a dimension up to a variant's size: tokens=0, batch=repeat.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="A dimension of which several runs may take parts.")] = None,
    int8: Annotated[
        Path | None,
        typer.Option(help="Compile to integers, calibrated on feeds: an .npz, or a folder of .npz or .npy."),
    ] = None,
    int8_bits: Annotated[
        str, typer.Option(help="Bits of a weight with --int8: 8, 7 (faster), or auto: 7 where the budget allows.")
    ] = "8",
    int8_budget: Annotated[
        float | None, typer.Option(help="Cosine that outputs keep to float32's: layers stay float32 until it is kept.")
    ] = None,
    int8_ranges: Annotated[str, typer.Option(help="Of activations: auto, minmax, percentile or entropy.")] = "auto",
    effort: Annotated[str, typer.Option(help="Of --int8: normal, or high, which looks longer.")] = "normal",
    like: Annotated[
        Path | None, typer.Option(help="With --int8: the fit of the version before, whose bytes same layers keep.")
    ] = None,
    fit: Annotated[Path | None, typer.Option(help="With --int8: write the fit here, for the next version.")] = None,
    through: Annotated[
        str | None, typer.Option(help="SITE.toml:PIPELINE whose agents make feeds of the folder's files.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare with float32 on every fifth feed, which is then held out.")
    ] = False,
    held_out: Annotated[
        Path | None, typer.Option(help="Feeds to compare on instead; all of --int8 calibrate then.")
    ] = None,
    target: Annotated[str, typer.Option(help="relaxed, simd128 or mvp.")] = "relaxed",
    threads: Annotated[int, typer.Option(min=1, max=THREADS_MAX, help="Threads that one call keeps busy.")] = 1,
    tuning: TuningOption = None,
    name: Annotated[str | None, typer.Option(help="Name in the manifest.")] = None,
    version: Annotated[str | None, typer.Option(help="Version in the manifest.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Names of the classes, one a line, for the manifest.")] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(help="Agent, outputs and steps of its own pipeline: JSON, or a file of it."),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also an entry for each layer: traces of a node tell of them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Compile a model to one .wasm file, without imports unless it is for several threads."""
    _check_options(target, int8, through, compare, held_out, like, fit)
    feeds = None if int8 is None else _feeds(int8, through, held_out, is_compared=compare)
    planning: dict[str, Any] = {
        "shapes": parse_shapes(shape or []),
        "variants": None if variant is None else [parse_shapes(one.split()) for one in variant],
        "axes": parse_axes(pad or [], split or []),
        "threads": threads,
        "tuning": tuning_from(tuning),
    }
    writing: dict[str, Any] = {
        "target": target,
        "name": name,
        "version": version,
        "labels": None if labels is None else read_labels(labels),
        "preprocess": preprocess_from(preprocess),
        "apart": layers,
    }
    found = None
    with progress_bar(f"compiling {source.name}") as tell:
        asked = None if feeds is None else _int8(feeds, int8_bits, int8_budget, int8_ranges, effort, like, fit)
        if asked is None or feeds is None or not feeds.held_out:
            model = littoral.compile(source, **planning, **writing, int8=asked, progress=tell)
        else:
            model, found = compiled_and_compared(
                source, asked, feeds.held_out, planning=planning, writing=writing, progress=tell
            )
    check_preprocess(model.manifest)
    path = output or beside(source)
    model.save(path)
    report = about(model) | {"path": str(path)}
    if found is not None:
        report["comparison"] = msgspec.to_builtins(found)
    if as_json:
        show_json(report)
        return
    _show(model, report)
    if found is not None:
        results.print(comparison_text(found), markup=False)


def _check_options(target: str, int8: Path | None, *others: object) -> None:
    """others: that mean nothing without int8. Raises InputError."""
    if target not in ("relaxed", "simd128", "mvp"):
        raise InputError(f"`--target` is `{target}`, must be relaxed, simd128 or mvp")
    if int8 is None and any(others):
        raise InputError("`--through`, `--compare`, `--held-out`, `--like` and `--fit` go with `--int8`")


def _show(model: Model, report: dict[str, Any]) -> None:
    results.print(f"{report['path']}  {bytes_text(len(model.wasm))}", markup=False)
    for kind in ("inputs", "outputs"):
        for spec in report[kind]:
            results.print(f"  {kind[:-1]:7} {spec}", markup=False)
    weights, code, memory = (bytes_text(report[f"{k}_bytes"]) for k in ("weights", "code", "memory"))
    work = f"{report['layers']} layers, {report['macs'] / 1e6:.1f} M MACs"
    work += f", {report['threads']} threads" if report["threads"] > 1 else ""
    results.print(f"  weights {weights}, code and manifest {code}, memory {memory} fixed, {work}", markup=False)
    if pipeline := preprocess_text(model.manifest):
        results.print(f"  pipeline {pipeline}", markup=False)
    for name, axis in report["axes"].items():
        allowed = [f"padded with {axis['pad']}"] if axis["pad"] is not None else []
        allowed += ["split"] if axis["split"] else []
        results.print(f"  {name:7} {' or '.join(allowed) or 'as compiled'}", markup=False)
    results.print(f"  sha256  {model.digest}", markup=False)


def _int8(
    feeds: Parts, bits: str, budget: float | None, ranges: str, effort: str, like: Path | None, fit: Path | None
) -> littoral.Int8:
    """Raises InputError for what there is not."""
    number: Any = int(bits) if bits.isdecimal() else bits
    return littoral.Int8(feeds.calibration, number, budget, ranges, effort, like, fit)  # type: ignore[arg-type]


def _feeds(calibration: Path, through: str | None, held: Path | None, *, is_compared: bool) -> Parts:
    agents = agents_through(through)
    feeds = read_feeds(calibration, agents)
    if held is not None:
        return Parts(feeds, read_feeds(held, agents))
    return parts_of(feeds) if is_compared else Parts(feeds, [])


def beside(source: Path) -> Path:
    """Where a model goes by default. A folder's name keeps its dots."""
    if source.is_dir():
        folder = source.resolve()
        return folder.with_name(f"{folder.name}.wasm")
    return source.with_suffix(".wasm")


def about(model: Model) -> dict[str, Any]:
    """The report of a compiled model; a written contract."""
    manifest = model.manifest
    inputs, outputs = (merged_specs([[p.spec for p in ports] for ports in forms]) for forms in _forms(manifest))
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": model.digest,
        "bytes": len(model.wasm),
        "weights_bytes": manifest.memory.weights[1],
        "code_bytes": len(model.wasm) - manifest.memory.weights[1],
        "memory_bytes": manifest.memory.pages * 65536,
        "inputs": [str(spec) for spec in inputs],
        "outputs": [str(spec) for spec in outputs],
        "variants": [v.key for v in manifest.variants],
        "threads": manifest.threads,
        "axes": {name: {"pad": axis.pad, "split": axis.split} for name, axis in manifest.axes.items()},
        "layers": len(manifest.layers),
        "macs": sum(layer.macs for layer in manifest.layers),
    }


def _forms(manifest: Manifest) -> tuple[list[tuple[Port, ...]], list[tuple[Port, ...]]]:
    """Inputs and outputs of every variant."""
    return [v.inputs for v in manifest.variants], [v.outputs for v in manifest.variants]


def read_labels(path: Path) -> list[str]:
    """One name a line. Raises NotFoundError, and InputError for a file that is no text."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NotFoundError(f"labels `{path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"labels `{path}`: not UTF-8 text: {error}") from error


def parse_shapes(options: list[str]) -> dict[str, tuple[int, ...]]:
    """`NAME=1,3,224,224` options as shapes by name. Raises InputError naming the option."""
    shapes = {}
    for option in options:
        name, _, dims = option.rpartition("=")
        try:
            shapes[name] = tuple(int(d) for d in dims.split(",") if d)
        except ValueError:
            name = ""
        if not name:
            raise InputError(f"`--shape {option}` is not NAME=1,3,224,224")
    return shapes


def parse_axes(pads: list[str], splits: list[str]) -> dict[str, dict[str, Any]]:
    """`NAME=NUMBER`, `NAME=repeat` and `NAME.INPUT=NUMBER`, and names, as rules by dimension. Raises InputError."""
    rules: dict[str, dict[str, Any]] = {}
    for option in pads:
        name, _, text = option.rpartition("=")
        dimension, _, one = name.partition(".")
        try:
            value = text if text == "repeat" and not one else float(text) if "." in text else int(text)
        except ValueError:
            dimension = ""
        if not dimension:
            raise InputError(f"`--pad {option}` is not NAME=NUMBER, NAME=repeat or NAME.INPUT=NUMBER")
        rule = rules.setdefault(dimension, {})
        rule["pad"] = {**rule.get("pad", {}), one: value} if one else value
    for name in splits:
        rules.setdefault(name, {})["split"] = True
    return rules
