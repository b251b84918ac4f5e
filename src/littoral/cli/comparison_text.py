"""A comparison of two models on the terminal, with a bar for each layer."""

from littoral.cli.console import bytes_text
from littoral.quality.choices import Choice, Choices
from littoral.quality.comparison import Agreement, Comparison, LayerError

__all__ = ["choices_text", "comparison_text"]

BAR = 24  # letters
FLOAT_BITS = 32
EIGHTHS = " ▏▎▍▌▋▊▉"


def comparison_text(found: Comparison) -> str:
    """Lines: the two, each output, what they weigh and take, and layers in order where they were compared."""
    a, b = found.exact, found.other
    lines = [f"{b.name} beside {a.name} on {found.feeds} feeds" if a.name != b.name else f"on {found.feeds} feeds"]
    lines += [_output(row) for row in found.outputs]
    for what, one, two in (
        ("file", a.bytes, b.bytes),
        ("weights", a.weights_bytes, b.weights_bytes),
        ("memory", a.memory_bytes, b.memory_bytes),
    ):
        lines.append(f"  {what:8} {bytes_text(one):>10} → {bytes_text(two):>10}  × {two / max(one, 1):.2f}")
    lines.append(f"  {'a call':8} {a.run_ms:7.3g} ms → {b.run_ms:7.3g} ms  × {b.run_ms / (a.run_ms or 1):.2f}")
    if found.layers:
        lines.append(f"  error of each layer, with all before it, on {found.layer_feeds} feeds")
        most = max(row.error for row in found.layers)
        lines += [_layer(row, most) for row in found.layers]
    return "\n".join(lines)


def choices_text(found: Choices) -> str:
    """Lines: what was decided for each layer, what it costs and gains, and why."""
    kept = "" if found.budget is None else f", {found.budget:g} were asked for"
    lines = [f"integers: cosine {found.cosine:.5f} on feeds of the calibration{kept}"]
    return "\n".join([*lines, *(_choice(row) for row in found.layers)])


def _choice(row: Choice) -> str:
    held = "float32" if row.bits == FLOAT_BITS else f"{row.bits} bits"
    loss = " " * 13 if row.loss is None else f"loses {row.loss:.1e}"
    return f"  {held:7}  {loss:13}  saves {row.saved_ms:7.3f} ms  {row.layer}: {row.reason}"


def _output(row: Agreement) -> str:
    top_1 = "" if row.top_1 is None else f"  same largest element {row.top_1:.1%}"
    left_out = f"  {row.not_finite} not finite" if row.not_finite else ""
    error = f"largest error {row.error:.3g} of {row.magnitude:.3g}"
    return f"  {row.output}  cosine {row.cosine:.4f}, least {row.cosine_min:.4f}{top_1}  {error}{left_out}"


def _layer(row: LayerError, most: float) -> str:
    held = "float32" if row.bits is None else f"{row.bits} bits"
    return f"  {_bar(row.error / (most or 1))} {row.error:7.2%}  {held:7}  {row.kind:7}  {row.name}"


def _bar(share: float) -> str:
    whole, rest = divmod(round(share * BAR * 8), 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(BAR)
