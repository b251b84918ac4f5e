"""Tokenizer files and texts that are made to hurt: each costs an error with words, and at most one instance."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from littoral.clock import SYSTEM
from littoral.errors import AgentError, DeadlineError, MemoryCapError, SandboxError, TrapError
from littoral.runtime.agents import Agent
from mixed_texts import byte_level_bpe, mixed_lines, wordpiece

MEMORY_BYTES = 48 << 20
START_MS = 2000
CONFIG = -4


def opened(text: Path, file: str | bytes, **more: Any) -> Agent:
    data = file if isinstance(file, bytes) else file.encode()
    limits: dict[str, Any] = {"memory_bytes": MEMORY_BYTES, "start_deadline_ms": START_MS} | more
    return Agent.open(text, files={"tokenizer": data}, **limits)


def changed(file: str, **parts: object) -> str:
    return json.dumps(json.loads(file) | parts)


def model(**parts: object) -> str:
    return changed(wordpiece(), model=json.loads(wordpiece())["model"] | parts)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("", "tokenizer: EOF while parsing a value"),
        (b"\xff", "tokenizer: no UTF-8 text: byte 0"),
        ("[]", "tokenizer: "),
        ("{}", "tokenizer: "),
        ('{"version": "1.0", "normalizer": ' + "[" * 100_000, "tokenizer: "),
        (wordpiece()[:-2], "tokenizer: EOF"),
        (changed(wordpiece(), version="9.0"), "tokenizer: "),
        (changed(wordpiece(), model=None), "tokenizer: "),
        (changed(wordpiece(), model={"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}), "has WordPiece and BPE"),
        (changed(wordpiece(), model={"type": "WordLevel", "vocab": {}, "unk_token": "a"}), "has WordPiece and BPE"),
        (model(type="Magic"), "tokenizer: "),
        (model(vocab={"a": -1}), "tokenizer: "),
        (model(vocab={"a": 1 << 40}), "tokenizer: "),
        (
            changed(
                byte_level_bpe(),
                model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]},
            ),
            "tokenizer: ",
        ),
        (
            changed(
                byte_level_bpe(),
                pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": False},
            ),
            "tokenizer: ",
        ),
        (
            changed(wordpiece(), truncation={"max_length": 10_000, "strategy": "LongestFirst", "stride": 0}),
            "`truncation` is at 10000 tokens, at most 8192 · hint: set `max_tokens`",
        ),
    ],
)
def test_files_that_are_refused(text: Path, file: str | bytes, words: str) -> None:
    with pytest.raises(AgentError) as caught:
        opened(text, file)
    assert caught.value.number == CONFIG
    assert words in caught.value.message


@pytest.mark.parametrize(
    "regex",
    [r"(a+)+\1$", r"(?=(a+)+b)a", r"((a{1,500}){1,500}){1,500}", r"(?:a|aa)+\b(?<=x)", r"(\w+\s?)+$(?!x)"],
)
def test_patterns_that_explode_end_in_time(text: Path, regex: str) -> None:
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    began = SYSTEM.monotonic()
    try:
        with opened(text, changed(byte_level_bpe(), pre_tokenizer=split), deadline_ms=1000) as agent:
            agent.infer(b"a" * 20_000 + b"!")
    except (AgentError, DeadlineError, MemoryCapError, TrapError):
        pass
    assert SYSTEM.monotonic() - began < 30


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1_000_000},
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40},
    ],
)
def test_texts_that_grow_end_at_the_memory_cap(text: Path, normalizer: object) -> None:
    with opened(text, changed(wordpiece(), normalizer=normalizer), deadline_ms=10_000) as agent:
        with pytest.raises(SandboxError) as caught:
            agent.infer(b"a a a a" * 100)
        assert isinstance(caught.value, MemoryCapError | DeadlineError | TrapError)
        assert agent.statistics().failures == 1
        assert agent.infer(b"b")


def mutations(file: str, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    data = file.encode()
    head = data.index(b'"vocab"') + 400  # most bytes are words; what has a meaning stands before them
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(head if rng.random() < 0.8 else len(mutant))
            match rng.randrange(4):
                case 0:
                    mutant[at] = rng.randrange(256)
                case 1:
                    del mutant[at : at + rng.choice((1, 2, 10, 100))]
                case 2:
                    mutant[at:at] = mutant[rng.randrange(head) :][: rng.choice((1, 5, 50))]
                case _:
                    mutant[at:at] = rng.choice((b"9" * 12, b"null", b"-1", b"{}", b"[]", b'""', b"true", b"1e9"))
        yield bytes(mutant)


@pytest.mark.parametrize("name", ["wordpiece", "bpe"])
def test_changed_files_are_loaded_or_refused(text: Path, name: str) -> None:
    file = wordpiece() if name == "wordpiece" else byte_level_bpe(is_split=True)
    lines = [line.encode() for line in mixed_lines(5, seed=3)]
    loaded = 0
    for mutant in mutations(file, 150, seed=5):
        try:
            with opened(text, mutant) as agent:
                loaded += 1
                for line in lines:
                    agent.infer(line)
        except (AgentError, TrapError, MemoryCapError, DeadlineError) as error:
            assert error.message
    assert loaded


@pytest.mark.parametrize("name", ["wordpiece", "bpe"])
def test_long_texts_are_done_in_time(text: Path, name: str) -> None:
    file = wordpiece() if name == "wordpiece" else byte_level_bpe()
    million = 1 << 20
    with opened(text, file, memory_bytes=256 << 20, deadline_ms=20_000) as agent:
        for data in (b"a" * million, b"a " * (million // 2), "\u0301".encode() * (million // 2), b"\0" * million):
            answer = agent.infer(data)
            assert isinstance(answer, dict)
            assert answer["input_ids"].shape[1] <= 512
        assert agent.statistics().failures == 0
