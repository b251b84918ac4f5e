"""Streams of real questions whose embeddings move at half-time, as `bench.answer_streams.synthetic_stream` has them.

From then on questions are written in another style, with typing errors, seen by the encoder to their eighth token
alone, embedded by the same encoder in int8, or about other topics. Which of them ask the same stays as people said.
"""

import random
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from bench.answer_streams import Stream
from bench.question_pairs import Questions, embedded_once, questions

__all__ = ["MOVES", "Move", "Moving", "moved_stream", "moving"]

Move = Literal["nothing", "style", "typos", "short", "int8", "topics"]
MOVES: tuple[Move, ...] = get_args(Move)

POOL, POOL_SEED = 1500, 77
"""Groups of several questions that streams are made of, with their rivals: others are not embedded once more."""

HEADS, ZIPF = 700, 0.8
TYPO_SHARE, SHORT = 0.06, 8
LETTERS = "abcdefghijklmnopqrstuvwxyz"
OPENINGS = ("hi there! ", "hey, quick one: ", "ok so ", "sorry to bother you, but ", "just wondering... ", "")
ENDINGS = (" thanks!!", " pls", " anyone know?", " thx in advance", " (asking for a friend)", " cheers")


class Moving(NamedTuple):
    """vectors: by move, of each question of the pool from half-time on. groups, rivals: as of `Questions`. side: by
    group, on which side of the middle its questions lie along their main direction.
    """

    vectors: dict[Move, npt.NDArray[np.float32]]
    members: dict[int, list[int]]
    rivals: dict[int, list[int]]
    side: dict[int, bool]


@lru_cache(1)
def moving() -> Moving | None:
    """None where the pairs are not here. Embeds what is yet to be embedded."""
    if (found := questions()) is None:
        return None
    groups = _pool(found)
    used = [at for at, group in enumerate(found.groups.tolist()) if group in groups]
    texts = [found.texts[at] for at in used]
    plain = found.vectors[used]
    vectors: dict[Move, npt.NDArray[np.float32]] = {
        "nothing": plain,
        "topics": plain,
        "style": embedded_once([_styled(text) for text in texts]),
        "typos": embedded_once([_mistyped(text) for text in texts]),
        "short": embedded_once(texts, tokens_max=SHORT),
        "int8": embedded_once(texts, is_int8=True),
    }
    members: dict[int, list[int]] = {}
    for place, at in enumerate(used):
        members.setdefault(int(found.groups[at]), []).append(place)
    rivals = {group: [one for one in found.rivals.get(group, ()) if one in groups] for group in groups}
    return Moving(vectors, members, rivals, _sides(plain, members))


def moved_stream(world: Moving, move: Move, seed: int, *, count: int) -> Stream:
    rng, half = np.random.default_rng(seed), count // 2
    several = sorted(group for group, found in world.members.items() if len(found) > 1)
    if move == "topics":
        parts = [[group for group in several if world.side[group] == side] for side in (False, True)]
        heads = [_drawn(world, part, HEADS, rng) for part in parts]
    else:
        heads = [_drawn(world, several, HEADS, rng)] * 2
    groups = np.concatenate([_asked(part, half, rng) for part in heads])
    asked = np.array([rng.choice(world.members[group]) for group in groups.tolist()])
    vectors = world.vectors["nothing"]
    if move not in ("nothing", "topics"):
        asked[half:] += len(vectors)
        vectors = np.concatenate([vectors, world.vectors[move]])
    used, places = np.unique(asked, return_inverse=True)
    return Stream(vectors[used], places.astype(np.int64), groups.astype(np.int64))


def _pool(found: Questions) -> set[int]:
    sizes: dict[int, int] = {}
    for group in found.groups.tolist():
        sizes[group] = sizes.get(group, 0) + 1
    several = sorted(group for group, size in sizes.items() if size > 1)
    chosen = {int(group) for group in np.random.default_rng(POOL_SEED).choice(several, POOL, replace=False)}
    return chosen | {rival for group in chosen for rival in found.rivals.get(group, ())}


def _drawn(world: Moving, several: list[int], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """In the order of how often they are asked."""
    chosen = {int(group) for group in rng.choice(several, min(count, len(several)), replace=False)}
    chosen |= {rival for group in sorted(chosen) for rival in world.rivals[group]}
    return rng.permutation(sorted(chosen))


def _asked(order: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    weights = np.arange(1, len(order) + 1) ** -ZIPF
    return rng.choice(order, count, p=weights / weights.sum())


def _sides(vectors: npt.NDArray[np.float32], members: dict[int, list[int]]) -> dict[int, bool]:
    _, _, axes = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    along = {group: float((vectors[places] @ axes[0]).mean()) for group, places in members.items()}
    middle = float(np.median(list(along.values())))
    return {group: place > middle for group, place in along.items()}


def _styled(text: str) -> str:
    lot = random.Random(f"style {text}")
    return f"{lot.choice(OPENINGS)}{text.rstrip('?. ').lower()}{lot.choice(ENDINGS)}"


def _mistyped(text: str) -> str:
    """So many of its letters are left out, doubled, or another one."""
    lot = random.Random(f"typos {text}")
    return "".join(lot.choice(("", 2 * one, lot.choice(LETTERS))) if lot.random() < TYPO_SHARE else one for one in text)
