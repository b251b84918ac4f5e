"""A model's table put into a site file's text and cut out again: nothing else of the text changes."""

import tomllib

import pytest

from littoral.errors import ConflictError
from littoral.node.making.site_text import with_model, with_version, without_model

TEXT = b'''# of the shop
[node]
name = "store-12" # as on the door

[models.first]
path = "first.wasm"
state = { "a" = "b" }

[models.first.instances]
max = 2

[models."odd.name"]
path = """
[models.first]
"""
versions = [
  1,
  2
]

[[mqtt.routes]]
topic = "[models.first]"
'''


def test_what_is_put_in_is_cut_out_again() -> None:
    added = with_model(TEXT, "fresh", "data/models/fresh-0.wasm", "0" * 64)
    assert added.startswith(TEXT.rstrip(b"\n"))
    assert tomllib.loads(added.decode())["models"]["fresh"] == {
        "path": "data/models/fresh-0.wasm",
        "sha256": "0" * 64,
        "pipeline": False,
    }
    assert without_model(added, "fresh") == TEXT
    assert without_model(with_model(b"", "only", "a", "0"), "only").strip() == b""


def test_a_table_with_tables_of_its_own_goes_as_a_whole() -> None:
    found = without_model(TEXT, "first")
    assert b"first.wasm" not in found
    assert b"max = 2" not in found
    assert found.startswith(b'# of the shop\n[node]\nname = "store-12" # as on the door\n\n[models."odd.name"]')
    assert found.endswith(TEXT[TEXT.index(b'[models."odd.name"]') :])


def test_lines_that_only_look_like_headers_end_nothing() -> None:
    found = without_model(TEXT, "odd.name")
    assert tomllib.loads(found.decode()).keys() == {"node", "models", "mqtt"}
    assert found.endswith(b'[[mqtt.routes]]\ntopic = "[models.first]"\n')


@pytest.mark.parametrize(
    "text", [b'models = { a = { path = "a" } }\n', b'[models]\na.path = "a"\nb.path = "b"\n'], ids=["inline", "dotted"]
)
def test_what_stands_otherwise_is_for_hands(text: bytes) -> None:
    with pytest.raises(ConflictError, match="by hand"):
        without_model(text, "a")


def test_a_text_without_a_place_is_told() -> None:
    with pytest.raises(ConflictError, match="no place for another model"):
        with_model(b'models = { a = { path = "a" } }\n', "b", "b", "0")


def test_another_version_changes_path_and_digest_alone() -> None:
    first = with_model(TEXT + b"# fresh-0.wasm was 0000\n", "fresh", "data/models/fresh-0.wasm", "0" * 64)
    own = first.replace(b"pipeline = false", b"pipeline = false # ours\nwarm = false")
    found = with_version(own, "fresh", "data/models/fresh-1.wasm", "1" * 64)
    assert found == own.replace(b"data/models/fresh-0.wasm", b"data/models/fresh-1.wasm").replace(b"0" * 64, b"1" * 64)
    assert with_version(found, "fresh", "data/models/fresh-0.wasm", "0" * 64) == own
    escaped = own.replace(b'"data/models/fresh-0.wasm"', b'"data/models/fresh\\u002d0.wasm"')
    with pytest.raises(ConflictError, match="do not stand in one table"):
        with_version(escaped, "fresh", "data/models/fresh-1.wasm", "1" * 64)
