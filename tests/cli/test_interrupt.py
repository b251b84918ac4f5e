"""Ctrl-C ends a verb with its exit code, whatever it waits for."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from command import command, environment


@pytest.mark.parametrize("verb", ["search", "index"])
def test_ctrl_c_ends_a_verb(verb: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"x")
    options = ["--collection", "frames", "--pipeline", "embed"] if verb == "index" else []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            command(verb, picture, "--url", url, *options), stderr=subprocess.PIPE, text=True, env=environment()
        )
        with process, silent.accept()[0] as connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""
