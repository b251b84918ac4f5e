"""`littoral camera` as people run it: a file, a stream that breaks off, a broker; a real node at the other end."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from broker import running_broker
from command import littoral as cli
from littoral.camera.motion import MotionGate
from littoral.camera.source import Shape, Source
from littoral.errors import NotFoundError, PeerError
from mqtt_site import client_of
from node_fixture import Served, node_in_thread
from page_pictures import page_pictures
from supervised import short_folder

pytestmark = pytest.mark.e2e

FRAMES = 50
RATE = 25


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a bar that moves for one, and then stands still."""
    path = tmp_path_factory.mktemp("video") / "bar.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(FRAMES):
            pixels = np.zeros((120, 160, 3), np.uint8)
            left = 5 * min(number, FRAMES // 2)
            pixels[:, left : left + 30] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder, node_in_thread(folder) as node:
        yield node


def test_a_file_is_sent_frame_by_frame(video: Path, served: Served) -> None:
    done = cli("camera", str(video), "--to", f"{served.url}/pipelines/embed", "--fps", "10", "--answers", "--json")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    answers = [json.loads(line) for line in lines if line.startswith('{"id"')]
    counts = json.loads("\n".join(lines[len(answers) :]))
    assert (counts["pictures"], counts["sent"], counts["failed"], counts["superseded"]) == (20, 20, 0, 0)
    assert len(answers) == 20
    assert {tuple(answer["result"]["outputs"]) for answer in answers} == {("embedding",)}


def test_what_stands_still_is_sent_once(video: Path, served: Served) -> None:
    done = cli(
        "camera", str(video), "--to", f"{served.url}/pipelines/embed", "--fps", "25", "--motion", "0.01", "--json"
    )
    counts = json.loads(done.out)
    assert counts["pictures"] == FRAMES
    assert 20 <= counts["still"] <= 30
    assert counts["sent"] + counts["still"] == FRAMES


def test_of_a_live_source_the_latest_frame_is_sent(video: Path, served: Served) -> None:
    slow = f"{served.url}/pipelines/embed"
    done = cli("camera", str(video), "--to", slow, "--fps", "25", "--live", "--json")
    counts = json.loads(done.out)
    assert counts["pictures"] == FRAMES
    assert counts["sent"] + counts["superseded"] == FRAMES


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.mp4"], 4, "`none.mp4`: no such file"),
        ([__file__], 6, "Invalid data found when processing input"),
        ([__file__, "--to", "ftp://x"], 4, "`--to` is `ftp://x`, must be the address of a pipeline or of a topic"),
        ([__file__, "--to", "http://x/y"], 4, "`--to` is `http://x/y`, which names no pipeline"),
        ([__file__, "--to", "mqtt://x/a/+"], 4, "has a wildcard"),
        ([__file__, "--size", "3x3"], 4, "`--size` has no meaning without `--raw`"),
        ([__file__, "--raw", "x", "--size", "3"], 4, "must be WIDTHxHEIGHT"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], code: int, said: str) -> None:
    done = cli("camera", *arguments)
    assert said in done.err
    assert done.code == code


class BrokenStream(BaseHTTPRequestHandler):
    """MJPEG that breaks off after five pictures, each time."""

    def do_GET(self) -> None:
        self.server.visits.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for picture in page_pictures()[:5]:
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture.data)
                )
                self.wfile.write(picture.data + b"\r\n")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BrokenStream)
    server.visits = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/stream.mjpg"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_that_breaks_off_is_opened_again(stream: str, served: Served) -> None:
    command = ["camera", stream, "--to", f"{served.url}/pipelines/embed", "--fps", "100", "--json"]
    process = subprocess.Popen([sys.executable, "-P", "-m", "littoral", *command, "--answers"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(8):
        assert process.stdout.readline().startswith(b'{"id"')
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read().decode()
    assert process.wait(60) == 0
    counts = json.loads(rest[rest.index("{\n") :])
    assert counts["reopened"] >= 1
    assert counts["sent"] >= 8
    process.stdout.close()


def test_frames_go_to_a_topic(video: Path, tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker, client_of(broker.port) as client:
        client.listen("cameras/#")
        to = f"mqtt://127.0.0.1:{broker.port}/cameras/door/frame"
        done = cli("camera", str(video), "--to", to, "--fps", "5", "--qos", "1", "--name", "door", "--json")
        assert json.loads(done.out)["sent"] == 10, done.err
        found = [client.got.get(timeout=60) for _ in range(10)]
        assert {message.topic for message in found} == {"cameras/door/frame"}
        assert all(message.payload.startswith(b"\xff\xd8\xff") for message in found)
        ids = [dict(message.properties.UserProperty)["id"] for message in found]
        assert len(set(ids)) == 10
        assert all(name.startswith("door-") for name in ids)


def test_pictures_come_at_the_wanted_rate_and_size(video: Path) -> None:
    found = list(Source(str(video), fps=5, shape=Shape(is_raw=True, size=(20, 10))).pictures())
    assert [picture.data.shape for picture in found] == [(10, 20, 3)] * 10
    assert [round(picture.at_s, 1) for picture in found] == [i / 5 for i in range(10)]
    wide = next(iter(Source(str(video), fps=5, shape=Shape(width=81)).pictures()))
    with av.open(__import__("io").BytesIO(wide.data), format="mjpeg") as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (80, 60)


def test_errors_of_sources(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        list(Source(str(tmp_path / "x"), fps=1, shape=Shape()).pictures())
    with pytest.raises(PeerError, match="Connection refused"):
        list(Source("http://127.0.0.1:9/x", fps=1, shape=Shape()).pictures())


def test_the_gate_opens_for_motion_and_for_time() -> None:
    gate = MotionGate(share=0.1, at_least_s=5)
    grey = np.zeros((48, 64), np.uint8)
    moved = grey.copy()
    moved[:10] = 200
    seen = [(grey, 0.0), (grey + 3, 1.0), (moved, 2.0), (moved, 3.0), (moved, 7.5), (moved[:9], 8.0)]
    assert [gate.lets_through(picture, at_s) for picture, at_s in seen] == [True, False, True, False, True, True]
