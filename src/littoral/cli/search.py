"""`littoral search`: the neighbours of a picture, asked of a running node."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.cli.console import results, show_json
from littoral.clock import SYSTEM
from littoral.errors import InputError
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["search"]

VALUE_CHARACTERS_MAX = 60


def search(
    picture: Annotated[Path, typer.Argument(help="File to send.")],
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="One that ends with a search.")] = "similar",
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most hits shown.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Hits and times as JSON.")] = False,
) -> None:
    """Find what is most similar to a picture."""
    try:
        data = picture.read_bytes()
    except OSError as error:
        raise InputError(f"`{picture}`: {error.strerror}") from error
    with contextlib.closing(NodeClient(url)) as client:
        began = SYSTEM.monotonic()
        answer = client.run_pipeline(pipeline, data)
        total_ms = (SYSTEM.monotonic() - began) * 1000
    if not isinstance(answer.result, list):
        raise InputError(f"pipeline `{pipeline}` gives no hits", hint="name one that ends with a search")
    hits = answer.result[:limit]
    if as_json:
        show_json({"hits": hits, "total_ms": total_ms, "how": answer.how})
        return
    for rank, hit in enumerate(hits, 1):
        results.print(f"{rank:3}  {hit['score']:8.4f}  {hit['id']}  {_told(hit.get('payload'))}", markup=False)
    stages = " + ".join(f"{name} {ms:.1f}" for name, ms in answer.stages_ms.items())
    results.print(f"{len(hits)} hits in {total_ms:.1f} ms: {stages} ms in the node", markup=False)


def _told(payload: Any) -> str:
    """The short values; pictures are left out."""
    if not isinstance(payload, dict):
        return ""
    texts = {key: str(value) for key, value in payload.items() if key != "thumbnail"}
    return "  ".join(f"{key}={text}" for key, text in texts.items() if len(text) <= VALUE_CHARACTERS_MAX)
