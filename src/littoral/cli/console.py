"""What the verbs share on the terminal: results, messages, progress, sizes."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from littoral.errors import LittoralError

__all__ = ["bytes_text", "messages", "progress_bar", "results", "show_error", "show_json"]

messages = Console(stderr=True, highlight=False)
results = Console(highlight=False, soft_wrap=True)


def show_error(error: LittoralError) -> None:
    """Message and hint, each on a line of its own."""
    messages.print(f"littoral: {error.message}", style="red", markup=False, soft_wrap=True)
    if error.hint:
        messages.print(f"hint: {error.hint}", markup=False, soft_wrap=True)


def show_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def bytes_text(count: int) -> str:
    """A size for people, in powers of 1024."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A callback (stage, done, total) that moves a bar on a terminal and does nothing elsewhere."""
    if not messages.is_terminal:
        yield lambda _stage, _done, _total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn())
    with Progress(*columns, console=messages, transient=True) as bar:
        task = bar.add_task(label, total=None, stage="")

        def tell(stage: str, done: int, total: int) -> None:
            bar.update(task, stage=stage, completed=done, total=total)

        yield tell
