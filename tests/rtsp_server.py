"""A camera that speaks RTSP: H.264 over one TCP connection, a bar that moves; with a password, where asked, by digest.

RTSP is RFC 2326, interleaving its section 10.12, the payload RFC 6184: single NAL units, and FU-A for large ones.
"""

import base64
import contextlib
import hashlib
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from functools import cache

import av
import numpy as np

WIDTH, HEIGHT, RATE, FRAMES = 160, 120, 50, 40
PAYLOAD_MAX = 1200
CLOCK_HZ = 90_000
REALM, NONCE = "camera", "4f3a19"
STREAM = "/stream1"


def bar(number: int) -> np.ndarray:
    """Pixels of a frame: white from column 3 × number on, 30 columns wide, on a dark texture that fills packets."""
    pixels = np.random.default_rng(1).integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, 3 * number : 3 * number + 30] = 255
    return pixels


@cache
def units() -> tuple[list[bytes], list[list[bytes]]]:
    """Parameter sets, and the NAL units of each frame."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = WIDTH, HEIGHT, "yuv420p", RATE
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "20", "x264-params": "sliced-threads=0"}
    shown = [av.VideoFrame.from_ndarray(bar(number), format="rgb24") for number in range(FRAMES)]
    packets = [bytes(packet) for frame in [*shown, None] for packet in encoder.encode(frame)]
    frames = [[unit for unit in re.split(b"\0\0\0?\1", packet) if unit] for packet in packets]
    sets = [unit for unit in frames[0] if unit[0] & 31 in (7, 8)]
    return sets, [[unit for unit in frame if unit[0] & 31 in (1, 5)] for frame in frames]


def payloads(unit: bytes) -> Iterator[bytes]:
    if len(unit) <= PAYLOAD_MAX:
        yield unit
        return
    parts = [unit[at : at + PAYLOAD_MAX] for at in range(1, len(unit), PAYLOAD_MAX)]
    for index, part in enumerate(parts):
        place = 0x80 * (index == 0) | 0x40 * (index == len(parts) - 1)
        yield bytes([unit[0] & 0x60 | 28, place | unit[0] & 31]) + part


class _Visit(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        self.server.sockets.add(self.connection)
        with contextlib.suppress(OSError):
            while (request := self._request()) is not None:
                method, headers = request
                self.server.seen.append(method)
                if not self._may_pass(method, headers):
                    challenge = f'WWW-Authenticate: Digest realm="{REALM}", nonce="{NONCE}"'
                    self._answer(headers, "401 Unauthorized", challenge)
                    continue
                self._answer(headers, "200 OK", *self._lines(method), body=self._body(method))
                if method == "PLAY":
                    self._stream()

    def finish(self) -> None:
        self.server.sockets.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def _request(self) -> tuple[str, dict[str, str]] | None:
        if not (first := self.rfile.readline()):
            return None
        lines = iter(self.rfile.readline, b"\r\n")
        headers = dict(line.decode().strip().split(": ", 1) for line in lines if line)
        return first.decode().split()[0], headers

    def _may_pass(self, method: str, headers: dict[str, str]) -> bool:
        """As RFC 2069 has it, without qop."""
        if self.server.account is None:
            return True
        given = dict(re.findall(r'(\w+)="([^"]*)"', headers.get("Authorization", "")))
        user, password = self.server.account
        secrets = (f"{user}:{REALM}:{password}", f"{method}:{given.get('uri')}")
        first, second = (hashlib.md5(text.encode()).hexdigest() for text in secrets)
        return given.get("response") == hashlib.md5(f"{first}:{NONCE}:{second}".encode()).hexdigest()

    def _answer(self, headers: dict[str, str], status: str, *lines: str, body: str = "") -> None:
        head = [f"RTSP/1.0 {status}", f"CSeq: {headers['CSeq']}", *lines, f"Content-Length: {len(body)}"]
        self.wfile.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    def _lines(self, method: str) -> list[str]:
        if method == "OPTIONS":
            return ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        if method == "DESCRIBE":
            return ["Content-Type: application/sdp"]
        transport = ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"] if method == "SETUP" else []
        return ["Session: 1", *transport]

    def _body(self, method: str) -> str:
        if method != "DESCRIBE":
            return ""
        sets = units()[0]
        told = ",".join(base64.b64encode(unit).decode() for unit in sets)
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=bar", "t=0 0", "m=video 0 RTP/AVP 96", "a=control:track1"]
        lines += [f"a=rtpmap:96 H264/{CLOCK_HZ}", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={told}"]
        return "\r\n".join(lines) + "\r\n"

    def _stream(self) -> None:
        """Frames at their rate, again and again, until the camera falls silent or is switched off."""
        number = 0
        for at in range(self.server.frame_count):
            packets = [payload for unit in units()[1][at % FRAMES] for payload in payloads(unit)]
            for payload in packets:
                self._packet(payload, number, at * CLOCK_HZ // RATE, is_last=payload is packets[-1])
                number += 1
            if self.server.is_off.wait(1 / RATE):
                return
        self.server.is_off.wait()

    def _packet(self, payload: bytes, number: int, at: int, *, is_last: bool) -> None:
        head = struct.pack(">BBHII", 0x80, 96 | 0x80 * is_last, number & 0xFFFF, at & 0xFFFFFFFF, 0x1234)
        self.wfile.write(struct.pack(">cBH", b"$", 0, len(head) + len(payload)) + head + payload)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False

    def __init__(self, port: int, account: tuple[str, str] | None, frame_count: int) -> None:
        self.account = account
        self.frame_count = frame_count
        self.seen: list[str] = []
        self.sockets: set[socket.socket] = set()
        self.is_off = threading.Event()
        super().__init__(("127.0.0.1", port), _Visit)
        self.port = self.server_address[1]


@contextlib.contextmanager
def rtsp_camera(
    port: int = 0, account: tuple[str, str] | None = None, frame_count: int = 1_000_000
) -> Iterator[_Server]:
    """A camera that is switched off at the end. account: the user and the password it asks for."""
    server = _Server(port, account, frame_count)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield server
    finally:
        server.is_off.set()
        for connection in list(server.sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.shutdown()
        serving.join()
        server.server_close()
