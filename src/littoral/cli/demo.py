"""`littoral demo`: the main job on real pictures, its figures, and a node with a page that stays up."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from littoral.cli.console import messages, progress_bar, results, show_json

if TYPE_CHECKING:
    from littoral.compiler.driver import Progress
    from littoral.demo.grades import Grades, Reply

__all__ = ["demo_verb"]

CHECK_FAILED = 1


def demo_verb(
    check: Annotated[bool, typer.Option("--check", help="Exit after the questions: 0 if enough were hits.")] = False,
    photos: Annotated[Path | None, typer.Option(help="Folder of your own pictures, instead of the clips.")] = None,
    folder: Annotated[Path, typer.Option(help="For what the demo makes and fetches.")] = Path("demo-data"),
    listen: Annotated[str, typer.Option(help="HOST:PORT of the node.")] = "127.0.0.1:8642",
    float32: Annotated[bool, typer.Option("--float32", help="Leave the model in float32.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON, nothing else on stdout.")] = False,
) -> None:
    """Index real pictures, find similar ones, and leave a page up."""
    from littoral.demo.run import Options, demo

    with (
        _sigterm_as_interrupt(),
        demo(Options(folder, listen, photos, is_exact=float32), _Console(is_quiet=as_json)) as (node, grades),
    ):
        if as_json:
            show_json(grades.as_json())
        else:
            show(grades)
        if check:
            raise typer.Exit(0 if grades.is_good else CHECK_FAILED)
        with contextlib.suppress(KeyboardInterrupt):  # from the moment on that a reader of the line may press it
            messages.print(f"littoral: the page is at {node.url} · Ctrl-C ends it", markup=False)
            node.wait()


class _Console:
    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet

    def say(self, line: str) -> None:
        messages.print(f"littoral: {line}", markup=False, soft_wrap=True)

    def bar(self, label: str) -> contextlib.AbstractContextManager["Progress"]:
        return progress_bar(label)

    def answered(self, reply: "Reply") -> None:
        if not self._is_quiet:
            results.print(row(reply), markup=False)


def row(reply: "Reply") -> str:
    """One line: what was asked, the neighbours, the time by stage, and whether it is a hit."""
    verdict = "      " if not reply.question.is_related else "hit   " if reply.rank else "miss  "
    neighbours = "  ".join(f"{hit.source} {hit.seconds:.2f} ({hit.score:.3f})" for hit in reply.hits)
    stages = " + ".join(f"{name} {ms:.1f}" for name, ms in reply.stages_ms.items())
    times = f"{stages} of {reply.total_ms:.1f} ms" if stages else f"{reply.total_ms:.1f} ms"
    return f"{verdict}{reply.question.kind:13} {reply.question.picture.label:16} → {neighbours}  · {times}"


def show(grades: "Grades") -> None:
    """The summary."""
    scores = (
        f"scores: hits {grades.score_of_hits:.3f}, unrelated pictures {grades.score_of_unrelated:.3f} (medians), "
        f"gap {grades.gap:+.3f} (5th percentile of hits − 95th of unrelated)"
    )
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in grades.stages_p50_ms.items())
    times = (
        f"time, one after the other over HTTP: p50 {grades.p50_ms:.1f} ms, p95 {grades.p95_ms:.1f} ms; stages {stages}"
    )
    verdict = "enough were hits" if grades.is_good else "too few hits: 0.95 of all and 0.90 of each kind are needed"
    rates = [f"  {kind:13} {rate:.3f}" for kind, rate in grades.hit_rate_by_kind.items()]
    lines = [f"hit rate {grades.hit_rate:.3f} (rank 1: {grades.rank_1_rate:.3f})", *rates, scores, times, verdict]
    for line in lines:
        results.print(line, markup=False)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that the node ends too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
