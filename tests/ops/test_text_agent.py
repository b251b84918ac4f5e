"""The agent `text` against the package `tokenizers`: the same ids for texts of every script."""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from littoral.artifact import AgentManifest, custom_section
from littoral.errors import AgentError, NotFoundError, SettingError, TooLargeError
from littoral.runtime import agent_files
from littoral.runtime.agents import Agent
from littoral.tensors import Array, TensorSpec
from mixed_texts import byte_level_bpe, mixed_lines, wordpiece

ROOT = Path(__file__).parents[2]
LINE_COUNT = 10_000
TOGETHER = 50
FILES: dict[str, Callable[[], str]] = {
    "wordpiece": wordpiece,
    "wordpiece_cased": lambda: wordpiece(lowercase=False),
    "byte_level_bpe": byte_level_bpe,
    "split_bpe": lambda: byte_level_bpe(is_split=True),
}


def opened(text: Path, file: str, **config: Any) -> Agent:
    return Agent.open(text, config, files={"tokenizer": file.encode()})


def record(value: object) -> bytes:
    """A record of a JSON text sequence."""
    return b"\x1e" + json.dumps(value).encode() + b"\n"


def ids(answer: bytes | Mapping[str, Array], row: int = 0) -> list[int]:
    assert isinstance(answer, Mapping)
    return answer["input_ids"][row][answer["attention_mask"][row] == 1].tolist()


def judge(file: str, tokens_max: int) -> Tokenizer:
    tokenizer = Tokenizer.from_str(file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    return tokenizer


@pytest.mark.parametrize("name", FILES)
def test_ids_are_those_of_the_package(text: Path, name: str) -> None:
    file, lines = FILES[name](), mixed_lines(LINE_COUNT * 5 // 4, seed=7)
    wanted = [found.ids for found in judge(file, 200).encode_batch(lines)]
    whole = [(line, want) for line, want in zip(lines, wanted, strict=True) if want][:LINE_COUNT]
    assert len(whole) == LINE_COUNT
    with opened(text, file, max_tokens=200) as agent:
        for start in range(0, len(whole), TOGETHER):
            some = whole[start : start + TOGETHER]
            answer = agent.infer(record([line for line, _ in some]))
            for row, (line, want) in enumerate(some):
                assert ids(answer, row) == want, repr(line)
        for line, want in whole[::20]:
            assert ids(agent.infer(line.encode())) == want, repr(line)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_too_long_is_cut_as_the_package_cuts_it(text: Path, name: str, side: str) -> None:
    file = FILES[name]()
    tokenizer = Tokenizer.from_str(file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(9, direction=side)
    with opened(text, file, max_tokens=9, truncate_side=side) as agent:
        for line in mixed_lines(300, seed=8):
            if want := tokenizer.encode(line).ids:
                assert ids(agent.infer(line.encode())) == want
                assert len(want) <= 9


def test_the_files_own_truncation_holds_and_its_padding_does_not(text: Path) -> None:
    with opened(text, wordpiece()) as agent:
        answer = agent.infer(b"one word " * 500)
        assert answer["input_ids"].shape == (1, 128)
        assert agent.infer(b"a")["input_ids"].shape == (1, 3)


def test_ids_given_are_wrapped_and_cut_like_those_of_a_text(text: Path) -> None:
    file = wordpiece()
    plain = Tokenizer.from_str(file)
    plain.no_padding()
    with opened(text, file, max_tokens=12) as agent:
        for line in mixed_lines(100, seed=9):
            bare = plain.encode(line, add_special_tokens=False).ids
            if bare:
                want = ids(agent.infer(line.encode()))
                assert ids(agent.infer(record(bare))) == want
                assert ids(agent.infer(record([bare]))) == want


def test_a_batch_is_padded_and_masked(text: Path) -> None:
    with opened(text, wordpiece(), token_type_ids=True) as agent:
        assert agent.output == tuple(
            TensorSpec(name, "int64", (-1, -1)) for name in ("input_ids", "attention_mask", "token_type_ids")
        )
        answer = agent.infer(record(["one", "one two three four five"]))
        assert isinstance(answer, dict)
        mask = answer["attention_mask"]
        assert mask.shape[0] == 2
        assert mask[1].all()
        assert 3 <= mask[0].sum() < mask.shape[1]
        pad = Tokenizer.from_str(wordpiece()).token_to_id("[PAD]")
        assert (answer["input_ids"][0][mask[0] == 0] == pad).all()
        assert not answer["token_type_ids"].any()


@pytest.mark.parametrize("value", ["a text", ["a text"]])
def test_a_record_of_one_text_is_that_text(text: Path, value: object) -> None:
    with opened(text, byte_level_bpe()) as agent:
        assert ids(agent.infer(record(value))) == ids(agent.infer(b"a text"))


def test_without_special_tokens(text: Path) -> None:
    want = Tokenizer.from_str(wordpiece())
    want.no_padding()
    with opened(text, wordpiece(), special_tokens=False) as agent:
        assert ids(agent.infer(b"the gateway")) == want.encode("the gateway", add_special_tokens=False).ids
        with pytest.raises(AgentError, match="the text has no tokens, at least 1 is needed") as caught:
            agent.infer(b"")
        assert caught.value.number == -1


@pytest.mark.parametrize(
    ("config", "data", "number", "words"),
    [
        ({}, b"\xff", -1, "input is no UTF-8 text: byte 0"),
        ({"max_bytes": 3}, b"four", -2, "input of 4 bytes, at most 3"),
        ({"max_texts": 1}, record(["a", "b"]), -2, "2 texts, at most 1"),
        ({"max_tokens": 3, "truncate": False}, b"more than one", -2, "text of .* tokens, at most 3"),
        ({"max_tokens": 3, "truncate": False}, record(["a", "more than one"]), -2, "input 1: text of .* tokens"),
        ({}, record([999_999]), -1, "token id 999999 is not in the vocabulary"),
        ({}, record({"a": 1}), -1, "JSON is no text, list of texts, list of token ids or list of such lists"),
        ({}, b"\x1e[", -1, "input is no JSON: EOF"),
    ],
)
def test_inputs_that_are_refused(text: Path, config: dict[str, Any], data: bytes, number: int, words: str) -> None:
    with opened(text, wordpiece(), **config) as agent:
        with pytest.raises(AgentError, match=words) as caught:
            agent.infer(data)
        assert caught.value.number == number
        assert agent.statistics().failures == 0
        assert ids(agent.infer(b"a"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"max_tokens": 2}, "`max_tokens` is `2`, and special tokens alone are 2: must be more"),
        ({"max_tokens": 9000}, "`max_tokens` is `9000`, must be a whole number 0..8192"),
        ({"truncate_side": "up"}, '`truncate_side` is `"up"`, must be `file` or `right` or `left`'),
        ({"max_token": 2}, "unknown key `max_token` · hint: did you mean `max_tokens`?"),
    ],
)
def test_configurations_that_are_refused(text: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(AgentError) as caught:
        opened(text, wordpiece(), **config)
    assert words in caught.value.message
    assert caught.value.number == -4


def test_files_go_to_init_and_make_another_digest(text: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(wordpiece())
    with (
        Agent.open(text, files={"tokenizer": path}) as one,
        opened(text, wordpiece()) as same,
        opened(text, wordpiece(), max_tokens=9) as other,
        opened(text, byte_level_bpe()) as another,
        one.another() as twin,
    ):
        assert one.digest == same.digest == twin.digest
        assert len({one.digest, other.digest, another.digest}) == 3
        assert ids(twin.infer(b"the gateway")) == ids(one.infer(b"the gateway"))


def test_files_that_cannot_be_had(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentError, match="file `tokenizer` is missing · hint: `files ="):
        Agent.open(text)
    with pytest.raises(AgentError, match="unknown file `words`"):
        Agent.open(text, files={"tokenizer": wordpiece().encode(), "words": b""})
    with pytest.raises(NotFoundError, match="agent `text`: file `tokenizer`: .*No such file"):
        Agent.open(text, files={"tokenizer": tmp_path / "none.json"})
    with pytest.raises(SettingError, match="17 files, at most 16"):
        Agent.open(text, files={f"f{i}": b"" for i in range(17)})
    with pytest.raises(SettingError, match="not with one in bytes"):
        Agent.open(text, b"{}", files={"tokenizer": b""})
    monkeypatch.setattr(agent_files, "FILE_BYTES_MAX", 5)
    (tmp_path / "long").write_bytes(b"123456")
    with pytest.raises(TooLargeError, match="has more than 5 bytes"):
        Agent.open(text, files={"tokenizer": tmp_path / "long"})
    with pytest.raises(TooLargeError, match="more than 10 bytes together"):
        Agent.open(text, files={"a": b"123456", "b": b"123456"})


def test_the_manifest_says_what_the_agent_does(text: Path) -> None:
    payload = custom_section(text.read_bytes(), "littoral.agent")
    assert payload is not None
    manifest = AgentManifest.decode(payload)
    assert manifest.accepts == ("text/plain", "application/json-seq")
    assert manifest.imports == ()
    table = tomllib.loads((ROOT / "guests/Cargo.toml").read_text())["workspace"]["package"]
    assert manifest.version == table["version"]
    defaults = {key: entry["default"] for key, entry in (manifest.config or {})["properties"].items()}
    with opened(text, wordpiece(), **defaults) as told, opened(text, wordpiece()) as silent:
        assert ids(told.infer(b"as ever")) == ids(silent.infer(b"as ever"))


def test_results_do_not_depend_on_what_came_before(text: Path) -> None:
    lines: Sequence[str] = [line for line in mixed_lines(200, seed=11) if line.strip()]
    with opened(text, byte_level_bpe()) as agent:
        first = [ids(agent.infer(line.encode())) for line in lines]
        again = [ids(agent.infer(line.encode())) for line in reversed(lines)][::-1]
    assert first == again
    assert np.mean([len(found) for found in first]) > 10
