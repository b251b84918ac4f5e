"""Where a shard's store lies in its folder: made, found, checked, opened.

`edge/` at first; after the store was rebuilt, another folder that the file `current` names.
"""

import contextlib
import glob
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import qdrant_edge as edge

from littoral.clock import Clock
from littoral.errors import ShardError
from littoral.vectors import edge_config
from littoral.vectors.edge_classes import errors_of_store
from littoral.vectors.layout import STORE, sync_folder
from littoral.vectors.records import CollectionConfig
from littoral.vectors.tuning import Quantization

__all__ = [
    "COPY",
    "check_stored_config",
    "current_store",
    "load_store",
    "make_store",
    "optimize_store",
    "pinned_files",
    "set_current_store",
    "without",
]

COPY = "edge-"
CURRENT = "current"
LOAD_WAIT_S = 2.0
READ_BYTES = 1 << 20
VECTORS, QUANTIZED = "vector_storage", "quantized.data"


def make_store(folder: Path, config: CollectionConfig) -> None:
    """An empty one. Beside its place first, so that a crash leaves no half-made store."""
    fresh = folder / f"{STORE}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    with errors_of_store(f"shard `{folder}`"):
        store = edge.EdgeShard.create(str(fresh), edge_config.config(config))
        store.flush()
        store.close()
    fresh.rename(folder / STORE)
    sync_folder(folder)


def current_store(folder: Path) -> Path:
    """Where the store is; other copies, which a crash left, go. Raises ShardError for a name that is none of ours."""
    try:
        name = (folder / CURRENT).read_text("ascii")
    except FileNotFoundError:
        name = STORE
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"`{folder / CURRENT}`: {error}") from error
    if name != STORE and not (name.startswith(COPY) and name.removeprefix(COPY).isalnum()):
        raise ShardError(f"`{folder / CURRENT}` names `{name[:40]}`, which is no store")
    if name == STORE or (folder / name).exists():
        for left in folder.glob(f"{STORE}*"):
            if left.name not in (name, f"{STORE}.new"):
                shutil.rmtree(left, ignore_errors=True)
    return folder / name


def set_current_store(store: Path) -> None:
    """From the moment this returns, a crash included, the shard's store is this one."""
    fresh = store.parent / f"{CURRENT}.new"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    try:
        with fresh.open("x", encoding="ascii") as stream:
            stream.write(store.name)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(store.parent / CURRENT)
        sync_folder(store.parent)
    except OSError as error:
        raise ShardError(f"`{store.parent / CURRENT}`: {error.strerror}") from error


def optimize_store(stored: Path) -> bool:
    """Builds the graph of a store that nobody has open; False if there was nothing to do. Blocks. Raises ShardError."""
    with errors_of_store(f"optimize `{stored}`"):
        store = edge.EdgeShard.load(str(stored))
        try:
            is_built = bool(store.optimize())
            store.flush()
        finally:
            store.close()
    return is_built


def load_store(stored: Path, config: CollectionConfig, clock: Clock) -> edge.EdgeShard:
    """A killed owner's handles close one by one: our lock may be free an instant before the store's own."""
    for file in pinned_files(stored, config):
        read_ahead(file)
    give_up = clock.monotonic() + LOAD_WAIT_S
    while True:
        try:
            with errors_of_store(f"shard `{stored}`"):
                return edge.EdgeShard.load(str(stored), edge_config.config(config))
        except ShardError as error:
            if "WouldBlock" not in error.message or clock.monotonic() > give_up:
                raise


def pinned_files(stored: Path, config: CollectionConfig) -> list[Path]:
    """Of smaller vectors that are to be in memory. The store copies them page by page, each a fault and a wait for the
    disk: 77 MB took 2.2 s, and 0.3 where they had been read before.
    """
    names = [name for name, own in config.dense.items() if _is_pinned(own.quantization_config or config.quantization)]
    folders = [f"{VECTORS}-{name}" if name else VECTORS for name in names]
    return [file for folder in folders for file in stored.glob(f"segments/*/{glob.escape(folder)}/{QUANTIZED}")]


def _is_pinned(made: Quantization | None) -> bool:
    kinds = () if made is None else (made.scalar, made.product, made.binary, made.turbo)
    return any(kind is not None and (kind.memory == "pinned" or kind.always_ram) for kind in kinds)


def read_ahead(file: Path) -> None:
    """Into the system's cache; what cannot be read is told by who needs it."""
    with contextlib.suppress(OSError), file.open("rb", buffering=0) as opened:
        while opened.read(READ_BYTES):
            pass


def without(config: CollectionConfig, names: Sequence[str]) -> CollectionConfig:
    """The configuration without those vectors; the one that has no name stays."""
    if not names:
        return config
    named = {name: params for name, params in config.named.items() if name not in names}
    sparse = {name: params for name, params in config.sparse.items() if name not in names}
    return msgspec.structs.replace(config, named=named, sparse=sparse)


def check_stored_config(store: Path, config: CollectionConfig) -> list[str]:
    """Names of vectors that the store does not have yet. Raises ShardError where it has others, or of other sizes."""
    file = store / "edge_config.json"
    try:
        stored = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        found = {name: (made["size"], made["distance"]) for name, made in (stored.get("vectors") or {}).items()}
        sparse = set(stored.get("sparse_vectors") or {})
    except (OSError, msgspec.DecodeError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ShardError(f"`{file}` is no configuration of a shard: {error!r}") from error
    wanted = {name: (params.size, params.distance) for name, params in config.dense.items()}
    missing = [name for name in (*wanted, *config.sparse) if name and name not in found and name not in sparse]
    known = {name: made for name, made in wanted.items() if name not in missing}
    if (found, sparse) != (known, {name for name in config.sparse if name not in missing}):
        raise ShardError(
            f"`{store.parent}` holds vectors of {_vectors_told(found, sparse)}, "
            f"configured are {_vectors_told(wanted, set(config.sparse))}"
        )
    return missing


def _vectors_told(dense: Mapping[str, tuple[int, str]], sparse: set[str]) -> str:
    told = [f"{f'`{name}` ' if name else ''}{size} {distance}" for name, (size, distance) in sorted(dense.items())]
    return ", ".join((*told, *(f"`{name}` sparse" for name in sorted(sparse)))) or "none"
