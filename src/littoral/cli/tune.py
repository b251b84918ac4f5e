"""`littoral tune`: which form of its kernel each layer of some models takes best on this machine."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from littoral.artifact.model import write_atomically
from littoral.cli.build import parse_shapes
from littoral.cli.console import messages, progress_bar, results, show_json
from littoral.cli.model_source import random_feeds
from littoral.clock import SYSTEM
from littoral.compiler.driver import planned, written
from littoral.compiler.plan import RULES, Tuning, open_tuning
from littoral.compiler.plan.tuning import Entry
from littoral.errors import NotOfferedError
from littoral.quality.layer_times import why_untimed
from littoral.quality.tune import Tuned, measured_machine
from littoral.quality.tune import tune as tune_model

__all__ = ["tune"]


def tune(
    sources: Annotated[list[Path], typer.Argument(help="Models (.onnx), or sentence-transformers folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write.")] = Path("tuning.json"),
    onto: Annotated[Path | None, typer.Option(help="Table to add to; what it holds is not measured again.")] = None,
    budget_s: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds of timing, all models together.")] = 300,
    shape: Annotated[list[str] | None, typer.Option(help="For dimensions left open: NAME=1,3,224,224.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Time the forms of every layer's kernel, and write what is faster to a table for `build --tuning`."""
    table = RULES if onto is None else open_tuning(onto)
    table = msgspec.structs.replace(table, machine=measured_machine())
    rows, end = [], SYSTEM.monotonic() + budget_s
    for i, source in enumerate(sources):
        left_s = max(end - SYSTEM.monotonic(), 0) / (len(sources) - i)
        tuned = _tuned(source, shape, table, left_s)
        table = msgspec.structs.replace(table, entries=(*table.entries, *map(_entry, tuned)))
        rows += [_row(source, one) for one in tuned]
        write_atomically(output, table.encode())
    if as_json:
        show_json({"path": str(output), "tuning_sha256": table.sha256, "entries": len(table.entries), "problems": rows})
        return
    for row in rows:
        gain = f"{row['rule_ms']:8.3f} → {row['choice_ms']:.3f} ms  × {row['gain']:.2f}"
        results.print(f"  {gain}  {row['text']}: {row['choice_text']}", markup=False)
    results.print(f"{output}  {len(table.entries)} problems, sha256 {table.sha256}", markup=False)


def _tuned(source: Path, shape: list[str] | None, table: Tuning, budget_s: float) -> list[Tuned]:
    """Raises NotOfferedError for a model that is timed as a whole."""
    with progress_bar(f"tuning {source.name}") as tell:
        found = planned(source, shapes=parse_shapes(shape or []), tuning=table, progress=tell)
        if (why := why_untimed(found)) is not None:
            raise NotOfferedError(f"tune `{source}`: {why}")
        tuned = tune_model(found, random_feeds(written(found), seed=0), known=table, budget_s=budget_s, progress=tell)
    if not tuned:
        messages.print(f"{source}: nothing to tune that the table does not hold", markup=False, soft_wrap=True)
    return tuned


def _entry(tuned: Tuned) -> Entry:
    return Entry(tuned.problem, tuned.choice, round(tuned.gain, 3))


def _row(source: Path, tuned: Tuned) -> dict[str, Any]:
    """One problem; a written contract."""
    p = tuned.problem
    return {
        "model": str(source),
        "problem": msgspec.to_builtins(p),
        "layers": tuned.layers,
        "rule_ms": tuned.rule_ms,
        "choice": msgspec.to_builtins(tuned.choice),
        "choice_ms": tuned.choice_ms,
        "gain": tuned.gain,
        "text": f"{tuned.layers} × {p.kind} {p.rows}×{p.depth}×{p.width}",
        "choice_text": str(tuned.choice),
    }
