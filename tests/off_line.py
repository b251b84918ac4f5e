"""A pack on a machine without a network: `off_line.py FILE.run PICTURE PORT`, run in namespaces of its own.

Starts the file with nothing in the environment, asks it, cuts the power, starts it again; JSON lines say what was seen.
Standard library alone: it stands for whoever copied a file to a box.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEADLINE_S = 300
ENVIRONMENT = {"PYTHON": sys.executable}
"""Of the pack: no path, no home."""

POINTS = {"points": [{"id": 7, "vector": [1, 2, 3, 4, 5], "payload": {"n": 7}}]}


def main(file: Path, picture: bytes, port: int) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    tell(networks=[name for _, name in socket.if_nameindex()])
    folder = file.parent / "store-12"
    first = start([file])
    wait_ready(first, port)
    token = made_token(folder)
    tell(embedded=ask(port, "POST", "/pipelines/embed", picture, token))
    tell(written=ask(port, "PUT", "/collections/frames/points?wait=true", json.dumps(POINTS).encode(), token))
    power_cut(first)
    second = start([folder / "littoral"])
    wait_ready(second, port)
    tell(nobody=ask(port, "GET", "/collections/frames/points/7", None, "")[0])
    tell(read=ask(port, "GET", "/collections/frames/points/7", None, token))
    tell(again=ask(port, "POST", "/pipelines/embed", picture, token)[0])
    tell(page=ask(port, "GET", "/", None, "", accept="text/html")[0])
    tell(models=ask(port, "GET", "/api/models", None, token)[1])
    os.kill(second.pid, signal.SIGTERM)
    tell(end=second.wait(60))


def tell(**seen: Any) -> None:
    print(json.dumps(seen), flush=True)


def start(command: list[Path]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, env=ENVIRONMENT, cwd="/", start_new_session=True)


def made_token(folder: Path) -> str:
    """By the pack's own command, in the site's own file."""
    command = [folder / "littoral", "tokens", "new", folder / "site/site.toml", "till", "--roles", "admin", "--json"]
    done = subprocess.run(command, env=ENVIRONMENT, cwd="/", capture_output=True, check=True)
    return str(json.loads(done.stdout)["token"])


def wait_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        assert process.poll() is None, process.returncode
        try:
            if ask(port, "GET", "/readyz", None, "")[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("never ready")


def ask(port: int, method: str, path: str, body: bytes | None, token: str, accept: str = "*/*") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Accept": accept, "Content-Type": "application/json" if path.startswith("/coll") else "image/jpeg"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(data) if "json" in answer.getheader("content-type", "") else len(data)


def power_cut(process: "subprocess.Popen[bytes]") -> None:
    """All of it at once: the supervisor is killed, and the kernel kills what it had started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3]))
