#!/usr/bin/env python3
"""Makes data as an earlier commit of this repository wrote them, for the test that today's node reads them.

    former_data.py COMMIT OUT.tar.xz

Checks the commit out aside, installs what its own locks say, runs its node, and fills it over HTTP; then cuts its
power, and packs site file, model, data and state, with what the node had answered. Ids of segments and tokens are drawn
anew each time; all else is the same.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = "expected.json"
LEFT_OUT = (".sock", ".lock")
CACHE = "\n[cache]\ndisk_mb = 4\n"
AUTH = "\n[auth]\n"
TEXTS = """
[models.encoder]
path = "encoder.wasm"

[agents.words]
path = "builtin:text"
files = { tokenizer = "tokenizer.json" }
config = { max_tokens = 32 }

[pipelines.sentences]
steps = [{ agent = "words" }, { model = "encoder" }]
"""
"""For embeddings in the cache on disk. The model is half a megabyte, so it does not go into the archive."""

NAMED = {
    "vectors": {"image": {"size": 4, "distance": "Dot"}, "text": {"size": 3, "distance": "Cosine"}},
    "sparse_vectors": {"words": {}},
}
COUNT = 60
EMBEDDED_COUNT = 5


def main(commit: str, out: Path) -> None:
    """The commit's own interpreter does what follows `--write`."""
    with tempfile.TemporaryDirectory(prefix="littoral-former-") as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(source, filter="data")
        locks = ["node", "demo", "dev"]
        subprocess.run([sys.executable, "tools/venv.py", ".venv", *locks], cwd=source, check=True)
        made = folder / "made"
        made.mkdir()
        variables = {"LITTORAL_STATE": str(made / "state"), "LITTORAL_CACHE": str(folder / "cache")}
        variables["PYTHONPATH"] = str(source / "tests")
        python = source / ".venv/bin/python"
        subprocess.run([python, __file__, "--write", made], env=dict(os.environ) | variables, check=True)
        write_archive(made, out)


def write_archive(folder: Path, out: Path) -> None:
    """Sorted, without times and owners."""
    with tarfile.open(out, "w:xz", preset=9, format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.name.endswith(LEFT_OUT) or path.is_socket():
                continue
            entry = tar.gettarinfo(path, str(path.relative_to(folder)))
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
            with path.open("rb") if path.is_file() else io.BytesIO() as content:
                tar.addfile(entry, content if path.is_file() else None)
    print(f"{out}: {out.stat().st_size} bytes")


class Client:
    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, content: bytes | None = None) -> Any:
        data = content if body is None else json.dumps(body).encode()
        headers = self._headers | {"Content-Type": "application/octet-stream" if body is None else "application/json"}
        request = urllib.request.Request(f"http://{self._address}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error


def write(folder: Path) -> None:
    """With the package and the tests of the commit on the path."""
    from littoral.artifact import Model
    from mixed_texts import wordpiece  # type: ignore[import-not-found]
    from page_pictures import page_pictures  # type: ignore[import-not-found]
    from site_folder import TEXT, site_folder  # type: ignore[import-not-found]
    from text_node import encoder  # type: ignore[import-not-found]

    site_path = folder / "site"
    site_path.mkdir()
    has_tokens = subprocess.run([*LITTORAL, "tokens", "--help"], capture_output=True, check=False).returncode == 0
    left = TEXT + CACHE + (AUTH if has_tokens else "")
    site = site_folder(site_path, left + TEXTS)
    Model(encoder()).save(site_path / "encoder.wasm")
    (site_path / "tokenizer.json").write_text(wordpiece())
    token = ""
    if has_tokens:
        order = [*LITTORAL, "tokens", "new", site, "former", "--roles", "admin"]
        token = subprocess.run(order, capture_output=True, check=True).stdout.decode().strip()
    with subprocess.Popen([*LITTORAL, "up", site], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = next(line.partition("http://")[2].strip() for line in process.stderr if "serves http://" in line)
        expected = filled(Client(address, token), page_pictures()[0].data)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
    site.write_text(left)
    for name in ("encoder.wasm", "tokenizer.json"):
        (site_path / name).unlink()
    (folder / EXPECTED).write_text(json.dumps({"token": token, **expected}, indent=1, sort_keys=True))
    (folder / "picture.jpg").write_bytes(page_pictures()[0].data)


LITTORAL = (sys.executable, "-P", "-m", "littoral")


def filled(node: Client, picture: bytes) -> dict[str, Any]:
    """What it answers once it has been filled."""
    node.ask("PUT", "/collections/parts", NAMED)
    node.ask("PUT", "/collections/parts/index?wait=true", {"field_name": "kind", "field_schema": "keyword"})
    parts = [
        {
            "id": i,
            "vector": {
                "image": [i, 1, i % 7, 2],
                "text": [1, i % 5, 3],
                "words": {"indices": [i % 11, 20], "values": [1.5, 0.5]},
            },
            "payload": {"kind": ("odd", "even")[i % 2], "n": i, "words": ["ä", {"deep": [i]}]},
        }
        for i in range(COUNT)
    ]
    node.ask("PUT", "/collections/parts/points?wait=true", {"points": parts})
    node.ask("POST", "/collections/parts/points/delete?wait=true", {"points": list(range(0, COUNT, 9))})
    frames = [{"id": i + 1, "vector": [1, i, i * i % 13, 2, 3], "payload": {"source": f"s-{i}"}} for i in range(COUNT)]
    node.ask("PUT", "/collections/frames/points?wait=true", {"points": frames})
    node.ask("POST", "/collections/frames/snapshots?wait=true", {})
    node.ask("POST", "/collections/frames/points/payload?wait=true", {"payload": {"late": True}, "points": [3, 4]})
    alias = {"create_alias": {"collection_name": "parts", "alias_name": "pieces"}}
    node.ask("POST", "/collections/aliases", {"actions": [alias]})
    for i in range(EMBEDDED_COUNT):
        node.ask("POST", "/v1/embeddings", {"model": "sentences", "input": f"the pump runs warm, case {i}"})
    return answers(node, picture)


def answers(node: Any, picture: bytes) -> dict[str, Any]:
    """The same questions, then and now. node: has `ask`."""
    everything = {"limit": 1000, "with_payload": True, "with_vector": True}
    odd = {"must": [{"key": "kind", "match": {"value": "odd"}}]}
    query = {"query": [1, 2, 3, 4], "using": "image", "limit": 5, "filter": odd, "params": {"exact": True}}
    return {
        "frames": node.ask("POST", "/collections/frames/points/scroll", everything)["result"]["points"],
        "parts": node.ask("POST", "/collections/pieces/points/scroll", everything)["result"]["points"],
        "found": node.ask("POST", "/collections/parts/points/query", query)["result"]["points"],
        "aliases": node.ask("GET", "/aliases")["result"]["aliases"],
        "snapshots": [one["name"] for one in node.ask("GET", "/collections/frames/snapshots")["result"]],
        "embedded": node.ask("POST", "/pipelines/embed", content=picture)["result"],
    }


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]))
