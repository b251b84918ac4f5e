"""What quantisation decided, layer by layer, and why: printed, and kept in the manifest."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["FLOAT_BITS", "LayerChoice", "Report"]

FLOAT_BITS = 32
LAYERS_MAX = 512
DIGITS = 4


@dataclass(frozen=True)
class LayerChoice:
    """One product of the model.

    bits: of its weights, 8 or 7; 32 where it stays in float32. error: of its output on the feeds, root mean square over
    that of the output in float32, with all that lies before it in integers too. loss: what the outputs of the model
    lose in cosine by this layer's rounding alone; None where it was not measured. cost_ms: about, one run on one
    thread; saved_ms: against float32. levels: of a byte that it reads, 127, or 255 where
    that matters much. ranges: how the range of these bytes was found; "by row" when the model runs.
    """

    layer: str
    kind: str
    bits: int
    error: float
    loss: float | None
    cost_ms: float
    saved_ms: float
    levels: int
    ranges: str
    reason: str


@dataclass(frozen=True)
class Report:
    """All layers, in the order in which they run. cosine: of the outputs to float32's, mean over `judged` feeds."""

    bits: int | str
    budget: float | None
    effort: str
    feeds: int
    judged: int
    cosine: float
    layers: tuple[LayerChoice, ...]

    def as_json(self) -> dict[str, Any]:
        """For the manifest: numbers to four digits, at most 512 layers."""
        about = {k: v for k, v in asdict(self).items() if k != "layers"}
        rows = [{k: _short(v) for k, v in asdict(layer).items()} for layer in self.layers[:LAYERS_MAX]]
        return {**about, "cosine": round(self.cosine, 6), "layers": rows}


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
