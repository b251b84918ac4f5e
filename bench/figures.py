"""The tables of figures in README.md, made from `bench/RESULTS.md`. What was not measured yet has no row."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["FIGURES", "GATEWAY", "README", "table", "with_figures"]

README = Path(__file__).parents[1] / "README.md"
BLOCK = r"(?<=<!-- {}: made by `make bench` -->\n).*?(?=<!-- end of figures -->)"
HEAD = "| what | Littoral | peer, in the same run |\n|---|---:|---|\n"
KILLED = "host: kill -9 while indexing, until it answers, slowest"


class Figure(NamedTuple):
    """One row. note: said behind the peer's name. as_hits: a share of misses is shown as a percentage of hits."""

    what: str
    benchmark: str
    key: str
    note: str = ""
    as_hits: bool = False


FIGURES = (
    Figure("JPEG 640 × 272 to its five nearest over HTTP, p50", "main_job", "JPEG 640 × 272 to top 5 over HTTP, p50"),
    Figure("the same, p95", "main_job", "JPEG 640 × 272 to top 5 over HTTP, p95"),
    Figure(
        "right clip and second among the first five, all views", "main_job", "missed of all questions", as_hits=True
    ),
    Figure("MobileNetV2-224, float32", "compiler", "mobilenet_v2: run", "native, one thread"),
    Figure("the same, beside the usual runtime in WebAssembly", "onnxruntime_web", "mobilenet_v2: run", "one thread"),
    Figure("EfficientNet-Lite0, float32", "compiler", "efficientnet_lite0: run", "native, one thread"),
    Figure("MobileNetV2-224, int8", "int8", "mobilenet_v2, 8 bits: run", "native, one thread"),
    Figure("EfficientNet-Lite0, int8", "int8", "efficientnet_lite0, 8 bits: run", "native, one thread"),
    Figure(
        "the same on real frames: 1 − cosine of embeddings to float32's, mean",
        "int8",
        "efficientnet_lite0, 8 bits: 1 − cosine of embeddings, mean",
    ),
    Figure(
        "EfficientNet-Lite0, float32, on 50 real frames: another class",
        "compiler",
        "efficientnet_lite0: other class, of 50 frames",
    ),
    Figure("compile EfficientNet-Lite0 from ONNX", "compiler", "efficientnet_lite0: compile"),
    Figure("load 19 MB of weights again, in a running process", "cold_start", "known file"),
    Figure("a call, beside the model's own work", "call_overhead", "session, trusted"),
    Figure("JPEG 640 × 272 to a tensor, in the sandbox", "image_agent", "jpeg_640x272_float32", "native"),
    Figure("search 20 000 × 1280 exactly, p50", "vectors", "20k × 1280: search, p50"),
    Figure("JPEG 640 × 480 to top 5 of 20 000 × 1280 over HTTP, int8, p50", "served_job", "1 client, p50"),
    Figure("the same, 8 clients", "served_job", "8 clients: answers"),
    Figure("search 100 000 × 128 over HTTP, recall@10 0.95, p50", "search", "one client, p50"),
    Figure(
        "a small model over the Open Inference Protocol, beside its own run, p50",
        "oip",
        "small: over HTTP beside it, p50",
    ),
    Figure("a text embedded before, over `/v1/embeddings`", "embeddings", "a text asked before, as base64: answers"),
    Figure("memory of a node without anything, all processes", "footprint", "bare: memory of all processes (PSS)"),
    Figure(
        "JPEG 640 × 480 to a vector in workerd over HTTP, p50",
        "workers",
        "JPEG 640 × 480 to vector over HTTP, workerd, p50",
    ),
    Figure("shard killed while indexing, until it answers, slowest", "vectors", KILLED),
)


TOLD = "real, asked often, 0.02 per hit"
GATEWAY = (
    Figure("the same request again, p50", "gateway", "the same request again, 1 client, p50"),
    Figure("the same, 8 clients", "gateway", "the same request again: answers"),
    Figure(
        "a similar question, embedded and looked up, p50", "gateway", "a similar question, each another, 1 client, p50"
    ),
    Figure(
        "what a miss costs more than asking directly, to the first token, p50",
        "gateway",
        "a miss, streamed, exact answers alone: to the first token, more than asked directly, p50",
    ),
    Figure(
        "wrong among similar answers that were told, delta 0.02, real questions",
        "semantic_errors",
        f"{TOLD}: wrong, mean",
    ),
    Figure("of all requests without an exact answer, told a similar one", "semantic_errors", f"{TOLD}: told"),
    Figure("runs of 5,000 requests above delta", "semantic_errors", f"{TOLD}: runs above it"),
    Figure("the same, at most (exact bound, 95 %)", "semantic_errors", f"{TOLD}: runs above it, at most (95 %)"),
)
TABLES = {"figures": FIGURES, "figures of the gateway": GATEWAY}


def with_figures(readme: str, results: str) -> str:
    """README with its tables made anew."""
    for name, figures in TABLES.items():
        made = table(results, figures)
        readme = re.sub(BLOCK.format(name), lambda _, made=made: made, readme, flags=re.DOTALL)
    return readme


def table(results: str, figures: Sequence[Figure] = FIGURES) -> str:
    measured = _cells(results)
    return HEAD + "".join(_row(f, *measured[f.benchmark, f.key]) for f in figures if (f.benchmark, f.key) in measured)


def _row(figure: Figure, value: str, unit: str, peer: str, peer_value: str, *_: str) -> str:
    ours = f"{100 - 100 * float(value):.4g} %" if figure.as_hits else f"{value} {unit}"
    name = f"{peer}, {figure.note}" if figure.note else peer
    return f"| {figure.what} | {ours} | {f'{name}: {peer_value} {unit}' if peer else ''} |\n"


def _cells(results: str) -> dict[tuple[str, str], list[str]]:
    """The cells behind the first, by benchmark and first cell."""
    found, benchmark = {}, ""
    for line in results.splitlines():
        if line.startswith("## "):
            benchmark = line.removeprefix("## ")
        elif line.startswith("| "):
            key, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found[benchmark, key] = cells
    return found
