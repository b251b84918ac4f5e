"""What `run` and `bench` take: a compiled model, or an ONNX model that is compiled first; and arrays to feed it."""

import zipfile
from pathlib import Path

import numpy as np

import littoral
from littoral.artifact import Model
from littoral.artifact.manifest import Port
from littoral.cli.build import parse_shapes
from littoral.cli.console import progress_bar
from littoral.cli.tuning_option import tuning_from
from littoral.errors import InputError, TooLargeError
from littoral.making.feed_files import Feeds
from littoral.tensors import DTYPES, Array

__all__ = ["feeds_from", "model_from", "random_feeds"]

INPUT_BYTES_MAX = 1 << 30


def model_from(
    source: Path,
    shape: list[str] | None,
    *,
    threads: int | None = None,
    tuning: str | None = None,
    int8: Feeds | None = None,
) -> Model:
    """The model in a `.wasm` file, or compiled from any other. Raises as `Model.open` and `littoral.compile`."""
    if source.suffix == ".wasm":
        given = {"--shape": shape, "--tuning": tuning, "--threads": threads, "--int8": int8}
        for option in (option for option, value in given.items() if value):
            raise InputError(f"`{option}` has no meaning for a compiled model: it was made with its own")
        return Model.open(source)
    with progress_bar(f"compiling {source.name}") as tell:
        return littoral.compile(
            source,
            shapes=parse_shapes(shape or []),
            threads=threads or 1,
            tuning=tuning_from(tuning),
            int8=int8,
            progress=tell,
        )


def feeds_from(model: Model, options: list[str]) -> dict[str, Array]:
    """`NAME=FILE.npy`, `FILE.npy` for a model with one input, `FILE.npz` with an array for each. Raises InputError."""
    names = [port.name for port in model.manifest.variants[0].inputs]
    feeds: dict[str, Array] = {}
    for option in options:
        name, equals, file = option.rpartition("=")
        arrays = _arrays(Path(file))
        if isinstance(arrays, dict):
            feeds |= arrays
            continue
        if not equals and len(names) != 1:
            raise InputError(f"`--input {option}`: name the input, one of {', '.join(names)}: NAME=FILE")
        feeds[name if equals else names[0]] = arrays
    return feeds


def random_feeds(model: Model, seed: int) -> dict[str, Array]:
    """Floats from a normal distribution, integers in 0..9, for every input."""
    rng = np.random.default_rng(seed)
    return {port.name: _random(port, rng) for port in model.manifest.variants[0].inputs}


def _random(port: Port, rng: np.random.Generator) -> Array:
    storage = DTYPES[port.dtype].storage
    if storage.kind == "f":
        return rng.standard_normal(port.shape).astype(storage)
    few = 2 if storage.kind == "b" or port.dtype.endswith(("int2", "int4")) else 10
    return rng.integers(0, few, port.shape).astype(storage)


def _arrays(path: Path) -> Array | dict[str, Array]:
    try:
        if (size := path.stat().st_size) > INPUT_BYTES_MAX:
            raise TooLargeError(f"`{path}`: {size} bytes, at most {INPUT_BYTES_MAX}")
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            return np.asarray(found)
        with found:
            _check_unpacked(path, found.zip)
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "no .npy or .npz file of plain arrays"
        raise InputError(f"`{path}`: {reason}") from error


def _check_unpacked(path: Path, archive: zipfile.ZipFile | None) -> None:
    size = sum(entry.file_size for entry in archive.infolist()) if archive else 0
    if size > INPUT_BYTES_MAX:
        raise TooLargeError(f"`{path}`: {size} bytes unpacked, at most {INPUT_BYTES_MAX}")
