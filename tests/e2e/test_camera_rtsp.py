"""`littoral camera` on a camera that speaks RTSP: its frames, its password, its end and its return; and on devices."""

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from command import command, environment
from command import littoral as cli
from littoral.camera.source import Pace, Shape, Source
from littoral.errors import InputError, NotFoundError, PeerError
from node_fixture import Served, node_in_thread
from ports import free_port
from rtsp_server import FRAMES, RATE, STREAM, bar, rtsp_camera
from supervised import short_folder

pytestmark = pytest.mark.e2e
ACCOUNT = ("door", "p@ss")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder, node_in_thread(folder) as node:
        yield node


def address(port: int, account: str = "") -> str:
    return f"rtsp://{account}127.0.0.1:{port}{STREAM}"


def left_edge(pixels: np.ndarray) -> int:
    return int(np.flatnonzero(pixels.mean(axis=(0, 2)) > 128)[0])


def test_frames_are_those_of_the_camera() -> None:
    with rtsp_camera() as camera:
        source = Source(address(camera.port), fps=RATE * 4, shape=Shape(is_raw=True))
        found = list(islice(source.pictures(), FRAMES + 10))
    assert camera.seen[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    edges = [left_edge(picture.data) for picture in found]
    number = edges[2] // 3
    assert edges[2:] == [3 * ((number + i) % FRAMES) for i in range(len(edges) - 2)]
    assert np.diff([picture.at_s for picture in found[2:]]) == pytest.approx(1 / RATE)
    assert np.abs(found[2].data.astype(int) - bar(number)).mean() < 12


def test_a_camera_that_dies_is_opened_again(served: Served) -> None:
    options = ["--to", f"{served.url}/pipelines/embed", "--fps", "50", "--answers", "--json"]
    with contextlib.ExitStack() as stack:
        with rtsp_camera(port := free_port()):
            process = stack.enter_context(
                subprocess.Popen(
                    command("camera", address(port), *options),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment(),
                )
            )
            stack.callback(process.kill)
            answers(process, 5)
        said = told_by(process)
        with rtsp_camera(port):
            answers(process, 60)
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=120)
    assert f"`{address(port)}`: " in said
    assert said.endswith("; trying again")
    counts = json.loads(rest[rest.index(b"{\n") :])
    assert counts["reopened"] >= 1
    assert counts["sent"] >= 65
    assert counts["failed"] == 0


def answers(process: "subprocess.Popen[bytes]", count: int) -> None:
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline().startswith(b'{"id"')


def told_by(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    return process.stderr.readline().decode().strip()


def test_a_camera_that_falls_silent_is_an_error_in_time() -> None:
    with rtsp_camera(frame_count=5) as camera:
        source = Source(address(camera.port), fps=RATE, shape=Shape(), timeout_s=3.0)
        with pytest.raises(PeerError, match=STREAM):
            list(source.pictures())
    assert 3 <= source.decoded_count <= 5


def test_a_password_is_given() -> None:
    with rtsp_camera(account=ACCOUNT) as camera:
        picture = next(Source(address(camera.port, "door:p%40ss@"), fps=5, shape=Shape()).pictures())
    assert isinstance(picture.data, bytes)
    assert picture.data.startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("account", ["", "door:secret@"])
def test_a_wrong_password_ends_the_command_and_is_not_shown(account: str) -> None:
    with rtsp_camera(account=ACCOUNT) as camera:
        done = cli("camera", address(camera.port, account))
    assert done.code == 4
    assert f"`{address(camera.port)}`: Server returned 401 Unauthorized" in done.err
    assert "hint: user and password stand in the address" in done.err
    assert "secret" not in done.err


def test_a_password_that_is_refused_later_is_tried_again() -> None:
    """It was right once: the camera may be starting."""
    with rtsp_camera(port := free_port(), account=ACCOUNT):
        source = Source(address(port, "door:p%40ss@"), fps=5, shape=Shape())
        next(source.pictures())
    with rtsp_camera(port, account=("door", "other")), pytest.raises(PeerError, match="401") as caught:
        next(source.pictures())
    assert "p%40ss" not in str(caught.value)


def test_an_address_where_nothing_listens_is_shown_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PeerError, match="Connection refused") as caught:
            next(Source(address(port, "door:p%40ss@"), fps=5, shape=Shape()).pictures())
    assert caught.value.message.startswith(f"`{address(port)}`")


def test_devices_that_are_no_cameras(tmp_path: Path) -> None:
    for name, error, said in (
        ("/dev/video250", NotFoundError, "`/dev/video250`: no such device"),
        ("/dev/null", InputError, "`/dev/null` is no camera: Inappropriate ioctl for device"),
    ):
        done = cli("camera", name)
        assert (done.code, done.out) == (4, "")
        assert said in done.err
        with pytest.raises(error):
            next(Source(name, fps=1, shape=Shape()).pictures())
    link = tmp_path / "usb-camera"
    link.symlink_to("/dev/null")
    with pytest.raises(InputError, match="usb-camera` is no camera"):
        next(Source(str(link), fps=1, shape=Shape()).pictures())


def test_frames_are_taken_by_the_clock_of_the_source() -> None:
    pace = Pace(fps=2, rate=10)
    times = [None, 0.0, 0.1, 0.5, 0.6, 1.0, 7.0, 7.2, 7.5, 2.0, 2.1, 2.5, None, 3.0]
    taken = [time for time in times if pace.takes(time) is not None]
    assert taken == [None, 0.5, 1.0, 7.0, 7.2, 7.5, 2.0, 2.5, 3.0]
