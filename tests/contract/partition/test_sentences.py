"""Sentences that sets of vectors are made of."""

import zipfile
from pathlib import Path

from bench.sentences import cut, descriptions, sentences

SOURCE = b'''"""The first sentence of a module that says what it is.

Another paragraph, which holds two of them and is long enough. The second one of these is as long as that.
"""


def work():
    """Too short."""
'''


def test_whole_sentences_are_taken_and_nothing_else() -> None:
    text = (
        "Returns ------- a table of things that is not a sentence.  This is a sentence of many words in a row.\nNo end"
    )
    assert list(cut(text)) == ["This is a sentence of many words in a row."]


def test_descriptions_lose_their_tags() -> None:
    found = descriptions({"a": [{"documentation": "<p>Says &amp; tells.</p>"}], "documentation": {"no": "text"}})
    assert [text.strip() for text in found] == ["Says & tells."]


def test_the_same_seed_gives_the_same_sentences(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/work.py", SOURCE)
        archive.writestr("a/broken.py", "def (")
        archive.writestr("a/tests/test_work.py", SOURCE.replace(b"module", b"test"))
    found = sentences({"a": wheel}, each=10, count=10, seed=1)
    assert found == sentences({"a": wheel}, each=10, count=10, seed=1)
    assert {package for _, package in found} == {"a"}
    assert sorted(text for text, _ in found) == [
        "Another paragraph, which holds two of them and is long enough.",
        "The first sentence of a module that says what it is.",
        "The second one of these is as long as that.",
    ]
    assert len(sentences({"a": wheel}, each=2, count=10, seed=1)) == 2
