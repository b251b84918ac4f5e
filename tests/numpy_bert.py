"""BERT and its pooling in numpy and f64, straight from the definition: what compiled encoders are compared with."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_new": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def embed(
    tensors: Mapping[str, Any],
    config: Mapping[str, Any],
    ids: Any,
    mask: Any,
    types: Any = None,
    pooling: Sequence[str] = ("mean",),
    normalize: bool = True,
    first_position: int = 0,
) -> Any:
    """Embeddings [batch, size] for ids and mask [batch, tokens]."""
    hidden = [
        _tokens(tensors, config, row, seen, kinds, first_position)
        for row, seen, kinds in zip(ids, mask, np.zeros_like(ids) if types is None else types, strict=True)
    ]
    made = [
        np.concatenate([_pooled(x, seen.astype(np.float64)[:, None], mode) for mode in pooling])
        for x, seen in zip(hidden, mask, strict=True)
    ]
    found = np.stack(made)
    return found / np.linalg.norm(found, axis=1, keepdims=True) if normalize else found


def _pooled(x: Any, seen: Any, mode: str) -> Any:
    match mode:
        case "cls":
            return x[0]
        case "max":
            return x[seen[:, 0] > 0].max(0)
        case "mean":
            return (x * seen).sum(0) / seen.sum()
    return (x * seen).sum(0) / math.sqrt(seen.sum())


def _tokens(w: Mapping[str, Any], config: Mapping[str, Any], ids: Any, seen: Any, types: Any, first: int) -> Any:
    n, size, heads = len(ids), config["hidden_size"], config["num_attention_heads"]

    def dense(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T.astype(np.float64) + w[f"{name}.bias"]

    def normal(x: Any, name: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        scaled = x / np.sqrt((x * x).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def split(x: Any) -> Any:
        return x.reshape(n, heads, size // heads).transpose(1, 0, 2)

    x = w["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + w["embeddings.position_embeddings.weight"][first : first + n]
    x = normal(x + w["embeddings.token_type_embeddings.weight"][types], "embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        q, k, v = (split(dense(x, f"{at}attention.self.{part}")) for part in ("query", "key", "value"))
        scores = np.where(seen > 0, q @ k.transpose(0, 2, 1) / math.sqrt(size // heads), -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(n, size)
        x = normal(x + dense(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
        inner = ACTIVATIONS[config.get("hidden_act", "gelu")](dense(x, f"{at}intermediate.dense"))
        x = normal(x + dense(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
    return x
