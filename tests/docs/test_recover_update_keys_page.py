"""`docs/guides/recover-update-keys.md`: every block is run as it stands, and a node that was there before goes on."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_trust import NODE, Fleet
from littoral.cli.app import app
from littoral.orchestrator.objects_s3 import S3Objects
from littoral.orchestrator.signing import ObjectsMetadata
from littoral.updates.metadata.keys import read_public
from littoral.updates.metadata.store import MetadataStore
from s3_server import s3_server

PAGE = (Path(__file__).parents[2] / "docs/guides/recover-update-keys.md").read_text()
SECTIONS = {
    part.partition("\n")[0]: block.group(1).splitlines()
    for part in PAGE.split("\n## ")[1:]
    if (block := re.search(r"```sh\n(.*?)```", part, re.DOTALL))
}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """With a node that has taken deployment 1, and a backup of that time."""
    fleet = made(tmp_path)
    (tmp_path / "fleet").mkdir()
    for name, place in {"fleet/metadata": "served", "fleet/keys": "online", "safe": "offline"}.items():
        (tmp_path / name).symlink_to(tmp_path / place)
    shutil.copytree(tmp_path / "served", tmp_path / "backup/metadata")
    later(fleet)
    monkeypatch.chdir(tmp_path)
    return fleet


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


def made(folder: Path, store: MetadataStore | None = None) -> Fleet:
    """With a node that is told of deployment 1."""
    fleet = Fleet(folder, delegates_uploads=True, store=store)
    fleet.publish("models/embedder/1.wasm", b"first")
    fleet.publish("models/uploaded/1.wasm", b"by the page", role="uploads")
    fleet.tell("models/embedder/1.wasm")
    return fleet


def later(fleet: Fleet) -> None:
    fleet.clock.advance(3600)
    fleet.tell("models/embedder/1.wasm")
    fleet.image.refresh(force=True)
    fleet.client().refresh()


def run(line: str) -> None:
    words = shlex.split(line)
    if words[0] != "littoral":
        subprocess.run(words, check=True)
        return
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, (line, done.output, done.exception)


def removed(lines: list[str]) -> list[str]:
    """Ids of keys that the commands take out."""
    files = [re.search(r"--remove (\S+)", line) for line in lines]
    return [read_public(Path(found[1])).keyid for found in files if found]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_block_is_right_as_it_stands(fleet: Fleet, section: str) -> None:
    lines = SECTIONS[section]
    gone = removed([line for line in lines if "--remove" in line])
    for line in lines:
        run(line)
    check(fleet, gone)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_block_is_right_for_an_orchestrator_on_s3(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    """Its file in the place of the folder; what a block copies there is put there by another tool."""
    url = f"s3://fleet/{os.getpid()}-{tmp_path.name}"
    fleet = made(tmp_path, ObjectsMetadata(S3Objects(url, endpoint=endpoint)))
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet/metadata").write_text(
        f'[orchestrator]\nname = "f"\nlisten = "127.0.0.1:0"\ndata = "."\n\n[auth]\ntokens = "tokens.json"\n\n'
        f'[objects]\nurl = "{url}"\nendpoint = "{endpoint}"\n'
    )
    for name, place in {"fleet/keys": "online", "safe": "offline"}.items():
        (tmp_path / name).symlink_to(tmp_path / place)
    backup = [(path, fleet.store.read(path) or b"") for path in fleet.store.list("")]
    later(fleet)
    monkeypatch.chdir(tmp_path)
    lines = SECTIONS[section]
    gone = removed([line for line in lines if "--remove" in line])
    for line in lines:
        if line.startswith("cp -r backup/metadata/. fleet/metadata"):
            fleet.store.write_all(backup)
        else:
            run(line.replace(" --online fleet/keys", ""))
    check(fleet, gone)


def check(fleet: Fleet, gone: list[str]) -> None:
    """Keys that went are of no role, and nodes follow."""
    again = reopened(fleet)
    for chain in (again.image.root, again.director.root):
        listed = {key_id for role in chain.current.roles.values() for key_id in role.keyids}
        assert not listed & set(gone)
    wish = again.tell("models/embedder/1.wasm", "models/uploaded/1.wasm", deployment=7)
    for client in (fleet.client(), fleet.client("new")):
        found = client.refresh()
        assert found.desired == wish
        client.fetch(found.targets["models/uploaded/1.wasm"], Path("fetched"))
    assert again.director.told(NODE) == wish


def reopened(fleet: Fleet) -> Fleet:
    """As an orchestrator that starts on what is there now: folders of keys are read again."""
    fleet.open()
    return fleet


def test_every_role_is_told_of() -> None:
    assert len(SECTIONS) == 7
    rotated = set(re.findall(r"littoral keys rotate fleet/metadata (\w+ \w+)", PAGE))
    assert rotated == {
        *("image root", "image targets", "image snapshot", "image timestamp", "image uploads"),
        *("director root", "director targets", "director snapshot", "director timestamp"),
    }


def test_everything_lost_is_a_new_fleet_by_a_new_trust_file(fleet: Fleet, tmp_path: Path) -> None:
    other = Fleet(tmp_path / "another")
    model = other.publish("models/embedder/1.wasm", b"first")
    wish = other.tell(model)
    other.trust.write(tmp_path / "fleet.json")
    client = other.client(folder=str(tmp_path / "nodes" / NODE))
    assert client.refresh().desired == wish
