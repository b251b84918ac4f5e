"""`/api/gateway…` and `littoral cache` of a real node with a real collection, beside a service that is scripted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from command import littoral as cli
from fake_upstream import FakeUpstream, Scripted, fake_upstream
from littoral import settings
from littoral.answers.observations import Observations
from littoral.answers.watch import Watch
from littoral.artifact import Model
from littoral.errors import UnavailableError
from littoral.node.gateway import shown
from littoral.telemetry import METRICS
from mixed_texts import wordpiece
from node_fixture import Served, node_in_thread, write_site
from raw_http import Reply, send, send_json
from supervised import short_folder
from text_node import encoder
from waiting import until

SITE = """
[node]
name = "office-2"
listen = "127.0.0.1:0"

[models.encoder]
path = "encoder.wasm"

[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}
config = {{ max_tokens = 32 }}

[pipelines.meanings]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}, {{ step = "normalize" }}]

[audit]
commit_ms = 20

[gateway]
embedder = "meanings"

[[gateway.upstreams]]
name = "beside"
url = "{upstream}"
models = ["large", "small"]

[gateway.prices."*"]
input = 2
output = 8

[gateway.cache]
ask_ahead = "never"
judge = "normalised"
similarity_min = -1

[gateway.rules]
private_markers = ["secret"]
words = ["today"]

[gateway.budget]
tokens_per_day = 100000
"""


def asked(question: str, **more: Any) -> dict[str, Any]:
    return {"model": "large", "messages": [{"role": "user", "content": question}], **more}


class Office:
    """A node that is a gateway, and the service that it asks."""

    def __init__(self, served: Served, upstream: FakeUpstream) -> None:
        self.served, self.upstream = served, upstream

    def get(self, path: str = "") -> Any:
        return self._good(send(self.served.address, "GET", f"/api/gateway{path}"))

    def post(self, path: str, body: object) -> Any:
        return self._good(send_json(self.served.address, "POST", f"/api/gateway{path}", body))

    def ask(self, question: str, answer: str | None = None, **more: Any) -> Reply:
        if answer is not None:
            self.upstream.script(Scripted(answer))
        reply = send_json(self.served.address, "POST", "/v1/chat/completions", asked(question, **more))
        assert reply.status == 200, reply
        return reply

    def is_at_rest(self) -> bool:
        """Whether all that was asked is judged and kept."""
        gateway = self.served.node.gateway
        return not gateway._finishing and not gateway.answers.judging.statistics().waiting_bytes

    def bring(self, *lines: object) -> Any:
        data = b"\n".join(json.dumps(line).encode() for line in lines)
        return self._good(send(self.served.address, "POST", "/api/gateway/import", data))

    def cache(self, *arguments: str, code: int = 0) -> Any:
        done = cli("cache", *arguments, "--url", self.served.url)
        assert done.code == code, done.err
        return done

    def _good(self, reply: Reply) -> Any:
        assert reply.status == 200, reply
        return reply.json


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        fake_upstream() as upstream,
    ):
        site = write_site(folder, SITE.format(upstream=upstream.url))
        Model(encoder()).save(folder / "encoder.wasm")
        (folder / "tokenizer.json").write_text(wordpiece())
        with node_in_thread(folder, site=site) as served:
            yield Office(served, upstream)


@pytest.fixture
def empty(office: Office) -> Office:
    """Nothing is remembered."""
    office.post("/purge", {"everything": True})
    return office


def test_what_is_told_is_what_happened(empty: Office) -> None:
    before = empty.get()
    empty.ask("Why does the pump run warm?", "It was made so.")
    until(lambda: empty.get()["cache"]["entries"] == 1)
    empty.ask("Why does the pump run warm?")
    empty.ask("Why does the pump run warm today?", "Nobody knows.")
    told = empty.get()
    msgspec.convert(told, shown.GatewayTold)
    more = {name: count - before["outcomes"][name] for name, count in told["outcomes"].items()}
    assert more == {"hit": 1, "semantic": 0, "miss": 1, "explore": 0, "stale": 0, "off": 1}
    assert told["saved"]["tokens"] - before["saved"]["tokens"] == 12
    assert told["saved"]["money"] - before["saved"]["money"] == pytest.approx((7 * 2 + 5 * 8) / 1e6)
    assert told["saved"]["spent_tokens"] - before["saved"]["spent_tokens"] == 24
    (service,) = told["upstreams"]
    assert (service["name"], service["url"], service["state"]) == ("beside", empty.upstream.url, "closed")
    (budget,) = told["budgets"]
    assert (budget["what"], budget["limit"], budget["tenant"]) == ("tokens", 100_000, "")
    assert sum(sum(counts) for _, *counts in told["history"]["rows"]) == sum(told["outcomes"].values())
    rules = {rule["setting"]: rule for rule in told["rules"] if rule["setting"]}
    assert "`secret`" in rules["private_markers"]["what"]
    assert "`today`" in rules["words"]["what"]
    assert "0.3" in rules["temperature_max"]["what"]
    assert "262,144 characters" in rules["scan_chars_max"]["what"]
    assert any("only look like others" in rule["what"] for rule in told["rules"])


def test_metrics_tell_the_same(empty: Office) -> None:
    empty.ask("What is a gasket?", "A seal.")
    until(lambda: empty.get()["cache"]["entries"] == 1)
    told = empty.get()
    lines = send(empty.served.address, "GET", "/metrics").body.decode().splitlines()
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] != "#"}
    for outcome, count in told["outcomes"].items():
        assert values[f'littoral_gateway_requests_total{{outcome="{outcome}",tenant=""}}'] == count
    assert values['littoral_gateway_upstream_requests_total{upstream="beside"}'] == told["upstreams"][0]["requests"]
    assert values['littoral_gateway_upstream_state{state="closed",upstream="beside"}'] == 1
    assert values['littoral_gateway_entries{tenant=""}'] == 1
    assert values['littoral_gateway_error_bound{tenant=""}'] == 0.02
    assert values['littoral_gateway_budget_limit{tenant="",what="tokens",window="86400"}'] == 100_000
    there = {name.partition("{")[0] for name in values if name.startswith("littoral_gateway_")}
    every = {name for name in METRICS if name.startswith("littoral_gateway_")}
    assert every - there == {"littoral_gateway_error_share"}


def test_answers_are_found_and_purged(empty: Office) -> None:
    lines = [
        {
            "question": f"Where is shelf {n}?",
            "answer": f"In hall {n}.",
            "model": "large",
            "tags": ["odd"] * (n % 2),
        }
        for n in range(60)
    ]
    assert empty.bring(*lines) == {"kept": 60, "refused": 0, "line": None, "why": ""}
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        told = empty.get(f"/entries?text=SHELF&tag=odd&cursor={cursor}")
        found, cursor = found + told["entries"], told["next"]
    assert {one["question"] for one in found} == {line["question"] for line in lines if line["tags"]}
    assert len(found) == 30
    one = found[0]
    assert (one["tier"], one["expires_at"], one["threshold"]) == ("curated", None, None)
    assert one["answer"].startswith("In hall ")
    curve = empty.get(f"/curve?id={one['id']}")
    assert (curve["question"], curve["points"], curve["threshold"]) == (one["question"], [], None)
    assert empty.post("/purge", {"id": one["id"]}) == {"purged": 1}
    assert empty.post("/purge", {"tags": ["odd"], "model": "small"}) == {"purged": 0}
    assert empty.post("/purge", {"tags": ["odd"], "model": "large"}) == {"purged": 29}
    assert empty.ask("Where is shelf 1?", "Gone.").headers["x-littoral-cache"] != "hit"
    assert empty.ask("Where is shelf 2?").headers["x-littoral-cache"] == "hit"
    refused: list[object] = [{}, {"everything": True, "model": "large"}, {"tags": []}]
    for wrong in refused:
        assert send_json(empty.served.address, "POST", "/api/gateway/purge", wrong).status == 400


def test_a_question_is_explained_without_asking_anybody(empty: Office) -> None:
    empty.bring({"question": "When does it open?", "answer": "At eight.", "model": "large"})
    before, counts = empty.upstream.asked_count, empty.get()["outcomes"]
    told = empty.post("/explain", {"question": "When does it open?", "model": "large"})
    assert (told["outcome"], told["is_exact"], told["reach"]) == ("hit", True, "semantic")
    told = empty.post("/explain", {"question": "When does it close?", "model": "large"})
    assert (told["outcome"], told["is_exact"]) == ("miss", False)
    (near,) = told["near"]
    assert near["question"] == "When does it open?"
    assert near["is_served"] is False
    assert near["reason"]
    told = empty.post("/explain", {"question": "What is it today?", "model": "large"})
    assert (told["outcome"], told["reach"], told["near"]) == ("off", "nothing", [])
    assert "today" in told["reason"]
    request = {"model": "large", "temperature": 1, "messages": [{"role": "user", "content": "x"}]}
    assert "temperature" in empty.post("/explain", {"request": request})["reason"]
    assert (empty.upstream.asked_count, empty.get()["outcomes"]) == (before, counts)
    for wrong in ({}, {"question": "a", "request": {}}, {"question": "without a model"}):
        assert send_json(empty.served.address, "POST", "/api/gateway/explain", wrong).status == 400
    nobodys = {"question": "When does it open?", "model": "of-nobody"}
    reply = send_json(empty.served.address, "POST", "/api/gateway/explain", nobodys)
    assert (reply.status, b"`of-nobody`" in reply.body) == (404, True)


def test_what_was_asked_with_other_parameters_is_found_and_said_to_differ(empty: Office, tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief, and never name Mr Smith."}
    request = asked("When does it open?", max_tokens=50, temperature=0)
    request["messages"].insert(0, system)
    response = {"choices": [{"message": {"content": "At eight."}, "finish_reason": "stop"}]}
    empty.bring({"request": request, "response": response})
    told = empty.post("/explain", {"question": "When does it open?", "model": "large"})
    assert (told["outcome"], told["near"]) == ("miss", [])
    (there,) = told["elsewhere"]
    assert (there["question"], there["similarity"]) == ("When does it open?", pytest.approx(1, abs=1e-3))
    assert there["partition"] != told["partition"]
    differs = {name: (of_it, here) for name, of_it, here in there["differs"]}
    assert differs["max_tokens"] == ("50", "–")
    assert differs["temperature"] == ("zero", "none")
    assert differs.keys() == {"max_tokens", "temperature", "messages before the question"}
    assert "Smith" not in json.dumps(told)
    lines = empty.cache("explain", "When does it open?", "--model", "large").out
    assert "nothing near it is remembered" in lines
    assert "max_tokens: 50 there, – here" in lines
    (tmp_path / "request.json").write_text(json.dumps(request))
    done = empty.cache("explain", "--body", str(tmp_path / "request.json"), "--json").json
    assert (done["outcome"], done["elsewhere"]) == ("hit", [])
    assert "not both" in empty.cache("explain", code=4).err
    assert "not both" in empty.cache("explain", "x", "--body", str(tmp_path / "request.json"), code=4).err
    assert empty.cache("explain", "--body", str(tmp_path / "none.json"), code=4).err
    other = empty.post("/explain", {"question": "When does it open?", "model": "small"})
    assert other["elsewhere"] == []


def test_a_search_by_text_looks_at_so_many_and_says_where_to_go_on(
    empty: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("littoral.node.gateway.answers_shown.SCANNED_MAX", 40)
    monkeypatch.setattr("littoral.node.gateway.answers_shown.SCANNED_STEP", 20)
    lines = [
        {"question": f"Is shelf {n} {'NEAR' if n % 2 else 'far'}?", "answer": "a", "model": "large"} for n in range(90)
    ]
    empty.bring(*lines)
    found, pages, cursor = list[str](), list[int](), ""
    while True:
        told = empty.get(f"/entries?text=near&cursor={cursor}")
        found += [one["question"] for one in told["entries"]]
        pages.append(told["looked"])
        if (cursor := told["next"]) is None:
            break
    assert sorted(found) == sorted(f"Is shelf {n} NEAR?" for n in range(1, 90, 2))
    assert sum(pages) == 90
    assert max(pages) <= 40 + 20
    whole = empty.get("/entries")
    assert (len(whole["entries"]), whole["looked"]) == (25, 25)


def test_a_near_miss_is_judged_by_hand_and_its_entry_learns(empty: Office) -> None:
    empty.ask("How is the lamp changed?", "Turn it left.")
    until(lambda: empty.get()["cache"]["entries"] == 1)
    empty.ask("How is the bulb changed?", "Turn it to the left.")
    until(lambda: empty.get()["misses"] == 1)
    (miss,) = empty.get("/misses")["misses"]
    assert (miss["question"], miss["cached_question"]) == ("How is the bulb changed?", "How is the lamp changed?")
    assert (miss["fresh_answer"], miss["cached_answer"]) == ("Turn it to the left.", "Turn it left.")
    observed = len(empty.get(f"/curve?id={miss['entry']}")["points"])
    assert empty.post(f"/misses/{miss['id']}", {"is_correct": True}) == {"id": miss["id"], "is_correct": True}
    points = empty.get(f"/curve?id={miss['entry']}")["points"]
    assert len(points) == observed + 1
    assert points[-1] == [pytest.approx(miss["similarity"], abs=1e-3), 1]
    again = send_json(empty.served.address, "POST", f"/api/gateway/misses/{miss['id']}", {"is_correct": True})
    assert again.status == 404
    assert empty.get()["misses"] == 0


@pytest.mark.parametrize("what", ["tag", "model", "other model", "entry", "new answer"])
def test_a_purge_takes_near_misses_of_what_it_takes_and_no_others(empty: Office, what: str) -> None:
    empty.ask("How is the lamp changed?", "Turn it left.")
    until(lambda: empty.get()["cache"]["entries"] == 1)
    empty.ask("How is the bulb changed?", "Cut the power, then unscrew the cover.")
    until(lambda: empty.get()["misses"] == 1)
    (miss,) = empty.get("/misses")["misses"]
    fresh = bytes(a ^ b for a, b in zip(bytes.fromhex(miss["id"]), bytes.fromhex(miss["entry"]), strict=True)).hex()
    purge = {
        "tag": {"tags": ["handbook"]},
        "other model": {"model": "small"},
        "model": {"model": "large"},
        "entry": {"id": miss["entry"]},
        "new answer": {"id": fresh},
    }
    empty.post("/purge", purge[what])
    assert empty.get()["misses"] == (1 if what in ("tag", "other model") else 0)


def test_what_was_exported_is_told_again_after_an_import(empty: Office, tmp_path: Path) -> None:
    empty.bring(
        {"question": "Who has the key?", "answer": "The porter.", "model": "large", "tags": ["keys"]},
        {
            "request": asked("Who has the map?", temperature=0),
            "response": {"choices": [{"message": {"content": "The guide."}, "finish_reason": "stop"}]},
            "ttl_s": 50,
        },
    )
    before = {one["id"]: one for one in empty.get("/entries")["entries"]}
    file = tmp_path / "answers.jsonl"
    assert empty.cache("export", str(file), "--json").json == {"entries": 2}
    assert "is there already" in empty.cache("export", str(file), code=4).err
    assert empty.cache("purge", "--everything").out == "2 purged\n"
    assert empty.get("/entries")["entries"] == []
    done = empty.cache("import", str(file), "--tag", "back", "--json").json
    assert done == {"lines": 3, "kept": 2, "refused": 0}
    after = {one["id"]: one for one in empty.get("/entries")["entries"]}
    assert {key: one | {"tags": [*one["tags"], "back"]} for key, one in before.items()} == after
    assert empty.ask("Who has the key?").headers["x-littoral-cache"] == "hit"
    assert empty.ask("Who has the map?", temperature=0).headers["x-littoral-cache"] == "hit"


def test_what_was_judged_comes_back_with_an_import_for_the_same_embedder_only(empty: Office, tmp_path: Path) -> None:
    empty.bring({"question": "How is the lamp changed?", "answer": "Turn it left.", "model": "large"})
    for number, answer in enumerate(["Turn it left.", "Turn it right.", "Turn it left."]):
        empty.ask(f"How is the lamp changed, number {'abc'[number]}?", answer)
        until(lambda number=number: sum(one["observed"] for one in empty.get("/entries")["entries"]) > number)
        until(empty.is_at_rest)
    before = {one["id"]: (one["observed"], one["wrong"], one["tier"]) for one in empty.get("/entries")["entries"]}
    file = tmp_path / "answers.jsonl"
    empty.cache("export", str(file))
    head, *lines = map(json.loads, file.read_text().splitlines())
    assert head["answers"] == 3
    assert sum("judged" in line for line in lines) >= 1
    empty.post("/purge", {"everything": True})
    assert empty.cache("import", str(file), "--json").json["kept"] == len(before)
    after = {one["id"]: (one["observed"], one["wrong"], one["tier"]) for one in empty.get("/entries")["entries"]}
    assert after == before
    again = empty.bring(*lines)
    assert again["kept"] == len(before)
    assert {one["id"]: one["observed"] for one in empty.get("/entries")["entries"]} == {
        key: observed for key, (observed, _, _) in before.items()
    }, "brought twice, counted once"
    empty.post("/purge", {"everything": True})
    others = [line | {"judged": line["judged"] | {"embedder": "ab" * 32}} for line in lines if "judged" in line]
    older = [{"entry": line["entry"]} for line in lines if "judged" not in line]
    assert empty.bring(*others, *older)["kept"] == len(before)
    assert sum(one["observed"] for one in empty.get("/entries")["entries"]) == 0
    damaged = [line | {"judged": line["judged"] | {"observations": "AAA="}} for line in lines if "judged" in line]
    assert empty.bring(*damaged)["refused"] == len(damaged)
    newer = empty.bring({"answers": 4})
    assert (newer["refused"], "version 4" in newer["why"]) == (1, True)


def test_what_was_learned_of_all_answers_comes_with_an_import_where_nothing_was_learned(
    empty: Office, tmp_path: Path
) -> None:
    gateway = empty.served.node.gateway
    assert gateway is not None
    assert gateway.answers is not None
    watch = gateway.answers.watch
    for n in range(300):
        right = Observations().added(0.9, is_correct=True)
        watch.judged(watch.decide(right, 0.8 + n % 20 / 100, 0.99)._replace(serve=False), is_correct=True)
    empty.cache("export", str(tmp_path / "answers.jsonl"))
    head = json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])
    learned = head["learned"]
    assert learned["watch"]["order"]["count"] >= 300
    try:
        for wrong in (
            {"embedder": "ab" * 32},
            {"judge": "exact"},
            {"watch": {}},
            {"watch": learned["watch"] | {"policy": learned["watch"]["policy"] | {"delta": 0.4}}},
        ):
            gateway.answers.watch = Watch(watch.policy)
            assert empty.bring(head | {"learned": learned | wrong})["refused"] == 0
            assert gateway.answers.watch.told()["order"]["count"] == 0
        assert empty.bring({"learned": learned})["refused"] == 1
        empty.bring(head)
        for name in ("order", "counts", "moved"):
            assert gateway.answers.watch.told()[name] == learned["watch"][name]
        assert gateway.answers.watch.statistics().requests == 0, "what was counted of requests stays where it was"
        other = learned["watch"] | {"order": learned["watch"]["order"] | {"count": 7}}
        empty.bring(head | {"learned": learned | {"watch": other}})
        assert gateway.answers.watch.told()["order"] == learned["watch"]["order"], "it has learned by itself"
    finally:
        gateway.answers.watch = watch


def test_lines_that_may_not_be_told_again_are_refused_each_with_its_reason(empty: Office) -> None:
    request = {"model": "large", "messages": [{"role": "user", "content": "a"}]}
    good, cut = ({"choices": [{"message": {"content": "b"}, "finish_reason": how}]} for how in ("stop", "length"))
    cases: list[tuple[object, str]] = [
        ({"question": "a"}, "is needed"),
        ({"question": "a", "answer": "b"}, "`model`"),
        ({"question": "a", "answer": "b", "model": "large", "request": request}, "is needed"),
        ({"request": request}, "is needed"),
        ({"request": request | {"temperature": 2}, "response": good}, "temperature 2"),
        ({"request": request, "response": {"choices": []}}, "one choice"),
        ({"request": request, "response": {"choices": [{"message": {}, "finish_reason": "stop"}]}}, "a text"),
        ({"request": request, "response": cut}, "end"),
        ({"question": "a", "answer": "the secret is b", "model": "large"}, "answer"),
        ({"question": "what is today's a?", "answer": "b", "model": "large"}, "today"),
        ({"entry": {"tenant": ""}}, "no answer"),
        ({"question": "a", "answer": "b", "model": "large", "colour": 1}, "colour"),
        ([1], "object"),
    ]
    for line, words in cases:
        told = empty.bring({"question": "c", "answer": "d", "model": "large"}, line)
        assert (told["kept"], told["refused"], told["line"]) == (1, 1, 2), line
        assert words in told["why"], (line, told["why"])
    assert send(empty.served.address, "POST", "/api/gateway/import", b"{}\n" * 300).status == 400


def test_a_line_that_is_not_kept_is_not_told_as_kept(empty: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    curated = {"question": "a", "answer": "b", "model": "large"}
    assert empty.bring(curated)["kept"] == 1
    told = empty.bring(curated | {"answer": "c", "tier": "learned"})
    assert (told["kept"], told["refused"], "curated" in told["why"]) == (0, 1, True)

    async def away(*_: object, **__: object) -> None:
        raise UnavailableError("collection `answers` does not answer")

    monkeypatch.setattr(empty.served.node.gateway.answers.store._points, "upsert", away)
    body = json.dumps(curated | {"question": "d"}).encode()
    assert send(empty.served.address, "POST", "/api/gateway/import", body).status == 503


def test_the_command_line_says_what_the_node_tells(empty: Office, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    body = {"model": "large", "messages": [{"role": "user", "content": "When is the night shift?"}]}
    answer = {"choices": [{"message": {"content": "At ten."}, "finish_reason": "stop"}]}
    log.write_text(json.dumps({"request": body, "response": answer}) + '\n{"request": {}}\n')
    done = empty.cache("warm", str(log))
    assert done.out.replace(str(log), "LOG") == "1 kept, 1 refused, 2 lines of LOG\n"
    assert "line 2 is refused" in done.err
    assert empty.cache("warm", str(log), "--json").json == {"lines": 0, "kept": 0, "refused": 0}
    assert empty.cache("stats", "--json").json.keys() == empty.get().keys()
    lines = empty.cache("stats", "--check").out.splitlines()
    assert lines[0].startswith("requests   ")
    assert any(line.startswith("service    beside: closed, ") for line in lines)
    assert any(line.startswith("answers    1 of 200,000") for line in lines)
    told = empty.cache("explain", "When is the night shift?", "--model", "large").out.splitlines()
    assert told[0] == "hit: same request"
    assert "the same request is remembered" in told[2]
    assert "no such" not in empty.cache("explain", "x", "--model", "large", "--json").json["outcome"]
    assert empty.cache("purge", code=4).err.startswith("littoral: nothing is said")
    assert empty.cache("purge", "--everything", "--tag", "a", code=4)


def test_what_is_done_is_in_the_audit_log(empty: Office) -> None:
    empty.bring({"question": "a", "answer": "b", "model": "large"})
    empty.post("/purge", {"everything": True})

    def newest() -> list[str]:
        entries = send(empty.served.address, "GET", "/api/audit/entries?count=10").json["entries"]
        found = sorted((int(one["index"]), str(one["entry"]["did"])) for one in entries)
        return [did for _, did in found][-2:]

    until(lambda: newest() == ["import", "purge"])


def test_a_node_that_is_no_gateway_says_so(tmp_path: Path) -> None:
    with node_in_thread(tmp_path) as served:
        assert send(served.address, "GET", "/api/gateway").json == {"upstreams": None}
        for path in ("/entries", "/misses", "/curve?id=" + "0" * 32, "/export"):
            assert send(served.address, "GET", f"/api/gateway{path}").status == 501
        assert cli("cache", "stats", "--url", served.url).code == 4
        for path in ("/", "/pages/models"):
            text = send(served.address, "GET", path, headers={"accept": "text/html"}).body.decode()
            assert '"/pages/gateway"' not in text
