"""Routes of a real node over a real Mosquitto, asked by an unmodified client."""

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import Broker, certificates, running_broker
from littoral.clock import SYSTEM
from littoral.telemetry import METRICS
from mqtt_site import Client, client_of, vector, write_mqtt_site
from needs import need
from node_fixture import Served, node_in_thread
from supervised import short_folder
from waiting import until

ROUTES = """
[[mqtt.routes]]
topic = "cameras/+/frame"
pipeline = "double"
publish = "answers/{1}"
errors = "errors/{1}"

[[mqtt.routes]]
topic = "keep/+/#"
pipeline = "keep"
publish = "kept/{1}/{id}"

[[mqtt.routes]]
name = "asked"
topic = "ask"
pipeline = "double"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


@pytest.fixture
def broker(folder: Path) -> Iterator[Broker]:
    with running_broker(folder / "broker") as found:
        yield found


def metrics(node: Served) -> dict[str, float]:
    with urllib.request.urlopen(f"{node.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    rows = (line.rpartition(" ") for line in lines if line.startswith("littoral_mqtt_"))
    return {name.removeprefix("littoral_mqtt_"): float(value) for name, _, value in rows}


def connected(node: Served, *routes: str) -> None:
    until(lambda: all(metrics(node).get(f'connected{{route="{name}"}}') == 1 for name in (*routes, "publisher")))


@pytest.mark.parametrize("version", [5, 3])
def test_a_message_is_answered_on_the_topic_that_the_file_says(folder: Path, broker: Broker, version: int) -> None:
    protocol = 'version = "3.1.1"' if version == 3 else ""
    site = write_mqtt_site(folder, broker.port, protocol + ROUTES)
    with node_in_thread(folder, site=site) as node, client_of(broker.port, version) as client:
        connected(node, "double", "keep", "asked")
        client.listen("answers/#")
        client.send("cameras/door/frame", vector(1, 2, 3))
        topic, said, _ = client.next()
        assert (topic, said["status"], said["topic"]) == ("answers/door", "ok", "cameras/door/frame")
        assert said["result"]["outputs"].popitem()[1]["data"] == [[2, 4, 6]]
        assert said["how"]["node"] == "store-12"
        until(lambda: metrics(node)['answered_total{route="double"}'] == 1)
        told = {f"littoral_mqtt_{name.partition('{')[0]}" for name in metrics(node)}
        assert told == {name for name in METRICS if name.startswith("littoral_mqtt_")}


def test_request_and_response(folder: Path, broker: Broker) -> None:
    site = write_mqtt_site(folder, broker.port, ROUTES)
    with node_in_thread(folder, site=site) as node, client_of(broker.port) as client:
        connected(node, "asked")
        client.listen("mine/1")
        client.send("ask", vector(1, 1, 1), ResponseTopic="mine/1", CorrelationData=b"\x00\xff7", id="q-1")
        _, said, message = client.next()
        assert said["id"] == "q-1"
        assert message.properties.CorrelationData == b"\x00\xff7"
        assert message.properties.UserProperty == [("id", "q-1")]
        assert message.properties.ContentType == "application/json"
        client.send("ask", b"no JSON", ResponseTopic="mine/1", CorrelationData=b"2")
        _, said, message = client.next()
        assert said["status"]["error"].startswith("body: ")
        assert message.properties.CorrelationData == b"2"
        client.send("ask", vector(1, 1, 1), ResponseTopic="ask")  # would ask itself for ever
        until(lambda: metrics(node)['dropped_total{reason="unpublished",route="asked"}'] == 1)


def test_messages_become_points_that_are_there_once(folder: Path, broker: Broker) -> None:
    site = write_mqtt_site(folder, broker.port, ROUTES)
    with node_in_thread(folder, site=site) as node, client_of(broker.port) as client:
        connected(node, "keep")
        client.listen("kept/#")
        for _ in range(2):
            client.send("keep/door/7/8", vector(1, 2, 3), id="41")
        client.send("keep/door/x", vector(3, 2, 1), id="a name")
        client.send("keep/door/x", vector(5, 5, 5))
        answers = {}
        while len(answers) < 3:
            topic, said, _ = client.next()
            answers[topic] = said["result"][0]["id"]
        assert answers.keys() == {"kept/door/41", "kept/door/a name", "kept/door/-"}
        points = set(answers.values())
        assert 41 in points
        scroll = urllib.request.Request(
            f"{node.url}/collections/points/points/scroll", b"{}", {"content-type": "application/json"}
        )
        with urllib.request.urlopen(scroll) as answer:
            found = {point["id"]: point["payload"] for point in json.load(answer)["result"]["points"]}
        assert found.keys() == points
        assert found[41] == {"camera": "door", "topic": "keep/door/7/8", "kind": "test"}


def test_what_is_no_good_is_acknowledged_counted_and_told(folder: Path, broker: Broker) -> None:
    site = write_mqtt_site(folder, broker.port, "payload_bytes_max = 2048" + ROUTES)
    with node_in_thread(folder, site=site) as node, client_of(broker.port) as client:
        connected(node, "double")
        client.listen("errors/#")
        client.listen("answers/#")
        client.send("cameras/door/frame", b'{"inputs": {"x": [[1, 2]]}}')
        topic, said, _ = client.next()
        assert (topic, said["reason"], said["topic"]) == ("errors/door", "refused", "cameras/door/frame")
        assert "expected `x` float32[1, 3]" in said["status"]["error"]
        client.send("cameras/door/frame", bytes(3_000_000))
        _, said, _ = client.next()
        assert said["reason"] == "oversize"
        assert said["status"]["error"].startswith("message has 3000")
        client.send("cameras/door/frame", vector(1, 2, 3))
        assert client.next()[0] == "answers/door"
        for reason in ("refused", "oversize"):
            until(lambda reason=reason: metrics(node)[f'dropped_total{{reason="{reason}",route="double"}}'] == 1)


def test_tls_with_certificates_and_a_password(folder: Path) -> None:
    need(shutil.which("mosquitto_passwd"), "mosquitto_passwd")
    files = certificates(folder)
    subprocess.run(["mosquitto_passwd", "-b", "-c", folder / "users", "node", "s3cret wörd"], check=True)
    lines = (
        f"cafile {files.ca}\ncertfile {files.broker}\nkeyfile {files.broker_key}\nrequire_certificate true\n"
        f"allow_anonymous false\npassword_file {folder / 'users'}\n"
    )
    (folder / "password").write_text("s3cret wörd\n")
    table = f'user = "node"\npassword_file = "password"\nca = "{files.ca}"\ncertificate = "{files.client}"\n'

    def set_up(client: object) -> None:
        client.tls_set(str(files.ca), str(files.client))
        client.username_pw_set("node", "s3cret wörd")

    with running_broker(folder / "broker", lines) as broker:
        site = write_mqtt_site(folder, broker.port, table + ROUTES)
        site.write_text(site.read_text().replace("mqtt://127.0.0.1", "mqtts://localhost"))
        with node_in_thread(folder, site=site) as node, client_of(broker.port, set_up=set_up) as client:
            connected(node, "double")
            client.listen("answers/#")
            client.send("cameras/door/frame", vector(1, 2, 3))
            assert client.next()[0] == "answers/door"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('password_file = "password"', 'password_file = "none"'), "none`: No such file"),
        (("ca.pem", "stranger.pem"), "TLS failed"),
        (("localhost", "127.0.0.1"), "TLS failed"),
        (('user = "node"', 'user = "nobody"'), "Not authorized"),
    ],
)
def test_a_broker_that_refuses_is_asked_again_and_told_of(
    folder: Path, change: tuple[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    need(shutil.which("mosquitto_passwd"), "mosquitto_passwd")
    files = certificates(folder)
    subprocess.run(["mosquitto_passwd", "-b", "-c", folder / "users", "node", "secret"], check=True)
    keys = f"certfile {files.broker}\nkeyfile {files.broker_key}\n"
    (folder / "password").write_text("secret")
    table = f'user = "node"\npassword_file = "password"\nca = "{files.ca}"\n'
    with running_broker(
        folder / "broker", f"{keys}allow_anonymous false\npassword_file {folder / 'users'}\n"
    ) as broker:
        site = write_mqtt_site(folder, broker.port, table + ROUTES)
        text = site.read_text().replace("mqtt://127.0.0.1", "mqtts://localhost")
        assert change[0] in text
        site.write_text(text.replace(*change))
        with node_in_thread(folder, site=site) as node:
            until(lambda: metrics(node)['connection_failures_total{route="double"}'] > 1)
            assert metrics(node)['connected{route="double"}'] == 0
        assert said in caplog.text


def test_shared_subscriptions_share(folder: Path, broker: Broker) -> None:
    routes = ROUTES.replace('pipeline = "double"\npublish', 'pipeline = "double"\nshare = "group"\npublish')
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    sites = [write_mqtt_site(folder / name, broker.port, f'client_id = "{name}"\n{routes}') for name in "ab"]
    with (
        node_in_thread(folder / "a", site=sites[0]) as a,
        node_in_thread(folder / "b", site=sites[1]) as b,
        client_of(broker.port) as client,
    ):
        connected(a, "double")
        connected(b, "double")
        client.listen("answers/#")
        for i in range(40):
            client.send(f"cameras/{i}/frame", vector(i, 0, 0))
        assert sorted(int(client.next()[0].rpartition("/")[2]) for _ in range(40)) == list(range(40))

        def counts() -> list[float]:
            return [metrics(node)['answered_total{route="double"}'] for node in (a, b)]

        until(lambda: sum(counts()) == 40)
        assert min(counts()) > 0


def test_a_broker_that_restarts_loses_nothing(folder: Path, broker: Broker) -> None:
    site = write_mqtt_site(folder, broker.port, ROUTES)
    with node_in_thread(folder, site=site) as node:
        connected(node, "double")
        with client_of(broker.port, client_id="judge") as client:
            client.listen("answers/#")
            client.send("cameras/1/frame", vector(1, 0, 0))
            client.next()
        broker.stop()
        until(lambda: metrics(node)['connected{route="double"}'] == 0)
        broker.start()
        with client_of(broker.port) as client:
            client.listen("answers/#")
            for i in range(20):
                client.send(f"cameras/{i}/frame", vector(i, 0, 0))  # the node may be away still: its session is not
            heard(client, {f"answers/{i}" for i in range(20)})
        assert metrics(node)['connections_total{route="double"}'] == 2


def test_messages_sent_while_the_node_was_away_are_answered(folder: Path, broker: Broker) -> None:
    site = write_mqtt_site(folder, broker.port, ROUTES)
    with node_in_thread(folder, site=site) as node:
        connected(node, "double")
    with client_of(broker.port) as client:
        client.listen("answers/#")
        for i in range(10):
            client.send(f"cameras/{i}/frame", vector(i, 0, 0))
        with node_in_thread(folder, site=site):
            heard(client, {f"answers/{i}" for i in range(10)})


def heard(client: Client, topics: set[str]) -> None:
    """Returns when there was an answer on each, and none on another; who was away may answer twice."""
    found: set[str] = set()
    while found != topics:
        found.add(client.next()[0])
        assert found <= topics


@pytest.mark.parametrize("qos", [0, 1])
def test_of_a_slow_route_the_latest_is_kept(folder: Path, broker: Broker, qos: int) -> None:
    latest = f'queue = {{ keep = "latest" }}\nqos = {qos}\nparallel = 1\npublish'
    site = write_mqtt_site(folder, broker.port, ROUTES.replace("publish", latest, 1))
    with node_in_thread(folder, site=site) as node, client_of(broker.port) as client:
        connected(node, "double")
        client.listen("answers/#")
        for i in range(300):
            client.paho.publish(f"cameras/{i % 2}/frame", vector(i, 0, 0), qos)
        seen: dict[str, list[float]] = {"answers/0": [], "answers/1": []}
        while [numbers[-1:] for numbers in seen.values()] != [[2 * 298], [2 * 299]]:
            topic, said, _ = client.next()
            seen[topic].append(said["result"]["outputs"].popitem()[1]["data"][0][0])
        assert all(numbers == sorted(numbers) for numbers in seen.values())

        def lost() -> float:
            return metrics(node)['dropped_total{reason="superseded",route="double"}']

        until(lambda: metrics(node)['answered_total{route="double"}'] + lost() == 300)
        found = metrics(node)
        assert (found['waiting{route="double"}'], found['messages_total{route="double"}']) == (0, 300)
        assert sum(map(len, seen.values())) == 300 - lost()


def test_no_question_waits_for_more_bytes(folder: Path, broker: Broker) -> None:
    """With Nagle's algorithm on any of the four sides each takes 40 ms and more, however idle the machine."""
    site = write_mqtt_site(folder, broker.port, ROUTES)
    with node_in_thread(folder, site=site) as node:
        client = Client(broker.port, set_up=without_delay)
        connected(node, "asked")
        client.listen("mine")

        def took_s() -> float:
            began = SYSTEM.monotonic()
            client.send("ask", vector(1, 1, 1), ResponseTopic="mine")
            client.next()
            return SYSTEM.monotonic() - began

        try:
            until(lambda: took_s() < 0.03, attempts=1000)
        finally:
            client.close()


def without_delay(client: object) -> None:
    client.on_socket_open = lambda _, __, opened: opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def test_a_pipeline_that_ends_in_an_upsert_makes_the_same_point_over_http(folder: Path, broker: Broker) -> None:
    site = write_mqtt_site(folder, broker.port, "")
    with node_in_thread(folder, site=site) as node:
        ids = []
        for headers in ({"littoral-id": "41"}, {"littoral-id": "41"}, {}, {}):
            asked = urllib.request.Request(f"{node.url}/pipelines/keep", vector(1, 2, 3), headers)
            with urllib.request.urlopen(asked) as answer:
                (point,) = json.load(answer)["result"]
            ids.append(point["id"])
            assert point["payload"] == {"camera": "", "topic": "", "kind": "test"}
        assert ids[:2] == [41, 41]
        assert ids[2] == ids[3] != 41
