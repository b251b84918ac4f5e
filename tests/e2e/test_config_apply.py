"""Another site file for real nodes: taken while they serve, with a restart, taken back; and what a slip in it costs."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import littoral as package
from command import command, environment
from command import littoral as cli
from littoral.artifact import Store
from littoral.node.config.texts import SiteTexts
from onnx_models import squeeze_excite
from page_pictures import draw, jpeg
from processes import host_of
from raw_http import send, send_json
from supervised import short_folder
from upped import Changing, asked_all_along
from waiting import until

pytestmark = pytest.mark.e2e

POINT = {"points": [{"id": 7, "vector": [1, 2, 3, 4, 5], "payload": {"n": 7}}]}
TWO = {"points": [*POINT["points"], {"id": 8, "vector": [5, 4, 3, 2, 1]}]}


@pytest.fixture
def up() -> Iterator[Changing]:
    with short_folder() as folder:
        made = Changing(folder)
        yield made
        made.end(signal.SIGKILL)


def test_what_needs_no_restart_counts_while_the_node_serves(up: Changing) -> None:
    up.start()
    pid = up.pid()
    other = package.compile(squeeze_excite(32), name="other", version="2.0.0")
    with_store = Store()
    with_store.record(other.digest)
    other.save(up.site.with_name("other.wasm"))
    changed = up.text.replace('"embedder.wasm"', '"other.wasm"') + (
        '\n[limits]\nbody_bytes_max = 2048\n\n[telemetry.logs]\nrequests = "all"\n'
    )
    code, out = up.apply(changed)
    assert code == 0, out
    assert "the node took it while it served" in out
    assert "hot      models.embedder.path" in out
    assert up.pid() == pid
    assert send(up.address, "POST", "/pipelines/embed", b"x" * 4096).status == 413
    models = send(up.address, "GET", "/v2/models/embedder").json
    assert models["versions"] == ["2"]
    until(lambda: "/v2/models" in up.errors.read_text())
    assert up.site.read_text() == changed
    assert up.site.with_name("site.toml.previous").read_text() == up.text
    missing = changed.replace('"other.wasm"', '"third.wasm"')
    code, out = up.apply(missing)
    assert code == 4
    assert "third.wasm" in out
    assert up.site.read_text() == changed


PICTURE = jpeg(draw(0, 0))
MORE = """
[collections.more]
vectors = { size = 5, distance = "Dot" }
"""
NEAR_MORE = """
[pipelines.near_more]
steps = [{ agent = "decode" }, { model = "embedder" }, { search = "more", limit = 1 }]
"""


def test_collections_and_pipelines_come_and_go_while_the_node_serves(up: Changing) -> None:
    """Points of collections that the file names no more stay; of a file that does not hold nothing is left behind."""
    up.start()
    assert up.process is not None
    pid, host = up.pid(), host_of(up.process.pid, "frames")
    code, out = up.apply(up.text + MORE + NEAR_MORE)
    assert code == 0, out
    assert "hot      collections.more: nothing → " in out
    assert "hot      pipelines.near_more: nothing → " in out
    assert send_json(up.address, "PUT", "/collections/more/points?wait=true", POINT).status == 200
    found = send(up.address, "POST", "/pipelines/near_more", PICTURE)
    assert (found.status, [hit["id"] for hit in found.json["result"]]) == (200, [7])
    code, out = up.apply(up.text)
    assert (code, "its points stay" in out) == (0, True), out
    assert send(up.address, "POST", "/pipelines/near_more", PICTURE).status == 404
    assert send(up.address, "GET", "/collections/more/points/7").status == 200
    code, err = up.apply(up.text + MORE.replace("size = 5", "size = 4") + MORE.replace("more", "most"))
    assert (code, "`collections.more` is 4 × Dot, on disk it has 5 × Dot" in err) == (5, True), err
    assert send(up.address, "GET", "/collections/most").status == 404
    assert up.site.read_text() == up.text
    assert (up.pid(), host_of(up.process.pid, "frames")) == (pid, host)


def test_a_pipeline_has_other_steps_between_two_requests(up: Changing) -> None:
    """Those under way end by the steps with which they began; a file whose steps do not fit leaves all as it was."""
    up.text += MORE + NEAR_MORE
    up.site.write_text(up.text)
    up.start()
    pid = up.pid()
    assert send_json(up.address, "PUT", "/collections/more/points?wait=true", TWO).status == 200

    def found() -> tuple[int, int]:
        reply = send(up.address, "POST", "/pipelines/near_more", PICTURE)
        return reply.status, len(reply.json["result"])

    with asked_all_along(found) as seen:
        until(lambda: (200, 1) in seen)
        code, out = up.apply(up.text.replace("limit = 1", "limit = 2"))
        assert (code, "hot      pipelines.near_more: " in out) == (0, True), out
        until(lambda: (200, 2) in seen)
    assert set(seen) == {(200, 1), (200, 2)}
    assert seen == sorted(seen)
    misfit = NEAR_MORE.replace('{ model = "embedder" }, ', "")
    code, err = up.apply(up.text.replace(NEAR_MORE, misfit))
    assert (code, "pipeline `near_more`" in err) == (5, True), err
    assert send(up.address, "POST", "/pipelines/near_more", PICTURE).json["result"][1:] != []
    assert up.pid() == pid


MISSING = '\n[agents.gone]\npath = "missing.wasm"\n'
SMALL = """
[agents.small]
path = "builtin:image"
config = { width = 8, height = 8 }

[pipelines.thumbs]
steps = [{ agent = "small" }]
"""


def test_agents_come_and_go_while_the_node_serves(up: Changing) -> None:
    """With the pipelines that name them; what cannot be opened leaves nothing behind."""
    up.start()
    pid = up.pid()

    def agents() -> list[str]:
        return sorted(one["name"] for one in send(up.address, "GET", "/api/agents").json)

    before = agents()
    code, out = up.apply(up.text + SMALL)
    assert (code, "hot      agents.small: nothing → " in out) == (0, True), out
    assert agents() == sorted([*before, "small"])
    assert send(up.address, "POST", "/pipelines/thumbs", PICTURE).status == 200
    code, err = up.apply(up.text + SMALL + SMALL.replace("small", "more").replace("thumbs", "others") + MISSING)
    assert (code, "missing.wasm" in err) == (4, True), err
    assert agents() == sorted([*before, "small"])
    with asked_all_along(lambda: send(up.address, "POST", "/pipelines/thumbs", PICTURE).status) as seen:
        until(lambda: 200 in seen)
        code, out = up.apply(up.text)
        assert (code, "hot      agents.small: " in out) == (0, True), out
        until(lambda: 404 in seen)
    assert (set(seen), seen, agents()) == ({200, 404}, sorted(seen), before)
    assert up.apply(up.text + SMALL)[0] == 0
    assert send(up.address, "POST", "/pipelines/thumbs", PICTURE).status == 200
    assert up.pid() == pid


def test_agents_have_other_settings_between_two_requests(up: Changing) -> None:
    """What does not fit the pipelines leaves them as they were."""
    up.text += SMALL
    up.site.write_text(up.text)
    up.start()
    pid = up.pid()

    def width() -> tuple[int, int]:
        found = send(up.address, "POST", "/pipelines/thumbs", PICTURE)
        return found.status, found.json["result"]["outputs"]["image"]["shape"][-1]

    with asked_all_along(width) as seen:
        until(lambda: (200, 8) in seen)
        code, out = up.apply(up.text.replace("width = 8, height = 8", "width = 16, height = 16"))
        assert (code, "hot      agents.small.config" in out) == (0, True), out
        until(lambda: (200, 16) in seen)
    assert set(seen) == {(200, 8), (200, 16)}
    assert seen == sorted(seen)
    code, err = up.apply(up.text.replace("width = 32", "width = 16"))  # the agent of the other pipelines
    assert code != 0, err
    assert (width(), up.pid()) == ((200, 16), pid)


QUOTA = """
[auth]
tokens = "tokens.json"

[[tenants]]
name = "acme"
models = ["embedder"]
quota = { requests_per_s = 0.01, points_max = 0 }

[tenants.collections.frames]
vectors = { size = 5, distance = "Cosine" }
"""


def test_another_quota_of_a_tenant_counts_while_the_node_serves(up: Changing) -> None:
    up.text += QUOTA
    up.site.write_text(up.text)
    up.start()
    pid = up.pid()
    made = cli("tokens", "new", up.site, "a", "--roles", "read,write", "--tenant", "acme", "--json")
    shown = {"api-key": str(made.json["token"])}

    def write() -> int:
        path, body = "/collections/frames/points?wait=true", json.dumps(POINT).encode()
        return send(up.address, "PUT", path, body, {"content-type": "application/json"} | shown).status

    until(lambda: write() == 429)
    for quota, status in (("requests_per_s = 1000.0, points_max = 0", 403), ("requests_per_s = 1000.0", 200)):
        code, out = up.apply(up.text.replace("requests_per_s = 0.01, points_max = 0", quota))
        assert code == 0, out
        assert "the node took it while it served" in out
        assert write() == status
    assert up.pid() == pid


def test_a_restart_of_the_node_leaves_shard_hosts_and_points(up: Changing) -> None:
    up.start()
    assert up.process is not None
    assert send_json(up.address, "PUT", "/collections/frames/points?wait=true", POINT).status == 200
    pid, host = up.pid(), host_of(up.process.pid, "frames")
    control = up.site.parent / "data/.control"
    assert [path.stat().st_mode & 0o777 for path in (control, control / "host.sock")] == [0o700, 0o600]
    changed = up.text + '\n[pipelines.more]\nsteps = [{ agent = "decode" }]\n\n[repository]\nwatch_s = 9.0\n'
    code, out = up.apply(changed)
    assert code == 0, out
    assert "restart  repository.watch_s" in out
    assert up.pid() != pid
    assert host_of(up.process.pid, "frames") == host
    assert send(up.address, "GET", "/v2/models/more").status == 200
    assert send(up.address, "GET", "/collections/frames/points/7").json["result"]["payload"] == {"n": 7}
    assert cli("config", "diff", up.site).out == "nothing differs\n"
    up.end()
    up.start()  # and it is what the next start finds
    assert send(up.address, "GET", "/v2/models/more").status == 200


def test_what_keeps_the_node_from_serving_is_taken_back(up: Changing) -> None:
    up.start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = up.apply(up.text.replace(f":{up.port}", f":{port}"))
    assert code == 5
    assert f"goes back to the one before: address `127.0.0.1:{port}` cannot be listened at" in err
    assert up.site.read_text() == up.text
    assert not up.site.with_name("site.toml.previous").exists()
    up.wait_ready()
    assert send(up.address, "GET", "/v2/models/similar").status == 200


def test_what_would_lose_data_is_never_tried(up: Changing) -> None:
    up.start()
    pid = up.pid()
    code, err = up.apply(up.text.replace("size = 5", "size = 6"))
    assert code == 5
    assert "`collections.frames.vectors.size`: a collection never changes it" in err
    assert (up.pid(), up.site.read_text()) == (pid, up.text)
    done = cli("config", "diff", up.site, up.new, "--json")
    assert done.code == 1
    assert [(row["key"], row["needs"]) for row in done.json] == [("collections.frames.vectors.size", "refused")]


def test_a_supervisor_that_dies_in_a_trial_leaves_the_file_as_it_was(up: Changing) -> None:
    up.start()
    assert up.process is not None
    up.new.write_text(up.text + '\n[pipelines.more]\nsteps = [{ agent = "decode" }]\n')
    running = SiteTexts(up.site).running
    applying = subprocess.Popen(
        command("config", "apply", up.site, up.new), env=environment(), stderr=subprocess.PIPE, text=True
    )
    until(lambda: "pipelines.more" in running.read_text())
    up.end(signal.SIGKILL)
    _, err = applying.communicate(timeout=120)
    is_done = applying.returncode == 0  # it may have been quicker
    assert is_done or "whether the node took the site file is not known" in err
    assert up.site.read_text() == (up.new.read_text() if is_done else up.text)
    up.start()
    assert (send(up.address, "GET", "/v2/models/more").status == 200) == is_done


def test_a_slip_in_the_file_counts_when_it_is_taken_not_when_the_node_dies(up: Changing) -> None:
    up.start()
    pid = up.pid()
    up.site.write_text(up.text.replace("name =", "nam ="))
    os.kill(pid, signal.SIGKILL)
    until(lambda: up.pid() != pid)
    up.wait_ready()
    assert up.process is not None
    up.process.send_signal(signal.SIGHUP)
    until(lambda: "site file: refused: " in up.errors.read_text())
    assert "`node.nam` is unknown" in up.errors.read_text()
    assert up.is_ready()
    up.site.write_text(up.text + "\n[limits]\nbody_bytes_max = 2048\n")
    up.process.send_signal(signal.SIGHUP)
    until(lambda: "site file: hot" in up.errors.read_text())
    assert send(up.address, "POST", "/pipelines/embed", b"x" * 4096).status == 413


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [("name =", "nam =", "`node.nam` is unknown"), ('"embedder.wasm"', '"missing.wasm"', "missing.wasm")],
)
def test_with_the_last_good_one_a_node_starts_whatever_the_file_says(
    up: Changing, right: str, wrong: str, told: str
) -> None:
    up.start()
    up.end()
    up.site.write_text(up.text.replace(right, wrong))
    refused = cli("up", up.site)
    assert refused.code == 5
    assert told in refused.err
    up.start("--last-good")
    assert "the node is started with the site file that served last" in up.errors.read_text()
    assert send(up.address, "GET", "/v2/models/similar").status == 200
    found = cli("config", "apply", up.site, _written(up.new, up.text))
    assert found.code == 0, found.err
    assert up.site.read_text() == up.text


def test_without_a_node_it_counts_at_the_next_start(up: Changing) -> None:
    changed = up.text + "\n[limits]\nbody_bytes_max = 2048\n"
    code, out = up.apply(changed)
    assert code == 0, out
    assert "no node runs with it" in out
    assert up.site.read_text() == changed


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
