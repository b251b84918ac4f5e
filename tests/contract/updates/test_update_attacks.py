"""Attacks on updates, over a real HTTP server: each is refused with its own error, harms nothing, and a good update is
taken afterwards.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attacked_server import attacked
from fleet_trust import Fleet
from littoral.errors import LittoralError
from littoral.updates.artifacts import Kind
from update_attacks import ATTACKS, Attack, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    fleet = Fleet(tmp_path, delegates_uploads=True, upload_kinds=(Kind.MODEL,))
    with attacked(tmp_path / "served") as server:
        scene = Scene(tmp_path, server, fleet)
        yield scene
        scene.transport.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "_"))
def test_an_attack_is_refused_and_harms_nothing(scene: Scene, attack: Attack, tmp_path: Path) -> None:
    attack.act(scene)
    before = scene.files()
    with pytest.raises(LittoralError) as caught:
        scene.refresh() if not attack.fetches else scene.fetch(tmp_path / "fetched")
    assert type(caught.value) is attack.refused, caught.value
    assert caught.value.hint
    assert scene.files() == before
    assert not (tmp_path / "fetched").exists()
    scene.mend()
    scene.fleet.publish("models/embedder/3.wasm", b"a good one")
    wish = scene.fleet.tell("models/embedder/3.wasm", deployment=3)
    found = scene.client.refresh(2)
    assert found.desired == wish
    file = scene.client.fetch(found.targets["models/embedder/3.wasm"], tmp_path / "good")
    assert file.read_bytes() == b"a good one"
