"""What lies in a sentence-transformers folder: configurations, weights, and the steps that follow the network.

Every file is read with a bound, none is executed, and a folder named in `modules.json` is one inside the folder.
"""

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from littoral.artifact import digest
from littoral.errors import InputError, ModelError, NotFoundError, ShapeError, TooLargeError, UnsupportedOperatorError
from littoral.tensors import Array, decode_frame

__all__ = ["BertConfig", "Pooling", "SentenceFolder", "Weights", "read_folder"]

CONFIG_BYTES_MAX = 1 << 20
TOKENIZER_BYTES_MAX = 64 << 20
WEIGHTS_BYTES_MAX = 1 << 31
WEIGHTS_HEADER_BYTES_MAX = 1 << 20
WEIGHTS_TENSORS_MAX = 4096
LAYERS_MAX = 256
SIZE_MAX = 1 << 20
MODULES_MAX = 16
MODULES_WE_HAVE = ("Transformer", "Pooling", "Normalize")
# model_type: whether positions are counted from behind the padding token, as RoBERTa does
MODEL_TYPES = {"bert": False, "roberta": True, "xlm-roberta": True, "camembert": True}
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len")
_PREFIXES = ("", "bert.", "roberta.")

_T = TypeVar("_T", bound=msgspec.Struct)


class BertConfig(msgspec.Struct, frozen=True):
    """`config.json` of the network."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    vocab_size: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    pad_token_id: int | None = 0
    is_decoder: bool = False

    @property
    def first_position(self) -> int:
        """Row of the position table that belongs to the first token."""
        return (self.pad_token_id or 0) + 1 if MODEL_TYPES[self.model_type] else 0


class Pooling(msgspec.Struct, frozen=True):
    """`config.json` of the pooling; more than one mode gives vectors one after the other."""

    pooling_mode_cls_token: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    pooling_mode: str | None = None

    @property
    def modes(self) -> tuple[str, ...]:
        """In the order in which their vectors are joined."""
        if self.pooling_mode is not None:
            return (self.pooling_mode,)
        asked = {
            "cls": self.pooling_mode_cls_token,
            "max": self.pooling_mode_max_tokens,
            "mean": self.pooling_mode_mean_tokens,
            "mean_sqrt_len": self.pooling_mode_mean_sqrt_len_tokens,
            "weightedmean": self.pooling_mode_weightedmean_tokens,
            "lasttoken": self.pooling_mode_lasttoken,
        }
        return tuple(mode for mode, wanted in asked.items() if wanted)


class _Module(msgspec.Struct):
    type: str
    path: str = ""


class _SentenceConfig(msgspec.Struct):
    max_seq_length: int | None = None


class Weights:
    """The network's tensors by the names BERT gives them, as float32."""

    def __init__(self, tensors: dict[str, Array], where: str) -> None:
        self.tensors = tensors
        self.where = where
        key = "embeddings.word_embeddings.weight"
        self.prefix = next((p for p in _PREFIXES if p + key in tensors), None)
        if self.prefix is None:
            raise ModelError(f"`{where}`: no tensor `{key}`: these are no weights of a BERT encoder")

    def take(self, name: str, *shape: int) -> Array:
        """A tensor of this shape; the first checkpoints call scale and offset gamma and beta.

        Raises ModelError where it is missing, ShapeError for another shape.
        """
        found = self.tensors.get(f"{self.prefix}{name}")
        if found is None and "LayerNorm." in name:
            found = self.tensors.get(f"{self.prefix}{name}".replace(".weight", ".gamma").replace(".bias", ".beta"))
        if found is None:
            raise ModelError(f"`{self.where}`: no tensor `{self.prefix}{name}`")
        if found.shape != shape:
            raise ShapeError(
                f"`{self.where}`: tensor `{self.prefix}{name}` is {list(found.shape)}, `config.json` says {list(shape)}"
            )
        return _as_float32(found, f"`{self.where}`: tensor `{self.prefix}{name}`")


def _as_float32(array: Array, where: str) -> Array:
    if array.dtype == np.uint16:  # bfloat16, as its bits
        return (array.astype(np.uint32) << 16).view(np.float32)
    if array.dtype.kind != "f":
        raise ModelError(f"{where} is of {array.dtype.name}, expected floats")
    return array.astype(np.float32, copy=False)


class SentenceFolder(NamedTuple):
    """A sentence encoder: the network, how token vectors become one vector, and whether that gets length 1.

    tokens_max: what the model was made for. sha256: over name and digest of each file read, sorted by name.
    """

    name: str
    config: BertConfig
    weights: Weights
    pooling: tuple[str, ...]
    normalize: bool
    tokens_max: int
    sha256: str
    tokenizer_sha256: str | None


def read_folder(folder: Path) -> SentenceFolder:
    """What is in the folder, checked.

    Raises NotFoundError for a missing file, ModelError (ShapeError, UnsupportedOperatorError) for what is in one.
    """
    reader = _Reader(folder)
    modules = reader.modules()
    network = next((m.path for m in modules if _kind(m) == "Transformer"), "")
    config = _checked(reader.json(_inside(network, "config.json"), BertConfig), reader.shown(network, "config.json"))
    names = ("sentence_bert_config.json", f"sentence_{config.model_type}_config.json")
    sentence = next(filter(None, (reader.optional_json(_inside(network, n), _SentenceConfig) for n in names)), None)
    places = config.max_position_embeddings - config.first_position
    asked = sentence.max_seq_length if sentence and sentence.max_seq_length else places
    pooling = reader.pooling(modules)
    weights = Weights(reader.tensors(_inside(network, "model.safetensors")), reader.shown(network, "model.safetensors"))
    tokenizer = reader.tokenizer_sha256(network)
    return SentenceFolder(
        name=folder.resolve().name,
        config=config,
        weights=weights,
        pooling=pooling,
        normalize=any(_kind(m) == "Normalize" for m in modules),
        tokens_max=max(1, min(asked, places)),
        sha256=reader.sha256(),
        tokenizer_sha256=tokenizer,
    )


class _Reader:
    """Reads files of a folder, and remembers the digest of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, str] = {}

    def shown(self, path: str, name: str) -> str:
        return str(self.folder / _inside(path, name))

    def bytes(self, name: str, bytes_max: int, hint: str | None = None) -> bytes:
        path = self.folder / name
        try:
            if (size := path.stat().st_size) > bytes_max:
                raise ModelError(f"`{path}`: {size} bytes, at most {bytes_max}")
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"`{path}`: {error.strerror}", hint=hint) from error
        self.digests[name] = digest(data)
        return data

    def json(self, name: str, type_: type[_T]) -> _T:
        found: _T = self._decoded(name, type_)
        return found

    def optional_json(self, name: str, type_: type[_T]) -> _T | None:
        return self.json(name, type_) if (self.folder / name).exists() else None

    def _decoded(self, name: str, type_: Any) -> Any:
        data = self.bytes(name, CONFIG_BYTES_MAX, "a sentence-transformers folder of the BERT family is expected")
        try:
            return msgspec.json.decode(data, type=type_)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ModelError(f"`{self.folder / name}`: {error}") from error

    def modules(self) -> list[_Module]:
        """The steps; a folder of the network alone gets the mean of its tokens, as its framework gives it."""
        if not (self.folder / "modules.json").exists():
            return [_Module("Transformer")]
        modules: list[_Module] = self._decoded("modules.json", list[_Module])
        where = self.folder / "modules.json"
        if len(modules) > MODULES_MAX:
            raise ModelError(f"`{where}`: {len(modules)} modules, at most {MODULES_MAX}")
        for module in modules:
            path = PurePosixPath(module.path)
            if path.is_absolute() or ".." in path.parts or "\0" in module.path:
                raise ModelError(f"`{where}`: path `{module.path}` leaves the folder")
            if _kind(module) not in MODULES_WE_HAVE:
                raise UnsupportedOperatorError(_kind(module), str(where), supported=MODULES_WE_HAVE)
        kinds = [_kind(module) for module in modules]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            raise ModelError(
                f"`{where}`: modules {', '.join(kinds)}, expected Transformer, Pooling and maybe Normalize"
            )
        return modules

    def pooling(self, modules: list[_Module]) -> tuple[str, ...]:
        path = next((m.path for m in modules if _kind(m) == "Pooling"), None)
        if path is None:
            return ("mean",)
        modes = self.json(_inside(path, "config.json"), Pooling).modes
        where = self.shown(path, "config.json")
        if not modes:
            raise ModelError(f"`{where}`: no pooling mode is chosen")
        if unknown := [mode for mode in modes if mode not in POOLINGS]:
            raise UnsupportedOperatorError("Pooling", where, why=f"of mode `{unknown[0]}`", supported=POOLINGS)
        return modes

    def tensors(self, name: str) -> dict[str, Array]:
        data = self.bytes(name, WEIGHTS_BYTES_MAX, "weights are read from one safetensors file")
        try:
            return decode_frame(data, header_bytes_max=WEIGHTS_HEADER_BYTES_MAX, tensors_max=WEIGHTS_TENSORS_MAX)
        except (InputError, TooLargeError) as error:
            raise ModelError(f"`{self.folder / name}`: {error.message}") from error

    def tokenizer_sha256(self, path: str) -> str | None:
        name = _inside(path, "tokenizer.json")
        return digest(self.bytes(name, TOKENIZER_BYTES_MAX)) if (self.folder / name).exists() else None

    def sha256(self) -> str:
        lines = (f"{name} {self.digests[name]}\n" for name in sorted(self.digests))
        return digest("".join(lines).encode())


def _kind(module: _Module) -> str:
    return module.type.rpartition(".")[2]


def _inside(path: str, name: str) -> str:
    return str(PurePosixPath(path) / name)


def _checked(config: BertConfig, where: str) -> BertConfig:
    """The configuration, where it is one of ours and possible."""

    def only(what: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            raise UnsupportedOperatorError(
                config.model_type, where, why=f"is `{value}`", attribute=what, supported=allowed
            )

    only("model_type", config.model_type, tuple(MODEL_TYPES))
    only("hidden_act", config.hidden_act, ACTIVATIONS)
    only("position_embedding_type", config.position_embedding_type, ("absolute",))
    only("is_decoder", str(config.is_decoder).lower(), ("false",))
    sizes = {
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "vocab_size": config.vocab_size,
        "type_vocab_size": config.type_vocab_size,
    }
    for name, size in sizes.items():
        if not 1 <= size <= SIZE_MAX:
            raise ModelError(f"`{where}`: `{name}` is {size}, must be 1 to {SIZE_MAX}")
    if not 0 <= config.num_hidden_layers <= LAYERS_MAX:
        raise ModelError(f"`{where}`: `num_hidden_layers` is {config.num_hidden_layers}, must be 0 to {LAYERS_MAX}")
    if config.hidden_size % config.num_attention_heads:
        raise ModelError(f"`{where}`: {config.hidden_size} values do not divide by {config.num_attention_heads} heads")
    if not 0 <= config.first_position < config.max_position_embeddings:
        raise ModelError(f"`{where}`: `pad_token_id` {config.pad_token_id} leaves no positions")
    return config
