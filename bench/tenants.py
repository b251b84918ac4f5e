"""One tenant asks ten times as often as its quota allows: how much slower is another that asks as before.

Both ask the same pipeline (a picture through MobileNetV2) and search collections of their own. The quiet one sends at a
fixed rate, below its quota, alone and beside the greedy one in turn; figures are medians over pairs of rounds.
"""

import json
import tempfile
import urllib.request
from pathlib import Path
from statistics import median

import numpy as np

import littoral
from bench.convolutional import mobilenet_v2
from bench.load import Load, begin_load, http_request, under_load
from bench.overload import picture
from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.node.beside import RunningNode, running_node
from littoral.web.access.tokens import new_token, write_tokens

__all__ = ["run"]

QUOTA, TIMES = 20.0, 10
QUIET_RATE, CLIENTS, GREEDY_CLIENTS = 25.0, 4, 32
PAIRS, SECONDS, WARM_UP_S = 7, 12.0, 1.0
POINTS, SIZE = 5000, 128
P99_TIMES_MAX = 1.3
SITE = f"""
[node]
listen = "127.0.0.1:0"

[auth]

[agents.decode]
path = "builtin:image"
instances = {{ min = 2, max = 2 }}

[models.classifier]
path = "classifier.wasm"
instances = {{ min = 2, max = 2 }}

[pipelines.classify]
steps = [{{ agent = "decode" }}, {{ model = "classifier" }}, {{ step = "top_k" }}]

[[tenants]]
name = "quiet"
pipelines = ["classify"]
quota = {{ requests_per_s = 1000.0 }}

[tenants.collections.frames]
vectors = {{ size = {SIZE}, distance = "Cosine" }}

[[tenants]]
name = "greedy"
pipelines = ["classify"]
quota = {{ requests_per_s = {QUOTA}, inferences_max = 1 }}

[tenants.collections.frames]
vectors = {{ size = {SIZE}, distance = "Cosine" }}
"""
KINDS = ("a picture", "a search")


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        (folder / "site.toml").write_text(SITE)
        littoral.compile(mobilenet_v2(), name="classifier").save(folder / "classifier.wasm")
        made = {
            tenant: new_token(tenant, list(Role)[:3], SYSTEM.wall(), tenant=tenant) for tenant in ("quiet", "greedy")
        }
        write_tokens(folder / "tokens.json", [token for _, token in made.values()])
        with running_node(folder / "site.toml") as node:
            return measured(node, {tenant: text for tenant, (text, _) in made.items()})


def measured(node: RunningNode, tokens: dict[str, str]) -> list[Row]:
    fill(node, tokens["quiet"])
    found: dict[str, list[tuple[Load, Load]]] = {}
    greedy: list[Load] = []
    for kind in KINDS:
        quiet, other = requests(kind, tokens["quiet"]), requests(kind, tokens["greedy"])
        under_load(node.address, quiet, clients=CLIENTS, seconds=1.0)
        found[kind] = []
        for _ in range(PAIRS):
            alone = under_load(node.address, quiet, clients=CLIENTS, seconds=SECONDS, rate=QUIET_RATE)
            with begin_load(
                node.address, other, clients=GREEDY_CLIENTS, seconds=SECONDS + 2 * WARM_UP_S, rate=QUOTA * TIMES
            ) as running:
                beside = under_load(
                    node.address, quiet, clients=CLIENTS, seconds=SECONDS, rate=QUIET_RATE, warm_up_s=WARM_UP_S
                )
                greedy.append(running.result())
            found[kind].append((alone, beside))
    rows: list[Row] = []
    for kind, pairs in found.items():
        alone_ms, beside_ms = (median(one.at_ms(0.99) for one in side) for side in zip(*pairs, strict=True))
        times = median(beside.at_ms(0.99) / alone.at_ms(0.99) for alone, beside in pairs)
        rows += [
            row(f"{kind}: p99 beside the greedy one, by that of alone", times, "times", limit=P99_TIMES_MAX),
            row(f"{kind}: p99 alone", alone_ms, "ms"),
            row(f"{kind}: p99 beside", beside_ms, "ms"),
            row(f"{kind}: p50 alone", median(one.at_ms(0.5) for one, _ in pairs), "ms"),
            row(f"{kind}: p50 beside", median(one.at_ms(0.5) for _, one in pairs), "ms"),
        ]
    failed = sum(one.failed for pairs in found.values() for pair in pairs for one in pair)
    offered = sum(one.answers + one.lost for one in greedy) / sum(one.seconds for one in greedy)
    return [
        *rows,
        row("the quiet one's requests that failed", failed, "requests", limit=0),
        row("offered by the greedy one", offered, "1/s"),
        row("answered of it", median(one.per_second() for one in greedy), "1/s"),
        row("refused of it", median(one.per_second(429) for one in greedy), "1/s"),
        row("a refusal, p50", median(one.at_ms(0.5, 429) for one in greedy), "ms"),
    ]


def requests(kind: str, token: str) -> list[bytes]:
    shown = (f"authorization: Bearer {token}", "cache-control: no-store")
    if kind == KINDS[0]:
        return [http_request("POST", "/pipelines/classify", picture(), *shown, content_type="image/jpeg")]
    vectors = np.random.default_rng(3).standard_normal((64, SIZE)).round(4)
    bodies = [json.dumps({"query": vector.tolist(), "limit": 10}).encode() for vector in vectors]
    return [http_request("POST", "/collections/frames/points/query", body, *shown) for body in bodies]


def fill(node: RunningNode, token: str) -> None:
    """The quiet one's collection; the greedy one's stays as small as its quota lets it become."""
    vectors = np.random.default_rng(1).standard_normal((POINTS, SIZE)).round(4)
    for first in range(0, POINTS, 500):
        points = [{"id": first + i, "vector": vector.tolist()} for i, vector in enumerate(vectors[first : first + 500])]
        request = urllib.request.Request(
            f"{node.url}/collections/frames/points?wait=true",
            json.dumps({"points": points}).encode(),
            {"authorization": f"Bearer {token}", "content-type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
