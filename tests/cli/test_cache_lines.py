"""Lines of a file on their way to a gateway: in batches, with the numbers of the file, each of them once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from littoral.cli import cache_warming
from littoral.cli.cache_warming import BATCH_LINES, Lines, warm_lines
from littoral.errors import InputError, NotFoundError, UnavailableError
from littoral.node.client import NodeClient


class Taken(NodeClient):
    """Keeps what it is sent, and gives up after so many batches. A line without a question is refused."""

    def __init__(self, batches: int = 1_000) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.left = batches

    def call(self, method: str, path: str, body: bytes | None = None, *, media_type: str = "") -> Any:
        assert (method, path, media_type) == ("POST", "/api/gateway/import", "application/x-ndjson")
        if not self.left:
            raise UnavailableError("gone")
        self.left -= 1
        lines = [json.loads(line) if line else None for line in (body or b"").split(b"\n")[:-1]]
        assert len(lines) <= BATCH_LINES
        found = [line for line in lines if line is not None]
        self.lines += found
        bad = [number for number, line in enumerate(lines, 1) if line is not None and "question" not in line]
        told = {"kept": len(found) - len(bad), "refused": len(bad)}
        return told | {"line": bad[0] if bad else None, "why": "no question" if bad else ""}


def write(file: Path, lines: list[Any]) -> Path:
    file.write_text("".join(f"{json.dumps(line)}\n" if line is not None else "\n" for line in lines))
    return file


def questions(first: int, count: int) -> list[dict[str, Any]]:
    return [{"question": f"How is {number} made?", "answer": str(number)} for number in range(first, first + count)]


def test_every_line_is_sent_once_wherever_it_is_interrupted(tmp_path: Path) -> None:
    rng = random.Random(5)
    lines: list[Any] = questions(0, 700)
    for at in sorted(rng.sample(range(700), 40)):
        lines[at] = None
    file, sent = write(tmp_path / "log.jsonl", lines), list[dict[str, Any]]()
    while True:
        client = Taken(rng.randint(1, 3))
        try:
            warm_lines(client, Lines(file), lambda _: None)
        except UnavailableError:
            sent += client.lines
            continue
        sent += client.lines
        break
    assert sent == [line for line in lines if line is not None]
    assert warm_lines(Taken(0), Lines(file), lambda _: None).lines == 0


def test_a_log_that_grew_is_read_on_and_another_file_from_its_beginning(tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", questions(0, 3))
    assert warm_lines(Taken(), Lines(file), lambda _: None) == (3, 3, 0)
    with file.open("a") as stream:
        stream.write(json.dumps(questions(3, 1)[0]) + '\n{"question": "half')
    client = Taken()
    assert warm_lines(client, Lines(file), lambda _: None) == (1, 1, 0)
    assert client.lines == questions(3, 1)
    with file.open("a") as stream:
        stream.write(' of it", "answer": "yes"}\n')
    assert warm_lines(client, Lines(file), lambda _: None) == (1, 1, 0)
    assert client.lines[-1] == {"question": "half of it", "answer": "yes"}
    assert warm_lines(Taken(), Lines(file, is_again=True), lambda _: None).lines == 5
    write(file, questions(50, 9))
    assert warm_lines(Taken(), Lines(file), lambda _: None).lines == 9


def test_what_the_command_line_says_holds_for_every_line(tmp_path: Path) -> None:
    file = write(tmp_path / "own.jsonl", [{"question": "a", "answer": "b", "tags": ["x"]}, {"question": "c"}])
    client = Taken()
    warm_lines(client, Lines(file, tags=("x", "y"), tier="curated", limit=1), lambda _: None)
    assert client.lines == [{"question": "a", "answer": "b", "tags": ["x", "y"], "tier": "curated"}]
    assert warm_lines(client, Lines(file, limit=5), lambda _: None).lines == 1


def test_lines_that_are_refused_are_told_by_their_number_in_the_file(tmp_path: Path) -> None:
    lines = questions(0, 100)
    lines[80] = {"q": 1}
    said: list[str] = []
    assert warm_lines(Taken(), Lines(write(tmp_path / "log.jsonl", lines)), said.append) == (100, 99, 1)
    assert said == ["line 81 is refused: no question"]


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"question": 1}\n[1]\n', "line 2 is no object"), ("{}\n{x}\n", "line 2 is no JSON"), ("\n{", "")],
)
def test_a_file_that_is_none_of_lines_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(text)
    if not words:
        assert warm_lines(Taken(), Lines(file), lambda _: None).lines == 1
        return
    with pytest.raises(InputError, match=words):
        warm_lines(Taken(), Lines(file), lambda _: None)


def test_a_line_that_is_too_long_and_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_warming, "LINE_BYTES_MAX", 30)
    file = write(tmp_path / "log.jsonl", [{"question": "a"}, {"question": "a" * 30}])
    with pytest.raises(InputError, match="line 2 has more than 30 bytes"):
        warm_lines(Taken(), Lines(file), lambda _: None)
    with pytest.raises(NotFoundError, match="is no file"):
        Lines(tmp_path / "nothing")
