"""`littoral camera`: frames of a video, a camera or a stream, to a node's pipeline or to a broker's topic."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from littoral.camera.motion import MotionGate
from littoral.camera.source import Shape, Source
from littoral.camera.target import opened_target
from littoral.camera.watch import Watch
from littoral.cli.console import bytes_text, messages, results, show_json
from littoral.errors import InputError
from littoral.mqtt.broker import Broker, Credentials
from littoral.node.client import DEFAULT_URL

__all__ = ["camera"]

SIDE_MAX = 8192


def camera(
    source: Annotated[str, typer.Argument(help="File, rtsp:// or http:// address, or device such as /dev/video0.")],
    to: Annotated[
        str, typer.Option("--to", help="http://HOST:PORT/pipelines/NAME or mqtt[s]://HOST[:PORT]/TOPIC.")
    ] = f"{DEFAULT_URL}/pipelines/similar",
    fps: Annotated[float, typer.Option(min=0.01, max=240, help="Most frames a second.")] = 10.0,
    width: Annotated[int | None, typer.Option(min=16, max=SIDE_MAX, help="Most pixels across.")] = None,
    quality: Annotated[int, typer.Option(min=2, max=31, help="Of JPEG: 2 is the best, 31 the smallest.")] = 4,
    raw: Annotated[str, typer.Option(help="Tensor of this name instead of JPEG: uint8[height, width, 3].")] = "",
    size: Annotated[str | None, typer.Option(help="With --raw: WIDTHxHEIGHT.")] = None,
    motion: Annotated[
        float, typer.Option(min=0, max=1, help="Send if this share of pixels changed; 0 = always.")
    ] = 0.0,
    at_least_s: Annotated[float, typer.Option(min=0, help="With --motion: send after so long anyway.")] = 10.0,
    live: Annotated[bool, typer.Option("--live", help="A file at its own pace, the latest frame alone.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long.")] = None,
    name: Annotated[str, typer.Option(help="Begin of the frames' ids.")] = "camera",
    qos: Annotated[int, typer.Option(min=0, max=1, help="Of MQTT.")] = 0,
    user: Annotated[str, typer.Option(help="Of MQTT.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="Of MQTT: its first line.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Of mqtts: certificates that are trusted.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Of mqtts: certificate and key to show.")] = None,
    answers: Annotated[bool, typer.Option("--answers", help="Print each answer, a line of JSON.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Counts at the end as JSON.")] = False,
) -> None:
    """Send frames to a node, as many as it takes."""
    shape = Shape(width, _size(size), quality, bool(raw))
    if size is not None and not raw:
        raise InputError("`--size` has no meaning without `--raw`", hint="`--width` makes JPEG smaller")
    broker = Broker("", 0, credentials=Credentials(user, password_file), ca=ca, certificate=certificate)

    async def run() -> Watch:
        async with opened_target(to, qos=qos, broker=broker) as target:
            watch = Watch(
                Source(source, fps=fps, shape=shape),
                target,
                MotionGate(motion, at_least_s),
                name=name,
                raw=raw,
                is_live=True if live else None,
                on_answer=_print_answer if answers else _ignore,
                on_trouble=_say_trouble,
            )
            _stop_at(watch, seconds)
            await watch.run()
            return watch

    _show(asyncio.run(run()).counts.told(), as_json=as_json)


def _stop_at(watch: Watch, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watch.stop)
    if seconds is not None:
        loop.call_later(seconds, watch.stop)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and 1 <= int(side[:6]) <= SIDE_MAX for side in (width, height)):
        raise InputError(f"`--size` is `{text}`, must be WIDTHxHEIGHT, each 1..{SIDE_MAX}")
    return int(width), int(height)


def _ignore(_frame_id: str, _answer: Any) -> None:
    pass


def _print_answer(frame_id: str, answer: Any) -> None:
    sys.stdout.write(json.dumps({"id": frame_id} | (answer or {}), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _say_trouble(why: str) -> None:
    messages.print(f"littoral: {why}; trying again", markup=False, soft_wrap=True)


def _show(counts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(counts)
        return
    took = "" if counts["answer_ms"] is None else f", {counts['answer_ms']:.1f} ms each"
    results.print(f"{counts['sent']} frames sent, {bytes_text(counts['sent_bytes'])}{took}", markup=False)
    rest = ("still", "superseded", "failed", "reopened")
    results.print(", ".join(f"{name} {counts[name]}" for name in rest), markup=False)
    if counts["last"]:
        messages.print(f"littoral: last failure: {counts['last']}", markup=False, soft_wrap=True)
