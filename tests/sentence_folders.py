"""Small sentence-transformers folders with random weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from littoral.tensors import encode_frame

CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "vocab_size": 50,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}
MODULES = ("Transformer", "Pooling", "Normalize")
TOKENIZER = b'{"version": "1.0", "model": {"type": "WordPiece", "vocab": {}}}'


def random_tensors(config: Mapping[str, Any] = CONFIG, seed: int = 3) -> dict[str, Any]:
    """A tensor for every name of the network, float32."""
    rng = np.random.default_rng(seed)
    size, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], size),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], size),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], size),
    }
    norms = ["embeddings"]
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        norms += [f"{at}attention.output", f"{at}output"]
        dense = {f"attention.self.{part}": (size, size) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (size, size), "intermediate.dense": (inner, size)}
        dense |= {"output.dense": (size, inner)}
        for name, shape in dense.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.LayerNorm.weight": (size,), f"{name}.LayerNorm.bias": (size,)}
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def write_folder(
    folder: Path,
    tensors: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] = CONFIG,
    pooling: Sequence[str] = ("mean",),
    modules: Sequence[str] = MODULES,
    dtypes: Mapping[str, str] | None = None,
) -> Path:
    """The folder as sentence-transformers saves it; `modules` empty: of the network alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(
        encode_frame(random_tensors(config) if tensors is None else tensors, dtypes)
    )
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    if not modules:
        return folder
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    rows = [
        {
            "idx": i,
            "name": str(i),
            "path": paths.get(kind, f"{i}_{kind}"),
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    fields = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "mean_sqrt_len": "mean_sqrt_len_tokens"}
    chosen = {f"pooling_mode_{field}": mode in pooling for mode, field in fields.items()}
    made = {"word_embedding_dimension": config["hidden_size"], **chosen}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(made))
    return folder
