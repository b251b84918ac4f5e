"""MQTT routes of tenants over a real broker: each in its own collections and quotas, and nothing crosses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import Broker, running_broker
from littoral.errors import SettingError
from littoral.node.site import parse_site
from mqtt_site import Client, client_of, vector
from raw_http import Reply
from supervised import short_folder
from tenants_site import ACME, BOLT, OPERATOR, SITE, TENANTS, Tenanted, tenanted_node
from waiting import until

SLOW = """
[[tenants]]
name = "slow"
models = ["scaled"]
pipelines = ["times", "keep"]
quota = { requests_per_s = 0.01, points_max = 0 }
"""
ROUTES = """
[mqtt]
broker = "mqtt://127.0.0.1:{port}"

[[mqtt.routes]]
tenant = "acme"
name = "acme-keep"
topic = "acme/keep"
pipeline = "keep"

[[mqtt.routes]]
tenant = "bolt"
name = "bolt-keep"
topic = "bolt/keep"
pipeline = "keep"

[[mqtt.routes]]
tenant = "bolt"
name = "bolt-times"
topic = "bolt/times"
pipeline = "times"
publish = "bolt/answers"
errors = "bolt/errors"

[[mqtt.routes]]
tenant = "slow"
name = "slow-times"
topic = "slow/times"
pipeline = "times"
publish = "slow/answers"

[[mqtt.routes]]
name = "own"
topic = "own/times"
pipeline = "times"
publish = "own/answers"
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with short_folder() as folder, running_broker(folder / "broker") as found:
        yield found


@pytest.fixture(scope="module")
def node(broker: Broker) -> Iterator[Tenanted]:
    with tenanted_node(TENANTS + SLOW, SITE + ROUTES.format(port=broker.port)) as found:
        names = ("acme-keep", "bolt-keep", "bolt-times", "slow-times", "own", "publisher")
        until(lambda: all(told(found, f'connected{{route="{name}"}}') == 1 for name in names))
        yield found


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    with client_of(broker.port, 5) as found:
        yield found


def told(node: Tenanted, metric: str, prefix: str = "littoral_mqtt_") -> float:
    lines = node.ask(OPERATOR, "GET", "/metrics").body.decode().splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{prefix}{metric} ")]
    return float(found[0]) if found else -1.0


def points(node: Tenanted, who: str) -> Reply:
    return node.ask(who, "POST", "/collections/notes/points/scroll", {"with_payload": True})


def texts(node: Tenanted, who: str) -> list[str]:
    return [point["payload"]["text"] for point in points(node, who).json["result"]["points"]]


def test_what_is_written_is_in_the_tenants_collection_alone(node: Tenanted, client: Client) -> None:
    client.send("acme/keep", b"a note of acme")
    client.send("bolt/keep", b"a note of bolt")
    until(lambda: texts(node, ACME) == ["a note of acme"] and texts(node, BOLT) == ["a note of bolt"])
    assert texts(node, OPERATOR) == []
    inferences = [told(node, f'inferences_total{{tenant="{who}"}}', "littoral_tenant_") for who in (ACME, BOLT)]
    assert min(inferences) >= 1, "they pass the tenant's gate"


def test_answers_and_counts_are_the_tenants(node: Tenanted, client: Client) -> None:
    before = told(node, f'requests_total{{tenant="{BOLT}"}}', "littoral_tenant_")
    client.listen("bolt/answers")
    client.send("bolt/times", vector(1, 2, 3))
    topic, said, _ = client.next()
    assert (topic, said["status"]) == ("bolt/answers", "ok")
    assert told(node, f'requests_total{{tenant="{BOLT}"}}', "littoral_tenant_") == before + 1


def test_who_is_over_its_rate_waits_and_holds_up_nobody(node: Tenanted, client: Client) -> None:
    client.listen("slow/answers")
    client.listen("own/answers")
    for _ in range(3):
        client.send("slow/times", vector(1, 2, 3))
    assert client.next()[0] == "slow/answers", "one in a hundred seconds"
    until(lambda: told(node, 'retries_total{route="slow-times"}') >= 2)
    client.send("own/times", vector(1, 2, 3))
    assert client.next()[0] == "own/answers"
    assert told(node, 'dropped_total{reason="refused",route="slow-times"}') == 0


@pytest.mark.parametrize("to", ["acme/keep", "own/times"])
def test_an_answer_goes_to_no_topic_of_somebody_else(node: Tenanted, client: Client, to: str) -> None:
    """The node is let at topics that whoever asks may not be: it is not their hand."""
    route = {"acme/keep": "acme-keep", "own/times": "own"}[to]
    messages = told(node, f'messages_total{{route="{route}"}}')
    lost = told(node, 'dropped_total{reason="unpublished",route="bolt-times"}')
    client.send("bolt/times", vector(1, 2, 3), ResponseTopic=to)
    until(lambda: told(node, 'dropped_total{reason="unpublished",route="bolt-times"}') == lost + 1)
    assert told(node, f'messages_total{{route="{route}"}}') == messages


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('tenant = "acm"', r"mqtt.routes\[0\].tenant.*a tenant of this file"),
        ('tenant = "acme"\npipeline = "times"', r"mqtt.routes\[0\].pipeline.*a pipeline of tenant `acme`"),
    ],
)
def test_a_route_of_nobody_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    pipeline = "" if "pipeline" in line else 'pipeline = "keep"'
    text = f'{SITE}[mqtt]\nbroker = "mqtt://a"\n[[mqtt.routes]]\ntopic = "t"\n{line}\n{pipeline}\n{TENANTS}'
    with pytest.raises(SettingError, match=problem):
        parse_site(text.encode(), tmp_path / "site.toml")
