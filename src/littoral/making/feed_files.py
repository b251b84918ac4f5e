"""Feeds from files: to calibrate with (`littoral build --int8`), and to compare on."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from littoral.errors import InputError, NotFoundError
from littoral.making.agent_feeds import FeedAgent, feeds_through
from littoral.tensors import Array

__all__ = ["Feeds", "read_feeds"]

Feeds = list[Mapping[str, Array]]

FILES_MAX = 10_000


def read_feeds(path: Path, through: Sequence[FeedAgent] | None = None) -> Feeds:
    """Feeds of an .npz, whose arrays have one feed after the other along their first axis; or of a folder.

    In a folder each .npz is a feed, arrays by input, and each .npy a feed of a model with one input. through:
    agents that make a feed of each file of the folder. Raises NotFoundError, and
    InputError for what holds no feeds.
    """
    if through is not None:
        return feeds_through(path, through)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".npy"))[: FILES_MAX + 1]
        if not 0 < len(files) <= FILES_MAX:
            raise InputError(f"`{path}`: {len(files)} files .npz or .npy, must be 1..{FILES_MAX}")
        return [_loaded(file) for file in files]
    return list(_in_turn(path, _loaded(path)))


def _in_turn(path: Path, arrays: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
    counts = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise InputError(f"`{path}`: its arrays hold different numbers of feeds: {counts}")
    for i in range(next(iter(counts.values()))):
        yield {name: array[i] for name, array in arrays.items()}


def _loaded(path: Path) -> Mapping[str, Array]:
    try:
        found = np.load(path, allow_pickle=False)
        return {"": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except OSError as error:
        raise NotFoundError(f"calibration `{path}`: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"calibration `{path}`: no .npz or .npy file: {error}") from error
