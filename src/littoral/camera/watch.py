"""A source to a target: decoding in a thread, sending in an event loop, and between them the latest picture alone.

Of a live source a picture that a newer one overtakes is dropped and counted, and when it ends it is opened again.
A file is waited for: every picture is sent, in order.
"""

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from littoral.camera.motion import MotionGate
from littoral.camera.source import JPEG, Picture, Source
from littoral.camera.target import Target
from littoral.clock import SYSTEM, Clock
from littoral.errors import LittoralError, PeerError
from littoral.mqtt.back_off import BackOff
from littoral.tensors import encode_frame

__all__ = ["Counts", "Watch"]

WAITING_COUNT_MAX = 2
SAFETENSORS = "application/x-safetensors"


@dataclass
class Counts:
    """superseded: overtaken by a newer one. still: held back by the motion gate. last: why the source ended last."""

    pictures: int = 0
    still: int = 0
    superseded: int = 0
    sent: int = 0
    failed: int = 0
    sent_bytes: int = 0
    reopened: int = 0
    last: str = ""
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=512))

    def told(self) -> dict[str, Any]:
        """As JSON; `answer_ms` is the median of the latest 512."""
        told = {name: value for name, value in vars(self).items() if name != "times_ms"}
        return told | {"answer_ms": round(float(np.median(self.times_ms)), 3) if self.times_ms else None}


class Watch:
    """raw: name of the tensor, for pictures that are not JPEG. is_live: as a camera is, also for a file.

    on_trouble: called from another thread with why a live source ended, where that is news.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        gate: MotionGate,
        *,
        name: str = "camera",
        raw: str = "",
        is_live: bool | None = None,
        on_answer: Callable[[str, Any], object] = lambda _id, _answer: None,
        on_trouble: Callable[[str], object] = lambda _why: None,
        rng: random.Random | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.counts = Counts()
        self._source = source
        self._target = target
        self._gate = gate
        self._name = name
        self._raw = raw
        self._is_live = source.is_live if is_live is None else is_live
        self._on_answer = on_answer
        self._on_trouble = on_trouble
        self._back_off = BackOff(rng or random.Random())  # noqa: S311  pauses are no secret
        self._clock = clock
        self._stopped = threading.Event()
        self._waiting: deque[Picture] = deque()
        self._has_news = threading.Condition()
        self._is_over = False
        self._failure: LittoralError | None = None

    def stop(self) -> None:
        """From any thread."""
        self._stopped.set()
        with self._has_news:
            self._has_news.notify_all()

    async def run(self) -> None:
        """Until the file ends, or `stop`. Raises what keeps a file from being read."""
        decoding = threading.Thread(target=self._decode, name="littoral-decode", daemon=True)
        decoding.start()
        try:
            while (picture := await asyncio.to_thread(self._next)) is not None:
                await self._send(picture)
        finally:
            self.stop()
        if self._failure is not None:
            raise self._failure

    def _next(self) -> Picture | None:
        with self._has_news:
            self._has_news.wait_for(lambda: self._waiting or self._is_over or self._stopped.is_set())
            picture = self._waiting.popleft() if self._waiting and not self._stopped.is_set() else None
            self._has_news.notify_all()
            return picture

    async def _send(self, picture: Picture) -> None:
        began = self._clock.monotonic()
        frame_id = f"{self._name}-{round(self._clock.wall() * 1000)}-{self.counts.sent + self.counts.failed}"
        try:
            data, media_type = self._encoded(picture)
            answer = await self._target.send(data, media_type, frame_id)
        except LittoralError as error:
            self.counts.failed += 1
            self.counts.last = str(error)
            return
        self.counts.sent += 1
        self.counts.sent_bytes += len(data)
        self.counts.times_ms.append((self._clock.monotonic() - began) * 1000)
        self._on_answer(frame_id, answer)

    def _encoded(self, picture: Picture) -> tuple[bytes, str]:
        if isinstance(picture.data, bytes):
            return picture.data, JPEG
        return encode_frame({self._raw: picture.data}), SAFETENSORS

    def _decode(self) -> None:
        try:
            while not self._stopped.is_set():
                self._decode_once()
                if not self._source.is_live:
                    break
                self.counts.reopened += 1
                self._stopped.wait(self._back_off.next_s())
        except LittoralError as error:
            self._failure = error
        finally:
            with self._has_news:
                self._is_over = True
                self._has_news.notify_all()

    def _decode_once(self) -> None:
        began = self._clock.monotonic()
        try:
            for picture in self._source.pictures():
                if self._is_live and not self._source.is_live:
                    self._stopped.wait(max(0.0, began + picture.at_s - self._clock.monotonic()))
                if self._stopped.is_set():
                    return
                self._back_off.reset()
                self._offer(picture)
        except PeerError as error:
            if not self._source.is_live:
                raise
            if str(error) != self.counts.last:
                self._on_trouble(str(error))
            self.counts.last = str(error)

    def _offer(self, picture: Picture) -> None:
        self.counts.pictures += 1
        if not self._gate.lets_through(picture.grey, self._clock.monotonic() if self._is_live else picture.at_s):
            self.counts.still += 1
            return
        with self._has_news:
            if self._is_live:
                self.counts.superseded += len(self._waiting)
                self._waiting.clear()
            else:
                self._has_news.wait_for(lambda: len(self._waiting) < WAITING_COUNT_MAX or self._stopped.is_set())
            self._waiting.append(picture)
            self._has_news.notify_all()
