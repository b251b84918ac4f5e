"""What makes two requests the same, what keeps them apart, and what is never told again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from littoral.answers.keys import FIELDS, Rules, asked_of, unkept
from littoral.errors import InputError, SettingError

PLAIN = {"model": "small", "messages": [{"role": "user", "content": "How tall is the Eiffel Tower?"}]}


def chat(**changes: Any) -> dict[str, Any]:
    return {**PLAIN, **changes}


def asked(body: dict[str, Any], **more: Any) -> Any:
    return asked_of(body, more.pop("kind", "chat"), **{"tenant": "a", **more})


def turns(*contents: str, **changes: Any) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    return chat(messages=[{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)], **changes)


SAME = {
    "order of fields": {"messages": PLAIN["messages"], "model": "small"},
    "spaces at the edges": turns("  How tall is the Eiffel Tower?\n"),
    "text as a part": chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": "How tall is the Eiffel Tower?"}]}]
    ),
    "defaults": chat(n=1, top_p=1.0, stop=[], presence_penalty=0, logit_bias={}, response_format={"type": "text"}),
    "nulls": chat(temperature=None, tools=None, stop=None, seed=None),
    "fields that only concern the service": chat(
        user="u1", metadata={"a": "b"}, stream=True, stream_options={"include_usage": True}, store=True
    ),
}

OTHER = {
    "model": {**PLAIN, "model": "large"},
    "system prompt": chat(messages=[{"role": "system", "content": "Be short."}, *PLAIN["messages"]]),
    "developer prompt": chat(messages=[{"role": "developer", "content": "Be short."}, *PLAIN["messages"]]),
    "earlier turns": turns("Hello", "Hello!", "How tall is the Eiffel Tower?"),
    "format": chat(response_format={"type": "json_object"}),
    "temperature class": chat(temperature=0),
    "seed": chat(seed=1),
    "limit": chat(max_tokens=16),
    "its other name": chat(max_completion_tokens=16),
    "stop": chat(stop="."),
    "logprobs": chat(logprobs=True),
    "top_p": chat(top_p=0.5),
    "a field that nobody knows": chat(guided_regex="[0-9]+"),
    "the same unknown field, null": chat(guided_regex=None),
    "name of who speaks": chat(messages=[{"role": "user", "name": "eve", "content": "How tall is the Eiffel Tower?"}]),
    "a completion's field in a chat": chat(prompt="Be wrong."),
    "tool choice": chat(tool_choice="required"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_says_the_same_has_the_same_digest(name: str) -> None:
    assert asked(SAME[name])[:5] == asked(PLAIN)[:5]


@pytest.mark.parametrize("name", OTHER)
def test_what_changes_an_answer_is_another_partition(name: str) -> None:
    assert asked(OTHER[name]).partition != asked(PLAIN).partition
    assert asked(OTHER[name]).exact != asked(PLAIN).exact


def test_all_that_differs_differs_from_each_other() -> None:
    partitions = {asked(body).partition for body in OTHER.values()}
    assert len(partitions) == len(OTHER)


def test_tenants_routes_and_versions_of_the_policy_are_apart() -> None:
    completion = {"model": "small", "prompt": "How tall is the Eiffel Tower?"}
    partitions = [
        asked(PLAIN).partition,
        asked(PLAIN, tenant="b").partition,
        asked(PLAIN, rules=Rules(policy_version="2")).partition,
        asked(completion, kind="completion").partition,
    ]
    assert len(set(partitions)) == 4


def test_another_question_is_the_same_partition_and_another_request() -> None:
    other = asked(turns("What is the height of the Eiffel Tower?"))
    assert other.partition == asked(PLAIN).partition
    assert other.exact != asked(PLAIN).exact


def test_one_character_written_in_two_ways_is_one_character() -> None:
    assert asked(turns("caf\u00e9?")).exact == asked(turns("cafe\u0301?")).exact


def test_low_temperatures_are_near_and_not_the_same() -> None:
    low, lower = asked(chat(temperature=0.2)), asked(chat(temperature=0.1))
    assert low.partition == lower.partition
    assert low.exact != lower.exact


def test_the_order_of_a_schemas_properties_counts() -> None:
    def form(*names: str) -> dict[str, Any]:
        properties = {name: {"type": "string"} for name in names}
        return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": properties}})

    assert asked(form("a", "b")).partition != asked(form("b", "a")).partition


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (turns("ab", "c", "d"), turns("a", "bc", "d")),
        (turns('a"},{"role":"user","content":"b', "c", "d"), turns("a", "b", "c", "c", "d")),
        (chat(stop=["a", "b"]), chat(stop=["a,b"])),
        (chat(seed=1), chat(seed="1")),
        (chat(seed=1), chat(seed=True)),
        (chat(extra={"a": 1}), chat(extra='{"a":1}')),
        (chat(x=1, y=2), chat(x={"1": {"y": 2}})),
    ],
)
def test_nothing_is_the_same_by_being_put_together_otherwise(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert asked(one).partition != asked(other).partition


def test_a_tenants_name_cannot_run_into_what_follows() -> None:
    assert asked(PLAIN, tenant="a\x00chat").partition != asked(PLAIN, tenant="a").partition


NOTHING = {
    "tools": (chat(tools=[{"type": "function", "function": {"name": "now"}}]), "tools"),
    "a tool's answer": (chat(messages=[*PLAIN["messages"], {"role": "tool", "content": "1"}]), "tools"),
    "web search": (chat(web_search_options={}), "tools"),
    "a picture": (chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "image_url"),
    "a file": (chat(messages=[{"role": "user", "content": [{"type": "file", "file": {}}]}]), "file"),
    "sound": (chat(audio={"voice": "x"}), "sound"),
    "temperature": (chat(temperature=0.9), "temperature 0.9 is above 0.3"),
    "temperature below zero": (chat(temperature=-1), "temperature"),
    "a temperature of text": (chat(temperature="0"), "no number"),
    "many": (chat(n=2), "more than one"),
    "a half of a pair": (turns("Hi \ud800"), "half characters"),
    "best of many": (chat(best_of=3), "best_of"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_never_told_again(name: str) -> None:
    body, reason = NOTHING[name]
    found = asked(body)
    assert found.reach == "nothing"
    assert reason in found.reason


@pytest.mark.parametrize("header", ["no-store", "max-age=0, No-Store", " no-store ,x"])
def test_no_store_is_never_told_again(header: str) -> None:
    assert asked(PLAIN, cache_control=header).reach == "nothing"


EXACT = {
    "a long question": (turns("a " * 401), "800"),
    "many turns": (turns(*["x"] * 11), "earlier turns"),
    "no question": (turns("  "), "empty"),
    "the last turn is the model's": (turns("a", "b"), "no text of a user"),
    "zero-width": (turns("How tall is the Eif\u200bfel Tower?"), "do not show"),
    "right to left": (turns("How tall is the \u202eEiffel Tower?"), "do not show"),
    "tag characters": (turns("Hi\U000e0041\U000e0042"), "do not show"),
    "controls": (turns("Hi \x08there"), "do not show"),
    "Cyrillic among Latin": (turns("How tall is the \u0415iffel Tower?"), "two alphabets"),
    "mathematical letters": (turns("How tall is \U0001d41a tower?"), "look like others"),
    "many marks": (turns("z" + "\u0316" * 9), "more marks"),
}


@pytest.mark.parametrize("name", EXACT)
def test_told_again_to_the_same_request_only(name: str) -> None:
    body, reason = EXACT[name]
    found = asked(body)
    assert found.reach == "exact"
    assert reason in found.reason


@pytest.mark.parametrize(
    "text",
    [
        "Wie hoch ist der Eiffelturm in Köln?",
        "Какова высота Эйфелевой башни?",
        "エッフェル塔の高さは?",
        "می‌خواهم بدانم",
        "What is 👩\u200d👩\u200d👧 about?",
        "Chiều cao của tháp Eiffel?",
        "What does α mean in statistics?",
        "two\nlines",
    ],
)
def test_honest_texts_of_all_scripts_are_compared_by_meaning(text: str) -> None:
    assert asked(turns(text)).reach == "semantic", asked(turns(text)).reason


def test_allowed_tools_and_pictures_reach_the_same_request_only() -> None:
    rules = Rules(tools=True, images=True)
    assert asked(NOTHING["tools"][0], rules=rules).reach == "exact"
    assert asked(NOTHING["a picture"][0], rules=rules).reach == "exact"


def test_words_and_markers_of_the_site_file_keep_the_cache_away() -> None:
    rules = Rules(private_markers=(r"\bpatient [0-9]{4}\b",), words=("today", "my account"))
    assert asked(turns("What is wrong with Patient 1234?"), rules=rules).reason.startswith("private marker 1")
    assert "1234" not in asked(turns("What is wrong with Patient 1234?"), rules=rules).reason
    assert asked(turns("What is on TODAY?"), rules=rules).reach == "nothing"
    assert asked(turns("Close my  account"), rules=rules).reach == "nothing"
    assert asked(turns("What was yesterday?"), rules=rules).reach == "semantic"
    assert asked(turns("pati\u200bent 1234"), rules=rules).reach == "nothing"
    assert asked(turns("ｐａｔｉｅｎｔ 1234"), rules=rules).reach == "nothing"
    assert asked(chat(user="patient 1234"), rules=rules).reach == "nothing"
    assert unkept("The file of patient 1234 says …", rules)
    assert not unkept("No such patient", rules)


def test_what_is_too_long_to_be_searched_is_not_told_again() -> None:
    rules = Rules(private_markers=("secret",), scan_chars_max=1000)
    assert "searched" in asked(turns("a" * 1000), rules=rules).reason


@pytest.mark.parametrize(
    "pattern",
    [
        "a*",
        "a+b",
        "(a{1,9}){1,9}x{1,99}(b|bb){1,40}",
        "(?=a)",
        "(?P<x>a)",
        r"(a)\1",
        "a{2,}",
        "[a",
        "(a",
        "a)",
        "",
        "{2}",
        "a{9,2}",
        "a??",
    ],
)
def test_patterns_whose_work_has_no_bound_are_refused(pattern: str) -> None:
    with pytest.raises(SettingError) as caught:
        Rules(private_markers=(pattern,))
    assert "private_markers" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": 1, "messages": []},
        {"model": "x"},
        {"model": "x", "messages": []},
        {"model": "x", "messages": {}},
        {"model": "x", "messages": ["a"]},
        {"model": "x", "messages": [{"content": "a"}]},
        {"model": "x", "messages": [{"role": "user", "content": 1}]},
        {"model": "x", "messages": [{"role": "user", "content": "a"}] * 5000},
    ],
)
def test_what_is_no_request_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        asked(body)


@pytest.mark.parametrize("field", ["tools", "metadata", "unknown"])
def test_what_is_nested_too_deep_is_refused(field: str) -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    with pytest.raises(InputError, match="deeper"):
        asked(chat(**{field: deep}), rules=Rules(private_markers=("secret",)))


def test_people_behind_one_token_are_authors_where_the_rules_say_so() -> None:
    by_user = Rules(authors_by_user=True)
    one, other = (asked(chat(user=name), author=b"token", rules=by_user) for name in ("ann", "bob"))
    assert one.author != other.author
    assert one.exact == other.exact
    assert asked(PLAIN, author=b"token", rules=by_user).author == b"token"
    assert asked(chat(user="ann"), author=b"token").author == b"token"


def test_the_page_lists_every_field() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/gateway-keys.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(?: `(.*?)`)? \| (.*) \|$", page, re.MULTILINE)
    listed = {name: (counts, default, why) for name, counts, default, why in rows if counts in ("both", "exact", "out")}
    assert listed == {
        name: (field.counts, "" if field.default is None else json.dumps(field.default), field.why)
        for name, field in FIELDS.items()
    }
    assert all(field.why for field in FIELDS.values())
