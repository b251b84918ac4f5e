"""Keys of roles: gathered one by one, in files, in other processes; rotated; thresholds that change."""

import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root

from fleet_trust import NODE, Fleet
from littoral.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    ReplayedUpdateError,
    TrustError,
    UnsignedUpdateError,
)
from littoral.updates.artifacts import ArtifactName, Custom
from littoral.updates.metadata.director import Told
from littoral.updates.metadata.keys import KeyRing, new_key, open_signer, read_public
from littoral.updates.metadata.signatures import read_signed, signed_file
from littoral.updates.wire import Desired

FIRST = ArtifactName.parse("models/embedder/1.wasm")
DIGEST = "ab" * 32
SIGNER = """
import sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
print(key.sign(sys.stdin.buffer.read()).hex())
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_signatures_are_gathered_one_by_one_and_counted(fleet: Fleet) -> None:
    waits = fleet.image.add(FIRST, 5, DIGEST, Custom())
    assert waits is not None
    assert (waits.role, waits.version, waits.wanted, waits.missing, waits.signed_by) == ("targets", 2, 2, 2, ())
    one = fleet.image.sign("targets", fleet.targets_keys[2])
    assert (one.missing, one.signed_by) == (1, (fleet.targets_keys[2].public_key.keyid,))
    assert fleet.image.publish() == ()
    again = fleet.image.sign("targets", fleet.targets_keys[2])
    assert again.missing == 1
    with pytest.raises(ForbiddenError, match="not signed by a key of it"):
        fleet.image.sign("targets", fleet.root_keys[0])
    assert fleet.image.sign("targets", fleet.targets_keys[0]).missing == 0
    assert fleet.image.publish() == ("targets",)
    assert fleet.image.pending == ()
    assert list(fleet.image.targets()) == [str(FIRST)]
    with pytest.raises(NotFoundError, match="no targets wait"):
        fleet.image.sign("targets", fleet.targets_keys[0])


def test_another_artifact_begins_the_draft_again_and_says_so(fleet: Fleet) -> None:
    fleet.image.add(FIRST, 5, DIGEST, Custom())
    fleet.image.sign("targets", fleet.targets_keys[0])
    same = fleet.image.add(FIRST, 5, DIGEST, Custom())
    assert same is not None
    assert (same.missing, same.dropped) == (1, 0)
    more = fleet.image.add(FIRST._replace(version=2), 5, DIGEST, Custom())
    assert more is not None
    assert (more.missing, more.dropped) == (2, 1)
    assert fleet.image.waiting().keys() == {"models/embedder/1.wasm", "models/embedder/2.wasm"}


def test_a_name_is_for_the_same_bytes_for_ever(fleet: Fleet) -> None:
    fleet.publish(str(FIRST), b"bytes")
    with pytest.raises(ConflictError, match="published with other bytes"):
        fleet.image.add(FIRST, 5, DIGEST, Custom())


def test_a_file_is_signed_where_the_key_is(fleet: Fleet) -> None:
    fleet.image.add(FIRST, 5, DIGEST, Custom())
    draft = fleet.image.pending_bytes("targets")
    assert draft is not None
    for key in fleet.targets_keys[:2]:
        draft = signed_file(draft, key)
    for signature in read_signed(draft).signatures:
        told = fleet.image.attach("targets", signature)
    assert told.missing == 0
    with pytest.raises(InputError, match="signed online"):
        signed_file((fleet.folder / "served/image/metadata/timestamp.json").read_bytes(), fleet.root_keys[0])


def test_keys_are_files_sealed_files_uris_and_programs(fleet: Fleet, tmp_path: Path) -> None:
    new_key(tmp_path / "plain")
    new_key(tmp_path / "sealed", "PASSPHRASE OF SEALED.KEY")
    program = tmp_path / "signer.py"
    program.write_text(SIGNER)
    command = quote(shlex.join([sys.executable, str(program), str(tmp_path / "plain.key")]))
    public = tmp_path / "plain.pub"
    signers = [
        open_signer(str(tmp_path / "plain.key")),
        open_signer(str(tmp_path / "sealed.key"), ask=str.upper),
        open_signer(f"file2:{tmp_path / 'plain.key'}", public=public),
        open_signer(f"command:{command}", public=public),
    ]
    for signer in signers:
        signer.public_key.verify_signature(signer.sign(b"what is signed"), b"what is signed")
    fleet.image.root.rotate("targets", add=[signers[3].public_key])
    for key in fleet.root_keys[:2]:
        fleet.image.root.sign(key)
    fleet.image.publish()
    fleet.image.add(FIRST, 5, DIGEST, Custom())
    fleet.image.sign("targets", signers[3])
    assert fleet.image.sign("targets", fleet.targets_keys[0]).missing == 0


def test_what_is_no_key_says_so(tmp_path: Path) -> None:
    new_key(tmp_path / "sealed", "another")
    (tmp_path / "text.key").write_text("no key")
    (tmp_path / "fails").write_text("#!/bin/sh\necho no card >&2\nexit 3\n")
    (tmp_path / "fails").chmod(0o755)
    with pytest.raises(InputError, match="sealed by a passphrase"):
        open_signer(str(tmp_path / "sealed.key"))
    with pytest.raises(TrustError, match="does not open it"):
        open_signer(str(tmp_path / "sealed.key"), ask=str.lower)
    with pytest.raises(InputError, match="no secret key in PEM"):
        open_signer(str(tmp_path / "text.key"))
    with pytest.raises(NotFoundError):
        open_signer(str(tmp_path / "nowhere.key"))
    with pytest.raises(InputError, match="secret half only"):
        open_signer("hsm:2")
    with pytest.raises(TrustError, match="no card"):
        open_signer(f"command:{tmp_path / 'fails'}", public=tmp_path / "sealed.pub").sign(b"x")
    with pytest.raises(ConflictError):
        new_key(tmp_path / "sealed")


def test_a_ring_reads_uris_of_signers(tmp_path: Path) -> None:
    made = new_key(tmp_path / "elsewhere" / "key")
    ring = tmp_path / "ring"
    ring.mkdir()
    (ring / "online.uri").write_text(f"file2:{tmp_path / 'elsewhere/key.key'}\n")
    (ring / "online.pub").write_bytes((tmp_path / "elsewhere/key.pub").read_bytes())
    [signer] = KeyRing(ring).signers([made.public_key.keyid])
    assert signer.public_key == read_public(ring / "online.pub")


def root_by(fleet: Fleet, *numbers: int) -> None:
    for number in numbers:
        fleet.image.root.sign(fleet.root_keys[number])


def test_a_chain_of_roots_is_followed_by_who_was_away(fleet: Fleet, tmp_path: Path) -> None:
    model = fleet.publish(str(FIRST), b"first")
    fleet.tell(model)
    away = fleet.client()
    away.refresh()
    for number in range(4):
        replaced = fleet.root_keys[number]
        added = new_key(tmp_path / f"root-new-{number}")
        fleet.root_keys.append(added)
        fleet.image.root.rotate("root", add=[added.public_key], remove=[replaced.public_key.keyid])
        root_by(fleet, number + 1, number + 2)
        assert fleet.image.publish() == ("root",)
    assert fleet.image.root.current.version == 5
    wish = fleet.tell(model)
    assert away.refresh(1).desired == wish
    assert fleet.client("new").refresh().desired == wish


def test_a_root_needs_those_before_and_those_after(fleet: Fleet, tmp_path: Path) -> None:
    fresh = [new_key(tmp_path / f"fresh-{number}") for number in range(2)]
    gone = [key.public_key.keyid for key in fleet.root_keys]
    fleet.image.root.rotate("root", add=[key.public_key for key in fresh], remove=gone)
    for key in fresh:
        assert fleet.image.root.sign(key).missing == 2
    assert fleet.image.publish() == ()
    root_by(fleet, 0, 2)
    assert fleet.image.publish() == ("root",)


def test_a_threshold_that_rises_asks_for_more_signatures(fleet: Fleet) -> None:
    fleet.publish(str(FIRST), b"first")
    fleet.image.root.set_threshold("targets", 3)
    root_by(fleet, 0, 1)
    with pytest.raises(ConflictError, match="2 of 3 have signed the targets"):
        fleet.image.publish()
    fleet.image.renew()
    for key in fleet.targets_keys:
        fleet.image.sign("targets", key)
    assert fleet.image.publish() == ("root", "targets")
    wish = fleet.tell(str(FIRST))
    assert fleet.client().refresh().desired == wish
    with pytest.raises(InputError, match="4 of 3 keys cannot sign"):
        fleet.image.root.set_threshold("targets", 4)


def test_a_rotated_key_ends_what_it_had_set_too_high(fleet: Fleet) -> None:
    """Fast forward by stolen online keys: up to the bound it is believed, until the root lists other keys."""
    model = fleet.publish(str(FIRST), b"first")
    fleet.tell(model)
    shutil.copytree(fleet.folder / "served", fleet.folder / "honest")
    client = fleet.client()
    fleet.image.skip(1_000_000)
    client.refresh()
    shutil.rmtree(fleet.folder / "served")
    shutil.copytree(fleet.folder / "honest", fleet.folder / "served")
    fleet.open()
    for role in ("snapshot", "timestamp"):
        gone = fleet.image.root.current.roles[role].keyids
        fleet.image.root.rotate(role, add=[fleet.ring.new(f"{role}-2").public_key], remove=gone)
    with pytest.raises(ReplayedUpdateError):
        client.refresh(1)
    root_by(fleet, 0, 1)
    assert fleet.image.publish() == ("root",)
    assert client.refresh(1).desired.deployment == 1


def test_uploads_are_delegated_taken_back_and_delegated_again(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, delegates_uploads=True)
    fleet.publish(str(FIRST), b"uploaded", role="uploads")
    wish = fleet.tell(str(FIRST))
    assert fleet.client().refresh().desired == wish
    fleet.image.delegate_uploads([])
    fleet.sign_targets()
    with pytest.raises(ForbiddenError, match="not delegated"):
        fleet.image.add(FIRST._replace(version=2), 5, DIGEST, Custom(), role="uploads")
    again = fleet.ring.new("image-uploads-2").public_key
    fleet.image.delegate_uploads([again])
    fleet.sign_targets()
    fleet.publish("models/embedder/2.wasm", b"uploaded again", role="uploads")
    wish = fleet.tell("models/embedder/2.wasm")
    assert fleet.client().refresh(1).desired == wish


def test_what_is_online_is_signed_again_at_half_its_life(fleet: Fleet) -> None:
    fleet.tell(fleet.publish(str(FIRST), b"first"))
    client = fleet.client()
    client.refresh()
    assert not fleet.image.refresh()
    assert not fleet.director.refresh(NODE)
    for _ in range(10):
        fleet.clock.advance(4 * 86400.0)
        assert fleet.image.refresh()
        assert fleet.director.refresh(NODE)
        client.refresh(1)
    ends = fleet.image.expiring()
    assert ends["targets"] < ends["root"]


def test_an_orchestrator_from_a_backup_is_refused_until_it_leaves_versions_out(fleet: Fleet) -> None:
    model = fleet.publish(str(FIRST), b"first")
    fleet.tell(model)
    shutil.copytree(fleet.folder / "served", fleet.folder / "backup")
    fleet.clock.advance(60.0)
    for _ in range(3):
        fleet.tell(model)
        fleet.image.refresh(force=True)
    client = fleet.client()
    client.refresh()
    shutil.rmtree(fleet.folder / "served")
    shutil.copytree(fleet.folder / "backup", fleet.folder / "served")
    fleet.open()
    with pytest.raises(ReplayedUpdateError):
        client.refresh(4)
    fleet.image.skip(100)
    fleet.director.sign_again(skip=100)
    wish = fleet.tell(model, deployment=5)
    assert client.refresh(4).desired == wish


def test_many_nodes_are_told_at_once_and_nothing_is_written_for_a_wrong_one(fleet: Fleet) -> None:
    model = fleet.publish(str(FIRST), b"first")

    def told(node: str, deployment: int) -> Told:
        desired = Desired(node=node, deployment=deployment, models={"embedder": model})
        return Told(desired, fleet.image.targets_for(desired))

    nodes = [f"gateway-{number}" for number in range(20)]
    assert fleet.director.tell_all({node: told(node, 1) for node in nodes}) == dict.fromkeys(nodes, 1)
    assert fleet.director.nodes() == sorted(nodes)
    assert fleet.director.tell_all({node: told(node, 1) for node in nodes}) == dict.fromkeys(nodes, 1)
    with pytest.raises(ConflictError, match="not newer"):
        fleet.director.tell_all({"gateway-1": told("gateway-1", 2), "gateway-2": told("gateway-2", 0)})
    assert fleet.director.told("gateway-1") == told("gateway-1", 1).desired
    with pytest.raises(InputError, match="for `gateway-3`"):
        fleet.director.tell_all({"gateway-1": told("gateway-3", 2)})
    fleet.director.forget("gateway-1")
    assert "gateway-1" not in fleet.director.nodes()


def test_the_root_of_the_director_is_for_all_nodes(fleet: Fleet) -> None:
    model = fleet.publish(str(FIRST), b"first")
    for node in (NODE, "gateway-2"):
        fleet.tell(model, node=node)
        fleet.client(node, node=node).refresh()
    stolen = fleet.ring.signers(fleet.director.root.current.roles["targets"].keyids)[0]
    added = fleet.ring.new("director-targets-2").public_key
    fleet.director.root.rotate("targets", add=[added], remove=[stolen.public_key.keyid])
    for key in fleet.root_keys[:2]:
        fleet.director.root.sign(key)
    assert fleet.director.publish_root()
    for node in (NODE, "gateway-2"):
        fleet.client(node, node=node).refresh()
    assert stolen.public_key.keyid not in fleet.director.root.current.keys


def test_somebody_elses_key_signs_nothing(fleet: Fleet) -> None:
    fleet.tell(fleet.publish(str(FIRST), b"first"))
    client = fleet.client()
    client.refresh()
    file = fleet.folder / "served/image/metadata/2.root.json"
    root = (fleet.folder / "served/image/metadata/1.root.json").read_bytes().replace(b'"version":1', b'"version":2')
    file.write_bytes(signed_file(root, CryptoSigner.generate_ed25519()))
    with pytest.raises(UnsignedUpdateError, match=Root.type):
        client.refresh(1)
