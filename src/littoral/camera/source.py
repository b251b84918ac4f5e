"""The one door to PyAV for cameras: a file, a stream or a device to pictures, a few a second.

What comes is not trusted to be small, nor to come in time: pictures are bounded in pixels, waiting in seconds.
The decoder is FFmpeg's own, in this process, which holds no models, no points and no keys of a node.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from littoral.errors import NotFoundError, PeerError, SetupError
from littoral.tensors import Array

__all__ = ["Picture", "Shape", "Source"]

PIXELS_MAX = 64 << 20
GREY_SIZE = (64, 48)
TIMEOUT_S = 10.0
JPEG = "image/jpeg"
NETWORK = ("rtsp://", "rtsps://", "http://", "https://", "rtmp://", "udp://", "tcp://")
DEVICE = "/dev/video"


class Shape(NamedTuple):
    """How pictures leave: width: at most so wide, with the same proportions. size: exactly so, for raw ones."""

    width: int | None = None
    size: tuple[int, int] | None = None
    quality: int = 4
    is_raw: bool = False


class Picture(NamedTuple):
    """at_s: since the first one. grey: uint8[48, 64]. data: a JPEG, or uint8[height, width, 3]."""

    at_s: float
    grey: Array
    data: bytes | Array


class Source:
    """name: a path, an address, or a device such as `/dev/video0`."""

    def __init__(self, name: str, *, fps: float, shape: Shape, timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self.is_live = name.startswith((*NETWORK, DEVICE))
        self.decoded_count = 0
        self.refused_count = 0
        self._fps = fps
        self._shape = shape
        self._timeout_s = timeout_s

    def pictures(self) -> Iterator[Picture]:
        """From the beginning, or from now, to the end.

        Raises NotFoundError for a file that is not there, PeerError for what cannot be opened or decoded, SetupError
        without the extra `camera`.
        """
        av = _av()
        if not self.is_live and not Path(self.name).exists():
            raise NotFoundError(f"`{self.name}`: no such file")
        try:
            with self._opened(av) as container:
                yield from self._pictures(container)
        except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
            raise PeerError(f"`{self.name}`: {getattr(error, 'strerror', None) or error}") from error

    def _opened(self, av: Any) -> Any:
        options = {"rtsp_transport": "tcp"} if self.name.startswith("rtsp") else {}
        kind = "v4l2" if self.name.startswith(DEVICE) else None
        return av.open(self.name, mode="r", format=kind, options=options, timeout=self._timeout_s)

    def _pictures(self, container: Any) -> Iterator[Picture]:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first: float | None = None
        due = 0.0
        for frame in container.decode(stream):
            self.decoded_count += 1
            at_s = (
                float(frame.time) if frame.time is not None else self.decoded_count / float(stream.average_rate or 25)
            )
            first = at_s if first is None else first
            if at_s - first < due - 1e-6:
                continue
            due = max(due + 1 / self._fps, at_s - first)
            if frame.width * frame.height > PIXELS_MAX:
                self.refused_count += 1
                continue
            yield Picture(at_s - first, _grey(frame), self._shaped(frame))

    def _shaped(self, frame: Any) -> bytes | Array:
        shape = self._shape
        if shape.is_raw:
            width, height = shape.size or (frame.width, frame.height)
            array: Array = frame.reformat(width, height, "rgb24").to_ndarray()
            return np.ascontiguousarray(array)
        width = min(frame.width, shape.width or frame.width)
        height = max(2, round(frame.height * width / frame.width))
        return _jpeg(frame, width - width % 2, height - height % 2, shape.quality)


def _jpeg(frame: Any, width: int, height: int, quality: int) -> bytes:
    """FFmpeg's encoder; one for each picture, because it holds a picture back until it is told that none follows."""
    picture = frame.reformat(width, height, "yuvj420p")
    picture.pts = None
    context = _av().CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
    context.time_base = Fraction(1, 25)
    context.options = {"qmin": str(quality), "qmax": str(quality)}
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])


def _grey(frame: Any) -> Array:
    array: Array = frame.reformat(*GREY_SIZE, "gray").to_ndarray()
    return array


def _av() -> Any:
    try:
        import av
        import av.error
    except ModuleNotFoundError as error:
        raise SetupError("`littoral camera` needs PyAV", hint="pip install 'littoral[camera]'") from error
    with contextlib.suppress(AttributeError):
        av.logging.set_level(None)
    return av
