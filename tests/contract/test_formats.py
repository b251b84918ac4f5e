"""Files with a format number of a later version: refused in words, and not touched."""

import json
import sqlite3
from pathlib import Path

import pytest

from littoral.clock import SYSTEM
from littoral.errors import SettingError, ShardError
from littoral.vectors.aliases import AliasChange, Aliases
from littoral.vectors.cache_journal import CacheJournal
from littoral.vectors.layout import read_collection_file
from littoral.vectors.replication.journal import Journal
from littoral.web.access.tokens import TokenFile, read_tokens

LATER = r"has format 2, this version knows 1"


def test_a_collection(tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text('{"format": 2, "config": "of another kind"}')
    with pytest.raises(ShardError, match=LATER) as caught:
        read_collection_file(tmp_path)
    assert caught.value.hint == "a later version wrote it: update this node, or restore a backup of before"
    (tmp_path / "collection.json").write_text('{"format": 1, "config": "of another kind"}')
    with pytest.raises(ShardError, match=r"Expected `object`, got `str` - at `\$\.config`"):
        read_collection_file(tmp_path)


def test_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.write_text('{"format": 2, "tokens": {}}')
    with pytest.raises(SettingError, match=LATER):
        read_tokens(file)
    with pytest.raises(SettingError, match=LATER):
        TokenFile(file, SYSTEM)
    assert file.read_text() == '{"format": 2, "tokens": {}}'


def test_aliases(tmp_path: Path) -> None:
    file = tmp_path / "aliases.json"
    file.write_text('{"format": 2, "aliases": {"a": "b"}}')
    aliases = Aliases(tmp_path)
    aliases.load()
    with pytest.raises(ShardError, match=LATER):
        aliases.change([AliasChange("c", "b")], {"b"})
    assert file.read_text() == '{"format": 2, "aliases": {"a": "b"}}'


@pytest.mark.parametrize("before", [{"a": "b"}, {"aliases": "b"}, {"format": "b"}, {}])
def test_aliases_of_before_there_was_a_number(tmp_path: Path, before: dict[str, str]) -> None:
    (tmp_path / "aliases.json").write_text(json.dumps(before))
    aliases = Aliases(tmp_path)
    aliases.load()
    assert aliases.all() == before
    aliases.change([AliasChange("c", "b")], {"b"})
    again = Aliases(tmp_path)
    again.load()
    assert again.all() == before | {"c": "b"}
    assert json.loads((tmp_path / "aliases.json").read_bytes())["format"] == 1


def test_a_journal_of_a_replica(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, "a", "1").close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE marks SET value = 2 WHERE name = 'format'")
        file.execute("DROP TABLE owed")
    file.close()
    before = path.read_bytes()
    with pytest.raises(ShardError, match=LATER):
        Journal(path, "a", "1")
    assert path.read_bytes() == before


def test_a_cache_of_another_version_is_begun_anew_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cache"
    path.write_bytes(b"LITTORAL-CACHE-9\nwhatever")
    journal = CacheJournal(path, 1 << 20)
    assert list(journal.read()) == []
    journal.add(b"k" * 32, b"value")
    journal.close()
    assert "of another version, or sealed by other keys: begun anew" in caplog.text
    again = CacheJournal(path, 1 << 20)
    assert list(again.read()) == [(b"k" * 32, b"value")]
    again.close()
