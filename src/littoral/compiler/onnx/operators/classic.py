"""Classic machine learning: features, trees, bags of n-grams."""

import math
from typing import NamedTuple

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, Load, Position, apply, cast, number
from littoral.compiler.ir.graph import Value
from littoral.compiler.ir.ops import Gather, Map, Reduce, Reshape, Scatter
from littoral.compiler.onnx.importer import OnnxNode, operator
from littoral.errors import OnnxFormatError

DOMAIN = "ai.onnx.ml"
INDEX = "int32"
DEPTH_MAX = 256
NODES_MAX = 1 << 20


@operator("Binarizer", domain=DOMAIN, by_element=True)
def binarizer(node: OnnxNode) -> Value:
    x, threshold = node.input(0), node.number("threshold", 0.0)
    return node.add(Map(cast(Arg(x.dtype, 0) > threshold, x.dtype)), x)


@operator("ArrayFeatureExtractor", domain=DOMAIN, keeps_halves=True)
def array_feature_extractor(node: OnnxNode) -> Value:
    """Elements of the last axis; a vector counts as one row."""
    x, indices = node.inputs()
    flat = node.add(Reshape((indices.type.elements,)), indices)
    picked = node.add(Gather(x.type.rank - 1), x, flat)
    return node.add(Reshape((*(x.shape[:-1] or (1,)), indices.type.elements)), picked)


class _Trees(NamedTuple):
    """Nodes of all trees in tables; a leaf leads to itself. mode: as in ONNX, without `member`."""

    feature: list[int]
    mode: list[int]
    split: list[float]
    missing: list[int]
    then: list[int]
    otherwise: list[int]
    target: list[int]
    weight: list[float]

    def add(self, feature: int, mode: int, split: float, missing: int, target: int = 0, weight: float = 0.0) -> int:
        here = len(self.feature)
        if here >= NODES_MAX:
            raise OnnxFormatError(f"TreeEnsemble: more than {NODES_MAX} nodes")
        for line, value in zip(self, (feature, mode, split, missing, here, here, target, weight), strict=True):
            line.append(value)  # type: ignore[attr-defined]
        return here


_COMPARE = ("le", "lt", "ge", "gt", "eq", "ne")
_MEMBER = 6


def _tables(node: OnnxNode) -> tuple[_Trees, list[int], int]:
    """All trees, their roots, and how deep they go."""
    features, modes = node.integers("nodes_featureids", ()), node.tensor("nodes_modes")
    splits, weights = node.tensor("nodes_splits"), node.tensor("leaf_weights")
    then, otherwise = node.integers("nodes_truenodeids", ()), node.integers("nodes_falsenodeids", ())
    then_leaf, other_leaf = node.integers("nodes_trueleafs", ()), node.integers("nodes_falseleafs", ())
    missing = node.integers("nodes_missing_value_tracks_true", (0,) * len(features))
    targets, members = node.integers("leaf_targetids", ()), node.tensor("membership_values")
    node.ignore("nodes_hitrates")
    if modes is None or splits is None or weights is None:
        raise OnnxFormatError(f"node `{node.label}`: TreeEnsemble without nodes or leaves")
    sets = _member_sets(members)
    owners = [i for i, mode in enumerate(modes) if mode == _MEMBER]
    trees = _Trees([], [], [], [], [], [], [], [])
    deepest = 0

    def leaf(index: int) -> int:
        return trees.add(0, 0, 0.0, 0, targets[index], float(weights[index]))

    def grow(index: int, depth: int) -> int:
        nonlocal deepest
        values = sets[owners.index(index)] if modes[index] == _MEMBER else [float(splits[index])]
        deepest = max(deepest, depth + len(values))
        if deepest > DEPTH_MAX:
            raise OnnxFormatError(f"node `{node.label}`: trees are deeper than {DEPTH_MAX}")
        mode = 4 if modes[index] == _MEMBER else int(modes[index])
        chain = [trees.add(features[index], mode, value, missing[index]) for value in values]
        below = depth + len(values)
        yes = leaf(then[index]) if then_leaf[index] else grow(then[index], below)
        no = leaf(otherwise[index]) if other_leaf[index] else grow(otherwise[index], below)
        for at, after in zip(chain, [*chain[1:], no], strict=True):
            trees.then[at], trees.otherwise[at] = yes, after
        return chain[0]

    roots = []
    try:
        for root in node.integers("tree_roots", ()):
            single = then_leaf[root] and other_leaf[root] and then[root] == otherwise[root]
            roots.append(leaf(then[root]) if single else grow(root, 0))
    except IndexError as error:
        raise OnnxFormatError(f"node `{node.label}`: TreeEnsemble names a node that is not there") from error
    return trees, roots, deepest


def _member_sets(values: np.ndarray | None) -> list[list[float]]:
    """Sets of numbers, each ended by a NaN."""
    sets: list[list[float]] = [[]]
    for value in () if values is None else values.reshape(-1).tolist():
        if math.isnan(value):
            sets.append([])
        else:
            sets[-1].append(value)
    return sets[:-1]


@operator("TreeEnsemble", domain=DOMAIN)
def tree_ensemble(node: OnnxNode) -> Value:
    """Every row of x [N, features] goes down every tree, one level at a time; leaves add up by target: [N, targets]."""
    x = node.input(0)
    trees, roots, depth = _tables(node)
    combine = ("mean", "sum", "min", "max")[node.integer("aggregate_function", 1)]
    if node.integer("post_transform", 0):
        node.unsupported(f"is {node.integer('post_transform', 0)}", attribute="post_transform", supported=("0",))
    rows, width = x.shape
    count, targets = len(roots), node.integer("n_targets", 1)
    if not trees.feature or max(trees.feature) >= width or min(trees.feature) < 0:
        raise OnnxFormatError(f"node `{node.label}`: trees of more features than {x.type} has")
    feature, mode, missing, then, otherwise, target = (
        node.constant(np.asarray(v, np.int32))
        for v in (trees.feature, trees.mode, trees.missing, trees.then, trees.otherwise, trees.target)
    )
    split, weight = (node.constant(np.asarray(v), x.dtype) for v in (trees.split, trees.weight))
    at = node.add(Map(Arg(INDEX, 0), (rows, count)), node.constant(np.asarray(roots, np.int32)))
    here = Arg(INDEX, 0)
    value = Load(x.dtype, 1, Position(INDEX, 0) * width + Load(INDEX, 2, here))
    passes: Expr = number("bool", 0)
    for i, name in enumerate(_COMPARE):
        is_mode = apply("eq", Load(INDEX, 3, here), number(INDEX, i))
        passes = apply("select", is_mode, apply(name, value, Load(x.dtype, 4, here)), passes)
    lost = apply("and", apply("ne", value, value), apply("ne", Load(INDEX, 5, here), number(INDEX, 0)))
    goes = apply("select", apply("or", passes, lost), Load(INDEX, 6, here), Load(INDEX, 7, here))
    for _ in range(depth):
        at = node.add(Map(goes), at, x, feature, mode, split, missing, then, otherwise)
    leaf = Load(INDEX, 0, Position(INDEX, 0) * count + Position(INDEX, 2))
    hit = apply("eq", Load(INDEX, 1, leaf), Position(INDEX, 1))
    nothing = {"min": float(np.finfo(x.dtype).max), "max": float(np.finfo(x.dtype).min)}.get(combine, 0.0)
    term = apply("select", hit, Load(x.dtype, 2, leaf), number(x.dtype, nothing))
    after = Arg(x.dtype, 0) / float(count) if combine == "mean" else None
    reduction = Reduce("sum" if combine == "mean" else combine, (2,), term, after, (rows, targets, count))
    return node.add(Reshape((rows, targets)), node.add(reduction, at, target, weight))


@operator("TfIdfVectorizer")
def tf_idf(node: OnnxNode) -> Value:
    """How often each n-gram of a pool comes, with up to so many elements left out between two of it."""
    x = node.input(0)
    if node.has("pool_strings"):
        node.unsupported("is not supported", attribute="pool_strings", supported=("pool_int64s",))
    mode = node.choice("mode", "", ("TF", "IDF", "TFIDF"))
    grams, order = _grams(node)
    skips = node.integer("max_skip_count", 0) + 1
    weights = node.numbers("weights", (1.0,) * (max(order, default=0) + 1))
    width = max(node.integers("ngram_indexes", ()), default=-1) + 1
    rows, size = (1, x.shape[0]) if x.type.rank < 2 else x.shape
    out_shape = (width,) if x.type.rank < 2 else (rows, width)
    empty = node.constant(np.zeros((rows, width), np.float32))
    if not grams or not size:
        return node.add(Reshape(out_shape), empty)
    longest = max(len(g) for g in grams)
    table = node.constant(np.asarray([g + [0] * (longest - len(g)) for g in grams], np.int64))
    lengths = node.constant(np.asarray([len(g) for g in grams], np.int32))
    row, gram, skip, start = (Position(INDEX, a) for a in range(4))
    length = Load(INDEX, 2, gram)
    reach = start + (skip + 1) * (length - 1)
    alike: Expr = apply("and", reach < size, apply("or", length > 1, apply("eq", skip, number(INDEX, 0))))
    for k in range(longest):
        at = (start + (skip + 1) * k).at_most(size - 1)
        same = apply("eq", cast(Load(x.dtype, 0, row * size + at), "int64"), Load("int64", 1, gram * longest + k))
        alike = apply("and", alike, apply("or", length <= k, same))
    counted = Reduce("sum", (2, 3), cast(alike, "float32"), None, (rows, len(grams), skips, size))
    counts = node.add(Reshape((rows, len(grams))), node.add(counted, x, table, lengths))
    scale = node.constant(np.asarray([weights[i] for i in order], np.float32))
    count, share = Arg("float32", 0), Arg("float32", 1)
    if mode != "TF":
        value = count * share if mode == "TFIDF" else apply("select", count > 0.0, share, count)
        counts = node.add(Map(value), counts, scale)
    places = node.constant(np.asarray([node.integers("ngram_indexes", ())[i] for i in order], np.int32))
    put = Scatter(counts.shape, row * width + Load(INDEX, 2, gram), Arg("float32", 1), "add")
    return node.add(Reshape(out_shape), node.add(put, empty, counts, places))


def _grams(node: OnnxNode) -> tuple[list[list[int]], list[int]]:
    """The n-grams of the wanted lengths, and the number of each in the pool."""
    pool, starts = list(node.integers("pool_int64s", ())), node.integers("ngram_counts", ())
    shortest, longest = node.integer("min_gram_length", 1), node.integer("max_gram_length", 1)
    grams: list[list[int]] = []
    order: list[int] = []
    known = 0
    for length, (start, stop) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        for at in range(start, stop - length + 1, length):
            if shortest <= length <= longest:
                grams.append(pool[at : at + length])
                order.append(known)
            known += 1
    return grams, order
