"""Sentence-transformers folders of the BERT family: the compiled module beside BERT in numpy, and what is refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import littoral
from littoral.compiler.driver import compile_model
from littoral.errors import ModelError, NotFoundError, ShapeError, UnsupportedOperatorError
from model_host import run_bare
from numpy_bert import embed
from sentence_folders import CONFIG, TOKENIZER, random_tensors, write_folder

RNG = np.random.default_rng(11)
LIMIT = 2e-6


def sentences(batch: int = 2, tokens: int = 9) -> dict[str, Any]:
    """Token ids, each sentence shorter than the one before it and filled up."""
    ids = RNG.integers(3, CONFIG["vocab_size"], (batch, tokens))
    mask = (np.arange(tokens) < tokens - 3 * np.arange(batch)[:, None]).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask}


def compiled(folder: Path, feeds: dict[str, Any]) -> Any:
    model = compile_model(folder, shapes={name: array.shape for name, array in feeds.items()})
    return run_bare(model.wasm, feeds)["embedding"]


def assert_close(got: Any, want: Any) -> None:
    assert got.shape == want.shape
    assert got.dtype == np.float32
    assert np.abs(got - want).max() <= LIMIT * max(1.0, np.abs(want).max())


@pytest.mark.parametrize(
    "pooling", [("mean",), ("cls",), ("max",), ("mean_sqrt_len",), ("cls", "max", "mean")], ids="+".join
)
@pytest.mark.parametrize("normalize", [True, False])
def test_pooling(tmp_path: Path, pooling: tuple[str, ...], normalize: bool) -> None:
    modules = ("Transformer", "Pooling", "Normalize")[: 2 + normalize]
    folder, feeds = write_folder(tmp_path / "m", pooling=pooling, modules=modules), sentences()
    want = embed(random_tensors(), CONFIG, *feeds.values(), pooling=pooling, normalize=normalize)
    assert_close(compiled(folder, feeds), want)


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_activations(tmp_path: Path, activation: str) -> None:
    config, feeds = CONFIG | {"hidden_act": activation}, sentences(1)
    folder = write_folder(tmp_path / "m", config=config)
    assert_close(compiled(folder, feeds), embed(random_tensors(), config, *feeds.values()))


def test_what_is_masked_changes_nothing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    short = sentences(1, 6)
    long = {name: np.pad(array, ((0, 0), (0, 7))) for name, array in short.items()}
    other = long | {"input_ids": long["input_ids"] + 4 * (1 - long["attention_mask"])}
    assert np.array_equal(compiled(folder, long), compiled(folder, other))
    assert_close(compiled(folder, long), compiled(folder, short))


def test_roberta_counts_positions_from_behind_the_padding(tmp_path: Path) -> None:
    config, feeds = CONFIG | {"model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 1}, sentences()
    tensors = random_tensors(config)
    folder = write_folder(tmp_path / "m", {f"roberta.{name}": a for name, a in tensors.items()}, config, modules=())
    want = embed(tensors, config, *feeds.values(), normalize=False, first_position=2)
    assert_close(compiled(folder, feeds), want)
    (folder / "sentence_roberta_config.json").write_text('{"max_seq_length": 12}')
    assert compile_model(folder).manifest.variants[0].inputs[0].shape == (1, 12)


def test_names_of_the_first_checkpoints(tmp_path: Path) -> None:
    """`bert.` before all, gamma and beta, and heads of the training that are not used."""
    tensors, feeds = random_tensors(), sentences()
    old = {f"bert.{name}": array for name, array in tensors.items()}
    for name in [n for n in old if "LayerNorm" in n]:
        old[name.replace(".weight", ".gamma").replace(".bias", ".beta")] = old.pop(name)
    old["cls.predictions.bias"] = np.zeros(50, np.float32)
    assert_close(compiled(write_folder(tmp_path / "m", old), feeds), embed(tensors, CONFIG, *feeds.values()))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_half_precision_are_taken_as_they_are(tmp_path: Path, dtype: str) -> None:
    given, kept = {}, {}
    for name, array in random_tensors().items():
        bits = (array.view(np.uint32) >> 16).astype(np.uint16)
        given[name] = array.astype(np.float16) if dtype == "float16" else bits
        wide = (bits.astype(np.uint32) << 16).view(np.float32)
        kept[name] = given[name].astype(np.float32) if dtype == "float16" else wide
    folder, feeds = write_folder(tmp_path / "m", given, dtypes=dict.fromkeys(given, dtype)), sentences()
    assert_close(compiled(folder, feeds), embed(kept, CONFIG, *feeds.values()))


def test_token_types_are_an_input_where_they_are_asked_for(tmp_path: Path) -> None:
    feeds = sentences()
    feeds["token_type_ids"] = (np.arange(9) > 4).astype(np.int64) * feeds["attention_mask"]
    want = embed(random_tensors(), CONFIG, *feeds.values())
    assert_close(compiled(write_folder(tmp_path / "m"), feeds), want)


def test_the_manifest_says_what_was_compiled(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny-v1.5")
    manifest = littoral.compile(folder, preprocess={"lower": True}).manifest
    assert manifest.name == "tiny-v1.5"
    assert manifest.preprocess == {"tokenizer_sha256": hashlib.sha256(TOKENIZER).hexdigest(), "lower": True}
    (variant,) = manifest.variants
    assert [str(p.spec) for p in variant.inputs] == ["`input_ids` int64[1, 16]", "`attention_mask` int64[1, 16]"]
    assert [str(p.spec) for p in variant.outputs] == ["`embedding` float32[1, 24]"]
    before = manifest.source_sha256
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert littoral.compile(folder).manifest.source_sha256 != before


def test_lengths_share_one_copy_of_the_weights(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    variants = [{"input_ids": (1, n)} for n in (4, 8, 16)]
    together, alone = compile_model(folder, variants=variants), compile_model(folder)
    assert [v.key for v in together.manifest.variants] == [{"tokens": 4}, {"tokens": 8}, {"tokens": 16}]
    positions = 24 * 24 * 4
    assert together.manifest.memory.weights[1] <= alone.manifest.memory.weights[1] + positions


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"ids": (1, 4)}, "has no input `ids`; its inputs: input_ids, attention_mask, token_type_ids"),
        ({"input_ids": (1, 21)}, "at most 4096 sentences and 20 tokens"),
        ({"input_ids": (1, 0)}, "is not \\[batch, tokens\\]"),
        ({"input_ids": (4,)}, "is not \\[batch, tokens\\]"),
        ({"input_ids": (1, 4), "attention_mask": (1, 5)}, "all inputs have one shape"),
    ],
)
def test_shapes_that_cannot_be(tmp_path: Path, shapes: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        compile_model(write_folder(tmp_path / "m"), shapes=shapes)


Change = Callable[[Path], object]


def config_of(**changes: Any) -> Change:
    return lambda folder: (folder / "config.json").write_text(json.dumps(CONFIG | changes))


def file_of(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def modules_of(*rows: tuple[str, str]) -> Change:
    text = json.dumps([{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in rows])
    return file_of("modules.json", text.encode())


def lacks_a_tensor(folder: Path) -> object:
    tensors = random_tensors()
    del tensors["encoder.layer.1.output.dense.bias"]
    return write_folder(folder, tensors)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (without("config.json"), NotFoundError, "config.json`: No such file .* sentence-transformers folder"),
        (without("model.safetensors"), NotFoundError, "model.safetensors`: No such file .* safetensors"),
        (without("1_Pooling/config.json"), NotFoundError, "1_Pooling/config.json`: No such file"),
        (file_of("config.json", b"[" * 9000), ModelError, "config.json`: "),
        (file_of("config.json", b'{"model_type": "bert"}'), ModelError, "config.json`: .*hidden_size"),
        (config_of(model_type="mpnet"), UnsupportedOperatorError, "`model_type` is `mpnet`; supported: bert, roberta"),
        (config_of(hidden_act="mish"), UnsupportedOperatorError, "`hidden_act` is `mish`; supported: gelu"),
        (config_of(position_embedding_type="relative_key"), UnsupportedOperatorError, "is `relative_key`"),
        (config_of(num_attention_heads=5), ModelError, "24 values do not divide by 5 heads"),
        (config_of(num_hidden_layers=10**9), ModelError, "`num_hidden_layers` is 1000000000, must be 0 to 256"),
        (config_of(vocab_size=-1), ModelError, "`vocab_size` is -1"),
        (config_of(intermediate_size=41), ShapeError, r"intermediate.dense.weight` is \[40, 24\], .* says \[41, 24\]"),
        (config_of(num_hidden_layers=3), ModelError, "no tensor `encoder.layer.2.attention.self.query.weight`"),
        (lacks_a_tensor, ModelError, "no tensor `encoder.layer.1.output.dense.bias`"),
        (file_of("model.safetensors", b"\xff" * 64), ModelError, "model.safetensors`: safetensors frame: header of"),
        (file_of("model.safetensors", b"\2\0\0\0\0\0\0\0{}"), ModelError, "no weights of a BERT encoder"),
        (file_of("1_Pooling/config.json", b"{}"), ModelError, "no pooling mode is chosen"),
        (
            file_of("1_Pooling/config.json", b'{"pooling_mode_lasttoken": true}'),
            UnsupportedOperatorError,
            "of mode `lasttoken`; supported: cls, max, mean, mean_sqrt_len",
        ),
        (modules_of(("Transformer", ""), ("Dense", "2_Dense")), UnsupportedOperatorError, "`Dense` is not supported"),
        (modules_of(("Transformer", ""), ("Pooling", "../1_Pooling")), ModelError, "`../1_Pooling` leaves the folder"),
        (modules_of(("Transformer", ""), ("Pooling", "/etc")), ModelError, "`/etc` leaves the folder"),
        (
            modules_of(("Pooling", "1_Pooling")),
            ModelError,
            "modules Pooling, expected Transformer, Pooling",
        ),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, change: Change, error: type[Exception], said: str) -> None:
    folder = write_folder(tmp_path / "m")
    change(folder)
    with pytest.raises(error, match=said):
        compile_model(folder)


def test_weights_cut_anywhere_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    data = (folder / "model.safetensors").read_bytes()
    for keep in range(0, len(data), len(data) // 40):
        (folder / "model.safetensors").write_bytes(data[:keep])
        with pytest.raises(ModelError):
            compile_model(folder)
