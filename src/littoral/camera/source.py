"""The one door to PyAV for cameras: a file, a stream or a device to pictures, a few a second.

What comes is not trusted to be small, nor to come in time: pictures are bounded in pixels, waiting in seconds.
The decoder is FFmpeg's own, in this process, which holds no models, no points and no keys of a node.
"""

import contextlib
import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from littoral.errors import ForbiddenError, InputError, LittoralError, NotFoundError, PeerError, SetupError
from littoral.tensors import Array

__all__ = ["Pace", "Picture", "Shape", "Source"]

PIXELS_MAX = 64 << 20
GREY_SIZE = (64, 48)
TIMEOUT_S = 10.0
PUT_BACK_S = 1.0
JPEG = "image/jpeg"
NETWORK = ("rtsp://", "rtsps://", "http://", "https://", "rtmp://", "udp://", "tcp://")
DEVICE = "/dev/video"
ACCOUNT_HINT = "user and password stand in the address, rtsp://USER:PASSWORD@HOST/…, with %40 for @ in them"
_NO_CAMERA = (errno.ENOTTY, errno.EINVAL, errno.ENODEV)


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


class Pace:
    """Which frames are taken, so that there are at most `fps` a second of the source's own time.

    rate: of the source, for frames that come without a time, as the first of a stream may.
    """

    def __init__(self, fps: float, rate: float) -> None:
        self._step_s, self._frame_s = 1 / fps, 1 / rate
        self._first_s: float | None = None
        self._last_s = -self._frame_s
        self._due_s = 0.0

    def takes(self, time_s: float | None) -> float | None:
        """Seconds since the first frame; None for one that is left out. A clock that was put back starts a new pace."""
        time_s = self._last_s + self._frame_s if time_s is None else time_s
        self._first_s = time_s if self._first_s is None else self._first_s
        at_s, was_put_back = time_s - self._first_s, time_s < self._last_s - PUT_BACK_S
        self._last_s = time_s
        if at_s < self._due_s - 1e-6 and not was_put_back:
            return None
        self._due_s = at_s + self._step_s if was_put_back else max(self._due_s + self._step_s, at_s)
        return at_s


class Source:
    """name: a path, an address, or a device such as `/dev/video0`. label: the same, without a password."""

    def __init__(self, name: str, *, fps: float, shape: Shape, timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self.label = _without_account(name)
        is_network = name.startswith(NETWORK)
        self.is_device = not is_network and (name.startswith(DEVICE) or Path(name).is_char_device())
        self.is_live = is_network or self.is_device
        self.decoded_count = 0
        self.refused_count = 0
        self._fps = fps
        self._shape = shape
        self._timeout_s = timeout_s

    def pictures(self) -> Iterator[Picture]:
        """From the beginning, or from now, to the end.

        Raises NotFoundError for a file that is not there, PeerError for what cannot be opened or decoded, SetupError
        without the extra `camera`. As long as no picture came: ForbiddenError for a password that is refused,
        NotFoundError, ForbiddenError or InputError for a device that is not there, not ours, or no camera.
        """
        av = _av()
        if not self.is_live and not Path(self.name).exists():
            raise NotFoundError(f"`{self.label}`: no such file")
        try:
            with self._opened(av) as container:
                yield from self._pictures(container)
        except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
            raise self._told(error, is_refused=isinstance(error, _refusals(av))) from error

    def _told(self, error: Exception, *, is_refused: bool) -> LittoralError:
        """What will not come right by itself, and what may."""
        number, why = getattr(error, "errno", None), getattr(error, "strerror", None) or error
        if self.decoded_count == 0 and is_refused:
            return ForbiddenError(f"`{self.label}`: {why}", hint=ACCOUNT_HINT)
        if self.decoded_count == 0 and self.is_device:
            if number == errno.ENOENT:
                return NotFoundError(f"`{self.label}`: no such device", hint=_devices())
            if number == errno.EACCES:
                return ForbiddenError(f"`{self.label}`: {why}", hint="devices belong to the group `video`")
            if number in _NO_CAMERA:
                return InputError(f"`{self.label}` is no camera: {why}", hint=_devices())
        return PeerError(f"`{self.label}`: {why}")

    def _opened(self, av: Any) -> Any:
        options = {"rtsp_transport": "tcp"} if self.name.startswith("rtsp") else {}
        kind = "v4l2" if self.is_device else None
        return av.open(self.name, mode="r", format=kind, options=options, timeout=self._timeout_s)

    def _pictures(self, container: Any) -> Iterator[Picture]:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        pace = Pace(self._fps, float(stream.average_rate or 25))
        for frame in container.decode(stream):
            self.decoded_count += 1
            at_s = pace.takes(None if frame.time is None else float(frame.time))
            if at_s is None:
                continue
            if frame.width * frame.height > PIXELS_MAX:
                self.refused_count += 1
                continue
            yield Picture(at_s, _grey(frame), self._shaped(frame))

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


def _without_account(name: str) -> str:
    if not name.startswith(NETWORK):
        return name
    try:
        parts = urlsplit(name)
    except ValueError:
        return name.partition("://")[0] + "://…"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _devices() -> str:
    found = ", ".join(f"`{path}`" for path in sorted(Path("/dev").glob("video*")))
    return f"there are: {found}" if found else "there is no device of Video4Linux here"


def _refusals(av: Any) -> tuple[type[Exception], ...]:
    return (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)


def _av() -> Any:
    try:
        import av
        import av.error
    except ModuleNotFoundError as error:
        raise SetupError("`littoral camera` needs PyAV", hint="pip install 'littoral[camera]'") from error
    with contextlib.suppress(AttributeError):
        av.logging.set_level(None)
    return av
