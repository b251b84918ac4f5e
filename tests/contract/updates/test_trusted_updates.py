"""What is published is what nodes get: signed offline, chosen online, verified, fetched."""

from pathlib import Path

import pytest

from fleet_trust import NODE, Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_what_is_published_and_told_is_verified_and_fetched(fleet: Fleet, tmp_path: Path) -> None:
    model = fleet.publish("models/embedder/1.wasm", b"first" * 1000)
    wish = fleet.tell(model)
    client = fleet.client()
    found = client.refresh()
    assert found.desired == wish
    assert list(found.targets) == [model]
    file = client.fetch(found.targets[model], tmp_path / "embedder.wasm")
    assert file.read_bytes() == b"first" * 1000


def test_a_state_that_is_known_is_verified_again_and_taken_again(fleet: Fleet) -> None:
    model = fleet.publish("models/embedder/1.wasm", b"first")
    fleet.tell(model)
    first = fleet.client().refresh()
    for client in (fleet.client(), fleet.client()):
        assert client.refresh(1) == first
        assert client.refresh(1) == first
    newer = fleet.publish("models/embedder/2.wasm", b"second")
    wish = fleet.tell(newer)
    assert fleet.client().refresh(1).desired == wish
    assert fleet.director.told(NODE) == wish
