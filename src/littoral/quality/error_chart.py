"""Errors by layer as a picture: an SVG bar for each layer, in order, in the colour of how its weights are held."""

from html import escape

from littoral.quality.chart_style import HEAD, MARGIN, ROW, STYLE, shortened
from littoral.quality.comparison import Agreement, Comparison, LayerError

__all__ = ["error_chart"]

WIDTH, NAMES, VALUES = 960, 330, 90
LINE, FOOT = 18, 30
CLASSES: dict[int | None, tuple[str, str]] = {8: ("k0", "8 bits"), 7: ("k1", "7 bits"), None: ("k5", "float32")}


def error_chart(found: Comparison) -> str:
    """The picture, with a title and a description for those who do not see it."""
    told = [*(_agreement(row) for row in found.outputs), _sizes(found)]
    top = HEAD + LINE * (len(told) - 1)
    height = top + ROW * len(found.layers) + FOOT + MARGIN
    title = f"{found.other.name} in integers, beside float32"
    most = max((row.error for row in found.layers), default=0) or 1
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}: error by layer</title>',
        f'<desc id="description">{escape("; ".join(told))}</desc>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{MARGIN}" y="24">{escape(title)}</text>',
    ]
    parts += [f'<text x="{MARGIN}" y="{44 + LINE * i}">{escape(line)}</text>' for i, line in enumerate(told)]
    parts += [_bar(top + ROW * i, row, most) for i, row in enumerate(found.layers)]
    parts.append(_legend(found, height - FOOT + 8))
    return "\n".join([*parts, "</svg>\n"])


def _agreement(row: Agreement) -> str:
    same = "" if row.top_1 is None else f", same largest element in {row.top_1:.1%}"
    error = f"largest error {row.error:.3g} of {row.magnitude:.3g}"
    return f"{row.output}: cosine {row.cosine:.4f} (least {row.cosine_min:.4f}){same}, {error}"


def _sizes(found: Comparison) -> str:
    a, b = found.exact, found.other
    sizes = [(what, getattr(b, f"{what}_bytes"), getattr(a, f"{what}_bytes")) for what in ("weights", "memory")]
    told = ", ".join(f"{what} {own / 1e6:.1f} MB instead of {exact / 1e6:.1f}" for what, own, exact in sizes)
    return f"{told}, a call {b.run_ms:.3g} ms instead of {a.run_ms:.3g}; {found.feeds} feeds"


def _bar(y: int, row: LayerError, most: float) -> str:
    size = (WIDTH - NAMES - VALUES - 2 * MARGIN) * row.error / most
    colour, held = CLASSES[row.bits if row.bits in CLASSES else None]
    value = f"{row.error:.2%}"
    return (
        f"<g><title>{escape(f'{row.name}: {row.kind}, {held}, off by {value}')}</title>"
        f'<text x="{NAMES - 8}" y="{y + 12}" text-anchor="end">{escape(shortened(row.name))}</text>'
        f'<rect class="{colour}" x="{NAMES}" y="{y + 2}" width="{max(size, 0.5):.1f}" height="{ROW - 6}" rx="2"/>'
        f'<text class="quiet" x="{NAMES + size + 6:.1f}" y="{y + 12}">{value}</text></g>'
    )


def _legend(found: Comparison, y: int) -> str:
    parts, x = [], MARGIN
    for bits, (colour, held) in CLASSES.items():
        if count := sum(row.bits == bits for row in found.layers):
            text = f"{held}, {count} layers"
            parts.append(f'<rect class="{colour}" x="{x}" y="{y}" width="10" height="10" rx="2"/>')
            parts.append(f'<text x="{x + 15}" y="{y + 10}">{text}</text>')
            x += 36 + 7 * len(text)
    note = f"error of a layer's output with all layers before it, on {found.layer_feeds} feeds"
    if found.layers:
        parts.append(f'<text class="quiet" x="{WIDTH - MARGIN}" y="{y + 10}" text-anchor="end">{note}</text>')
    return "\n".join(parts)
