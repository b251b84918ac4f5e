"""Times by layer as a picture: an SVG bar for each layer, in order, light or dark as the reader's screen is."""

from html import escape

from littoral.quality.chart_style import HEAD, MARGIN, ROW, STYLE, shortened
from littoral.quality.layer_times import LayerTime, LayerTimes

__all__ = ["layer_chart"]

ROWS_MAX = 400
WIDTH, NAMES, VALUES = 960, 330, 190
FOOT = 30
COLOURS = 6


def layer_chart(name: str, times: LayerTimes) -> str:
    """The picture, with a title and a description for those who do not see it.

    A stroke on a bar is where it would end at the machine's limit. Of more than 400 layers the longest are shown.
    """
    rows, left_out = _shown(times.layers)
    longest_ms = max((row.time_ms for row in rows), default=0) or 1
    kernels = _by_time(times.layers)
    height = HEAD + ROW * len(rows) + FOOT + MARGIN
    summary = (
        f"{len(times.layers)} layers, {times.sum_ms:.2f} ms together, {times.whole_ms:.2f} ms as a whole; "
        f"strict float32 can do {times.limit_gflops:.0f} GFLOP/s here"
    )
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(name)}: time by layer</title>',
        f'<desc id="description">{escape(summary)}</desc>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{MARGIN}" y="24">{escape(name)}</text>',
        f'<text class="quiet" x="{MARGIN}" y="44">{escape(summary)}</text>',
    ]
    parts += [_bar(i, row, times, longest_ms, kernels) for i, row in enumerate(rows)]
    parts.append(_legend(kernels, times, height - FOOT + 8, left_out))
    return "\n".join([*parts, "</svg>\n"])


def _shown(layers: tuple[LayerTime, ...]) -> tuple[list[LayerTime], int]:
    """What there is room for, in the model's order, and how many are left out."""
    longest = sorted(range(len(layers)), key=lambda i: -layers[i].time_ms)[:ROWS_MAX]
    return [layers[i] for i in sorted(longest)], len(layers) - len(longest)


def _by_time(layers: tuple[LayerTime, ...]) -> list[str]:
    """Kernels, the one with most of the time first."""
    total_ms: dict[str, float] = {}
    for layer in layers:
        total_ms[layer.kernel] = total_ms.get(layer.kernel, 0) + layer.time_ms
    return sorted(total_ms, key=lambda kernel: -total_ms[kernel])


def _colour(kernels: list[str], kernel: str) -> str:
    return f"k{min(kernels.index(kernel), COLOURS - 1)}"


def _bar(index: int, row: LayerTime, times: LayerTimes, longest_ms: float, kernels: list[str]) -> str:
    y = HEAD + ROW * index
    room = WIDTH - NAMES - VALUES - 2 * MARGIN
    size = room * row.time_ms / longest_ms
    label = shortened(row.name)
    value = f"{row.time_ms:.3f} ms {row.time_ms / (times.sum_ms or 1):.1%}"
    told = f"{row.name}: {row.kernel} {row.tile} {row.output}, {value}"
    stroke = ""
    share = times.limit_share(row)
    if share is not None:
        value += f" · {share:.0%}"
        told += f", {row.gflops:.1f} GFLOP/s, {share:.0%} of the limit"
        at = NAMES + size * min(share, 1)
        stroke = f'<line class="limit" x1="{at:.1f}" y1="{y + 2}" x2="{at:.1f}" y2="{y + ROW - 4}"/>'
    return (
        f"<g><title>{escape(told)}</title>"
        f'<text x="{NAMES - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>'
        f'<rect class="{_colour(kernels, row.kernel)}" x="{NAMES}" y="{y + 2}" width="{max(size, 0.5):.1f}"'
        f' height="{ROW - 6}" rx="2"/>{stroke}'
        f'<text class="quiet" x="{NAMES + size + 6:.1f}" y="{y + 12}">{value}</text></g>'
    )


def _legend(kernels: list[str], times: LayerTimes, y: int, left_out: int) -> str:
    parts, x = [], MARGIN
    for i, kernel in enumerate(kernels[:COLOURS]):
        named = kernel if i < COLOURS - 1 or len(kernels) == COLOURS else "others"
        of_kind = [row for row in times.layers if _colour(kernels, row.kernel) == f"k{i}"]
        text = f"{named} {sum(row.time_ms for row in of_kind) / (times.sum_ms or 1):.0%}"
        parts.append(f'<rect class="k{i}" x="{x}" y="{y}" width="10" height="10" rx="2"/>')
        parts.append(f'<text x="{x + 15}" y="{y + 10}">{escape(text)}</text>')
        x += 36 + 7 * len(text)
    note = "stroke: at the limit" + (f" · {left_out} shorter layers are not shown" if left_out else "")
    parts.append(f'<text class="quiet" x="{WIDTH - MARGIN}" y="{y + 10}" text-anchor="end">{note}</text>')
    return "\n".join(parts)
