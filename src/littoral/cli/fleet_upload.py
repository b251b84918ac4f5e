"""A model brought to a fleet as ONNX: compiled, quantised, measured, registered and signed by the orchestrator."""

import contextlib
import json
import mmap
import time
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote

import typer

from littoral.cli.console import messages
from littoral.cli.fleet_artifacts import told_state
from littoral.cli.fleet_client import JsonOption, UrlOption, asked, pairs, path_of, show
from littoral.errors import ArtifactError, InputError, LittoralError, UnavailableError
from littoral.node.client import NodeClient

__all__ = ["upload"]

BINARY = "application/octet-stream"
ASK_AGAIN_S = 0.25


def upload(
    model: Annotated[Path, typer.Argument(help="ONNX file, or a compiled model.")],
    name: Annotated[str | None, typer.Option(help="In the registry; default: as in its file.")] = None,
    version: Annotated[str | None, typer.Option(help="In its manifest; the registry counts its own.")] = None,
    shape: Annotated[
        list[str] | None, typer.Option(help="INPUT=1,3,224,224 for one with dimensions left open.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=8, help="Threads of a run.")] = 1,
    target: Annotated[str, typer.Option(help="relaxed, simd128 or mvp.")] = "relaxed",
    int8: Annotated[list[Path] | None, typer.Option(help="Feeds to quantise by, .npz or .npy; several times.")] = None,
    int8_bits: Annotated[str, typer.Option(help="Bits of a weight with --int8: 8, 7, or auto.")] = "8",
    int8_budget: Annotated[float | None, typer.Option(help="Of --int8: the most that outputs may differ.")] = None,
    effort: Annotated[str, typer.Option(help="Of --int8: normal, or high, which looks longer.")] = "normal",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring an ONNX model: compiled, quantised, measured and registered by the orchestrator, as on its page."""
    order: dict[str, Any] = {"name": name, "version": version, "threads": threads, "target": target}
    order |= {"shapes": {one: _sizes(sizes) for one, sizes in pairs(shape or [], "shape").items()}}
    if int8:
        bits = int(int8_bits) if int8_bits.isdecimal() else int8_bits
        order |= {"int8": {"bits": bits, "budget": int8_budget, "effort": effort}}
    client = asked(url)
    brought = _brought(client, f"{path_of('uploads')}?file={quote(model.name)}", model)
    if not brought["is_kept"]:
        raise _refused(model, brought["examined"]["problems"])
    at = path_of("uploads", brought["id"])
    try:
        for file in int8 or ():
            _brought(client, f"{at}/feeds?file={quote(file.name)}", file)
        client.call("POST", f"{at}/start", json.dumps(order).encode())
        made = _followed(client, at)
        if made["state"] == "cancelled":
            raise UnavailableError(f"`{model}`: somebody cancelled it")
        if made["state"] == "failed":
            raise _refused(model, [made["problem"]])
    except BaseException:
        with contextlib.suppress(LittoralError):
            client.call("DELETE", at)
        raise
    artifact = made["artifact"]
    figures = ", ".join(f"{key} {value:g}" for key, value in artifact["provenance"].get("figures", {}).items())
    show(artifact, as_json, f"{told_state(artifact)}{f'; {figures}' if figures else ''}")


def _brought(client: NodeClient, path: str, file: Path) -> Any:
    """Its bytes, as they lie on the disk. Raises InputError."""
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            messages.print(f"{file.name}: {len(data):,} bytes", markup=False)
            return client.call("POST", path, cast(bytes, data), media_type=BINARY)
    except (OSError, ValueError) as error:
        raise InputError(f"`{file}`: {getattr(error, 'strerror', None) or 'is empty'}") from error


def _followed(client: NodeClient, path: str) -> Any:
    """The build once it has ended; its stages are told when they change."""
    said = ""
    while (found := client.call("GET", path))["state"] == "building":
        if (progress := found["progress"]) is not None and progress["stage"] != said:
            said = progress["stage"]
            messages.print(said, markup=False)
        time.sleep(ASK_AGAIN_S)
    return found


def _refused(model: Path, problems: list[dict[str, Any]]) -> ArtifactError:
    first = problems[0] if problems else {"message": "is no model that can be used here", "hint": None}
    return ArtifactError(f"`{model}`: {first['message']}", hint=first["hint"])


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise InputError(f"shape is `{text[:80]}`, must be like 1,3,224,224") from error
