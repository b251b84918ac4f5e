"""A real node in a fleet: what it is told to run arrives signed, is tried, serves, and goes back by itself."""

import base64
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from browser import browser
from command import littoral as cli
from fleet_gateway import LOOPS, Gateway, Load, asked, board, in_a_fleet, self_test, spoilt_at, times
from fleet_server import CLAIM, SHORT
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName, Custom
from littoral.updates.trust.http_transport import HttpTransport
from littoral.updates.wire import Gates
from raw_http import send, send_json
from waiting import until

pytestmark = pytest.mark.e2e

SPOILT, LATER = 7.0, 9.0
MIRRORED = Gates(canary_s=2.0, canary_requests_min=30, watch_s=1.0, p99_ratio_max=1000.0)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with in_a_fleet() as made:
        yield made


def test_from_nothing_to_a_version_and_to_the_next(gateway: Gateway) -> None:
    gateway.start()
    assert send_json(gateway.address, "POST", "/v2/models/m/infer", asked(1)).status == 503
    assert send_json(gateway.address, "POST", "/pipelines/twice", {"inputs": {}}).status == 503
    boards = [gateway.fleet.publish(f"dashboards/shop/{i}.json", board(f"Shop {i}")) for i in (1, 2)]
    first = gateway.deploy(times(2), dashboards=boards[:1])
    told = gateway.wait(first, "settled")
    assert told["running"] == {
        "deployment": 1,
        "targets": {"models/m": "models/m/1.wasm", "dashboards/shop": boards[0]},
    }
    assert gateway.factor() == 2
    assert gateway.orchestrator.enrolled[0]["claim"] == CLAIM
    pid = gateway.pid()
    with Load(gateway.address, 1.0) as load:
        gateway.wait(gateway.deploy(times(3), gates=MIRRORED, dashboards=boards[1:]), "settled")
        assert gateway.factor() == 3
    assert shown(gateway) == "Shop 2"
    assert {status for status, _ in load.said} == {200}
    assert {factor for _, factor in load.said} == {2, 3}
    assert gateway.pid() == pid
    assert gateway.told()["back"] == 1
    assert cli("update", "back", "--url", f"http://{gateway.address}").code == 0
    assert gateway.factor() == 2
    assert shown(gateway) == "Shop 1"
    assert gateway.told()["state"] == "rolled_back"
    broken = gateway.fleet.publish("dashboards/shop/3.json", board("Shop <script>"))
    told = gateway.wait(gateway.deploy(times(2), dashboards=[broken]), "refused")
    assert (told["gate"], shown(gateway)) == ("verify", "Shop 1")
    gateway.orchestrator.stop()
    gateway.end()
    gateway.start()
    assert gateway.factor() == 2
    assert "refused" in cli("update", "status", "--url", f"http://{gateway.address}").out


def shown(gateway: Gateway) -> str:
    """Title of the one dashboard, which Grafana's folder has as well."""
    (told,) = json.loads(send(gateway.address, "GET", "/api/dashboards").body)["dashboards"]
    (path,) = gateway.grafana.iterdir()
    assert path.read_bytes() == send(gateway.address, "GET", "/api/dashboards/shop").body
    return str(told["title"])


BAD = {
    "traps": (times(2, before="unreachable"), {}, "refused", "load"),
    "traps on some requests": (spoilt_at(5.0), {}, "refused", "errors"),
    "wrong outputs": (times(-2), {}, "refused", "drift"),
    "slow": (times(2, before=LOOPS), {"p99_ratio_max": 1.5}, "refused", "p99"),
    "memory hog": (times(2, pages="2000 2000"), {"memory_mb_max": 64}, "refused", "memory"),
}


def test_bad_versions_are_caught_and_nobody_notices(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    with Load(gateway.address, 1.0, 5.0, 9.0) as load:
        for what, (wasm, gates, state, gate) in BAD.items():
            number = gateway.deploy(wasm, gates=msgspec.structs.replace(MIRRORED, **gates))
            told = gateway.wait(number, "refused", "rolled_back", "settled")
            assert (what, told["state"], told["gate"]) == (what, state, gate), told
            assert told["running"]["deployment"] == 1
        wrong = gateway.fleet.publish("selftests/m/1.safetensors", self_test(3))
        target = gateway.fleet.publish("models/m/90.wasm", times(2, version="9"), Custom(self_test=wrong))
        told = gateway.wait(gateway.orchestrator.run({"m": target}), "refused")
        assert told["gate"] == "selftest"
    assert set(load.said) == {(200, 2.0)}


def test_what_only_shows_after_the_flip_goes_back_within_seconds(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    gateway.wait(gateway.deploy(spoilt_at(LATER)), "settled")
    number = gateway.deploy(spoilt_at(SPOILT), gates=msgspec.structs.replace(SHORT, watch_s=600.0))
    gateway.wait(number, "active")
    spoil(gateway, SPOILT)
    began = SYSTEM.monotonic()
    told = gateway.wait(number, "rolled_back")
    assert SYSTEM.monotonic() - began < 10
    assert (told["gate"], told["running"]["deployment"], told["back"]) == ("errors", 2, 1)
    assert send_json(gateway.address, "POST", "/v2/models/m/infer", asked(SPOILT)).status == 200
    spoil(gateway, LATER)
    until(lambda: gateway.told()["running"]["deployment"] == 1)
    until(lambda: send_json(gateway.address, "POST", "/v2/models/m/infer", asked(LATER)).status == 200)
    assert (gateway.told()["deployment"], gateway.told()["back"]) == (number, None)


def spoil(gateway: Gateway, number: float) -> None:
    """Until three requests have failed, or the version that fails them has been left."""
    spoilt, failed = gateway.told()["running"]["deployment"], 0
    while failed < 3 and gateway.told()["running"]["deployment"] == spoilt:
        failed += send_json(gateway.address, "POST", "/v2/models/m/infer", asked(number)).status != 200


def test_a_process_that_ends_again_and_again_takes_its_deployment_with_it(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    number = gateway.deploy(times(2.5), gates=msgspec.structs.replace(SHORT, watch_s=600.0))
    gateway.wait(number, "active")
    for _ in range(3):
        gateway.kill_node()
    told = gateway.wait(number, "rolled_back")
    assert told["gate"] == "crash"
    assert gateway.factor() == 2


def test_reports_asks_and_a_stick(gateway: Gateway, tmp_path: Path) -> None:
    gateway.orchestrator.asks += [{"id": "1", "kind": "doctor"}, {"id": "2", "kind": "logs", "lines": 5}]
    gateway.start()
    until(lambda: gateway.orchestrator.answers.keys() == {"1", "2"} and bool(gateway.orchestrator.reports))
    assert "findings" in gateway.orchestrator.answers["1"]["body"]
    assert gateway.orchestrator.reports[0]["metrics"]["littoral_node_uptime_seconds"] > 0
    gateway.orchestrator.asks.append({"id": "3", "kind": "bundle"})
    until(lambda: "3" in gateway.orchestrator.answers)
    archive = base64.b64decode(gateway.orchestrator.answers["3"]["body"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        assert {"doctor.json", "log.json", "updates.json"} <= set(files.getnames())
    gateway.orchestrator.stop()
    number = gateway.deploy(times(4))
    shutil.copytree(gateway.fleet.folder / "served", tmp_path / "stick")
    done = cli("update", "--from", tmp_path / "stick", "--url", f"http://{gateway.address}")
    assert done.code == 0, done.err
    gateway.wait(number, "settled")
    assert gateway.factor() == 4
    digest = hashlib.sha256(times(4)).hexdigest()
    path = tree.target_file(ArtifactName.parse("models/m/1.wasm"), digest)
    peer = HttpTransport(f"http://{gateway.address}")
    assert b"".join(peer.read(path)) == times(4)
    assert b"".join(peer.read(path, offset=100)) == times(4)[100:]
    with pytest.raises(NotFoundError):
        next(peer.read(path.replace(digest, "0" * 64)))
    peer.close()


def test_a_site_file_is_tried_and_taken_back(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    models = {"m": "models/m/1.wasm", "n": gateway.fleet.publish("models/n/1.wasm", times(5))}
    more = gateway.site.read_text() + '\n[models.n]\npath = "fleet:n"\n'
    first = gateway.fleet.publish("sites/shop/1.toml", more.encode())
    gateway.wait(gateway.orchestrator.run(models, site=first), "settled")
    assert gateway.site.read_text() == more
    assert gateway.factor("n") == 5
    taken = more.replace(str(gateway.port), str(gateway.orchestrator.port))
    second = gateway.fleet.publish("sites/shop/2.toml", taken.encode())
    told = gateway.wait(gateway.orchestrator.run(models, site=second), "rolled_back", "refused")
    assert told["gate"] == "load"
    assert gateway.site.read_text() == more
    until(gateway.is_ready)
    assert (gateway.factor(), gateway.factor("n")) == (2, 5)


def test_a_model_that_stands_alone_comes_and_goes_while_the_node_serves(gateway: Gateway) -> None:
    gateway.site.write_text(gateway.site.read_text() + '[models.n]\npath = "fleet:n"\npipeline = false\n')
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    pid = gateway.pid()
    assert send_json(gateway.address, "POST", "/v2/models/n/infer", asked(1)).status == 503
    targets = [gateway.fleet.publish(f"models/n/{i}.wasm", times(3 + i)) for i in (1, 2)]
    for i, target in enumerate(targets):
        gateway.wait(gateway.orchestrator.run({"m": "models/m/1.wasm", "n": target}), "settled")
        assert gateway.factor("n") == 4 + i
    for factor in (4, None):
        assert cli("update", "back", "--url", f"http://{gateway.address}").code == 0
        said = send_json(gateway.address, "POST", "/v2/models/n/infer", asked(1))
        assert said.status == (503 if factor is None else 200)
        assert factor is None or gateway.factor("n") == factor
    bad = gateway.fleet.publish("models/n/3.wasm", b"no module")
    told = gateway.wait(gateway.orchestrator.run({"m": "models/m/1.wasm", "n": bad}), "refused")
    assert (told["gate"], told["running"]["deployment"]) == ("load", 1)
    before = gateway.site.read_text()
    more = before + '[models.k]\npath = "fleet:k"\npipeline = false\n'
    site = gateway.fleet.publish("sites/shop/1.toml", more.encode())
    for i in (1, 2):
        target = gateway.fleet.publish(f"models/k/{i}.wasm", times(5 + i))
        gateway.wait(gateway.orchestrator.run({"m": "models/m/1.wasm", "k": target}, site=site), "settled")
        assert (gateway.factor("k"), gateway.site.read_text()) == (5 + i, more)
    for text in (more, before):
        assert cli("update", "back", "--url", f"http://{gateway.address}").code == 0
        assert gateway.site.read_text() == text
    assert send_json(gateway.address, "POST", "/v2/models/k/infer", asked(1)).status == 404
    assert gateway.pid() == pid
    assert gateway.factor() == 2


def test_the_page_shows_a_deployment_and_takes_it_back(gateway: Gateway, tmp_path: Path) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    boards = [gateway.fleet.publish("dashboards/shop/1.json", board("Shop"))]
    gateway.wait(gateway.deploy(times(3), dashboards=boards), "settled")
    with browser(tmp_path) as page:
        page.open(f"http://{gateway.address}/pages/models")
        page.until("#updates .facts dd")
        assert page.text("#updates .actions .state") == "Deployment 2: settled"
        assert "models/m/2.wasm" in page.texts("#updates .facts dd code")
        page.until("#updates a[download='shop.json']")
        assert "Shop" in page.texts("#updates [data-key=boards] td")
        page.one("#updates [data-way=ask-back]").click()
        page.until("#updates [data-way=back]")
        page.one("#updates [data-way=back]").click()
        until(lambda: page.text("#updates .actions .state") == "Deployment 2: rolled back")
        assert gateway.factor() == 2
        assert page.complaints() == []
