"""Attacks on updates: what somebody has, what they do, and the error that it ends with."""

import json
import shutil
from collections.abc import Callable
from hashlib import md5, sha256
from typing import NamedTuple

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from attacked_server import Handler
from fleet_trust import NODE
from littoral import errors
from littoral.updates.metadata.roles import later, packed, sign_all
from update_scene import BYTES, DAY_S, DIRECTOR, FIRST, IMAGE, OTHER, SECOND, Scene

__all__ = ["ATTACKS", "Attack"]


class Attack(NamedTuple):
    """has: what the attacker needs. fetches: it is the fetching that fails."""

    name: str
    has: str
    refused: type[errors.LittoralError]
    act: Callable[[Scene], None]
    fetches: bool = False


ATTACKS: list[Attack] = []


def attack(
    has: str, refused: type[errors.LittoralError], *, fetches: bool = False
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """A function by its name: what it does is the attack."""

    def entered(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ATTACKS.append(Attack(act.__name__.replace("_", " "), has, refused, act, fetches))
        return act

    return entered


NETWORK, TIMESTAMP_KEY, ONLINE_KEYS = "the network", "a timestamp key", "all online keys of the image repository"
DIRECTOR_KEYS, CLOCK, DISK = "all keys of the director that are online", "a clock", "the node's disk"


@attack(NETWORK, errors.ReplayedUpdateError)
def an_old_timestamp_of_the_image_repository(scene: Scene) -> None:
    scene.again(f"{IMAGE}/timestamp.json")


@attack(NETWORK, errors.ReplayedUpdateError)
def an_old_timestamp_of_the_director(scene: Scene) -> None:
    scene.again(f"{DIRECTOR}/timestamp.json")


@attack(NETWORK, errors.MixedUpdateError)
def an_old_snapshot_under_a_new_timestamp(scene: Scene) -> None:
    scene.fleet.image.skip(5)
    old = max((scene.former / IMAGE).glob("*.snapshot.json")).name
    newest = scene.newest(IMAGE, "snapshot")
    scene.again(f"{IMAGE}/{newest.name}", f"{IMAGE}/{old}")


@attack(NETWORK, errors.MixedUpdateError)
def old_targets_under_a_new_snapshot(scene: Scene) -> None:
    scene.fleet.tell(SECOND, deployment=3)
    scene.again(f"{DIRECTOR}/3.targets.json", f"{DIRECTOR}/1.targets.json")


@attack(TIMESTAMP_KEY, errors.RolledBackUpdateError)
def a_timestamp_of_an_older_snapshot(scene: Scene) -> None:
    def edit(timestamp: Timestamp) -> None:
        timestamp.version += 1
        timestamp.snapshot_meta.version -= 1

    scene.forge(IMAGE, "timestamp", edit)


@attack(ONLINE_KEYS, errors.RolledBackUpdateError)
def a_snapshot_of_older_targets(scene: Scene) -> None:
    def edit(snapshot: Snapshot) -> None:
        snapshot.meta["targets.json"].version -= 1

    scene.online(IMAGE, {}, edit)


@attack(ONLINE_KEYS, errors.RolledBackUpdateError)
def a_snapshot_that_leaves_a_role_out(scene: Scene) -> None:
    def edit(snapshot: Snapshot) -> None:
        del snapshot.meta["uploads.json"]

    scene.online(IMAGE, {}, edit)


@attack(NETWORK, errors.ExpiredUpdateError)
def nothing_new_for_longer_than_a_timestamp_lives(scene: Scene) -> None:
    scene.fleet.clock.advance(8 * DAY_S)


@attack("all keys but those of the root", errors.ExpiredUpdateError)
def going_on_under_a_root_that_has_expired(scene: Scene) -> None:
    scene.fleet.clock.advance(366 * DAY_S)
    scene.fleet.director.refresh(NODE, force=True)


@attack("old targets keys, and online ones", errors.ExpiredUpdateError)
def targets_that_have_expired_under_a_new_snapshot(scene: Scene) -> None:
    scene.listed(lambda targets: setattr(targets, "expires", later(scene.fleet.clock, -1)))


@attack(CLOCK, errors.UpdateClockError)
def the_machines_clock_set_back_to_make_old_files_new(scene: Scene) -> None:
    scene.client.heard_time(scene.wall_s + 8 * DAY_S)


@attack(CLOCK, errors.UpdateClockError)
def an_orchestrator_that_says_it_is_2099(scene: Scene) -> None:
    scene.client.heard_time(4_070_908_800.0)


@attack(CLOCK, errors.ExpiredUpdateError)
def a_clock_set_to_2099(scene: Scene) -> None:
    scene.fleet.clock.set_wall(4_070_908_800.0)


@attack(TIMESTAMP_KEY, errors.FastForwardError)
def a_timestamp_so_high_that_none_can_follow(scene: Scene) -> None:
    scene.forge(IMAGE, "timestamp", lambda timestamp: setattr(timestamp, "version", 2**52))


@attack(TIMESTAMP_KEY, errors.FastForwardError)
def a_timestamp_of_a_snapshot_so_high_that_none_can_follow(scene: Scene) -> None:
    def edit(timestamp: Timestamp) -> None:
        timestamp.version += 1
        timestamp.snapshot_meta.version = 2**40

    scene.forge(IMAGE, "timestamp", edit)


@attack(DIRECTOR_KEYS, errors.FastForwardError)
def targets_of_the_director_so_high_that_none_can_follow(scene: Scene) -> None:
    scene.directed(lambda targets: setattr(targets, "version", 2**40))


@attack(DIRECTOR_KEYS, errors.FastForwardError)
def a_deployment_so_high_that_none_can_follow(scene: Scene) -> None:
    scene.directed(lambda _: None, deployment=2**50)


@attack(NETWORK, errors.UnsignedUpdateError)
def a_timestamp_without_signatures(scene: Scene) -> None:
    scene.forge(IMAGE, "timestamp", lambda timestamp: setattr(timestamp, "version", 50), signers=[])


@attack("a key of its own", errors.UnsignedUpdateError)
def a_timestamp_signed_by_somebody(scene: Scene) -> None:
    scene.forge(DIRECTOR, "timestamp", lambda timestamp: setattr(timestamp, "version", 50), signers=[OTHER])


@attack(NETWORK, errors.UnsignedUpdateError)
def a_timestamp_with_one_bit_changed(scene: Scene) -> None:
    file = scene.newest(IMAGE, "timestamp")
    found = json.loads(file.read_bytes())
    found["signed"]["version"] += 1
    file.write_text(json.dumps(found))


@attack(f"one targets key of two, and {ONLINE_KEYS}", errors.UnsignedUpdateError)
def targets_signed_by_one_of_two(scene: Scene) -> None:
    scene.listed(lambda _: None, signer_count=1)


@attack(f"one targets key of two, and {ONLINE_KEYS}", errors.UnsignedUpdateError)
def one_signature_under_the_names_of_two_keys(scene: Scene) -> None:
    former = Metadata[Targets].from_bytes(scene.newest(IMAGE, "targets").read_bytes())
    former.signed.version += 1
    sign_all(former, scene.fleet.targets_keys[:1])
    [signature] = former.signatures.values()
    second = scene.fleet.targets_keys[1].public_key.keyid
    former.signatures[second] = type(signature)(second, signature.signature)
    scene.online(IMAGE, {"targets": packed(former)})


@attack("the targets keys, but not those of the snapshot", errors.MixedUpdateError)
def other_targets_of_the_same_version(scene: Scene) -> None:
    scene.fleet.publish("models/other/1.wasm", b"x")
    scene.forge(IMAGE, "targets", lambda targets: targets.targets[FIRST].hashes.update(sha256="0" * 64))


@attack("one root key of two", errors.UnsignedUpdateError)
def a_root_signed_by_one_of_two(scene: Scene) -> None:
    scene.next_root(IMAGE, scene.fleet.root_keys[:1])


@attack("a fleet of its own", errors.UnsignedUpdateError)
def a_root_of_other_keys(scene: Scene) -> None:
    def edit(root: Root) -> None:
        root.add_key(OTHER.public_key, "root")
        root.roles["root"].threshold = 1

    scene.next_root(DIRECTOR, [OTHER], edit)


@attack("two root keys that were replaced", errors.RootChainError)
def a_root_that_leaves_versions_out(scene: Scene) -> None:
    scene.next_root(IMAGE, scene.fleet.root_keys, lambda root: setattr(root, "version", 7))


@attack(NETWORK, errors.RootChainError)
def a_root_of_the_image_repository_as_the_directors(scene: Scene) -> None:
    scene.next_root(IMAGE, scene.fleet.root_keys)
    shutil.move(scene.served / IMAGE / "2.root.json", scene.served / DIRECTOR / "2.root.json")


@attack(NETWORK, errors.WrongNodeError)
def what_the_director_says_to_another_node(scene: Scene) -> None:
    for number in range(4):
        scene.fleet.tell(FIRST, node="gateway-2", deployment=10 + number)
    shutil.rmtree(scene.served / DIRECTOR)
    shutil.copytree(scene.served / "director/gateway-2/metadata", scene.served / DIRECTOR)


@attack(DIRECTOR_KEYS, errors.DeploymentFellError)
def an_earlier_deployment(scene: Scene) -> None:
    scene.directed(lambda _: None, deployment=1)


@attack(DIRECTOR_KEYS, errors.UnlistedTargetError)
def a_target_that_nobody_signed_offline(scene: Scene) -> None:
    evil = TargetFile(4, {"sha256": sha256(b"evil").hexdigest()}, "models/evil/1.wasm")
    scene.directed(lambda targets: targets.targets.update({evil.path: evil}))


@attack(DIRECTOR_KEYS, errors.DisputedTargetError)
def other_bytes_for_a_target_that_is_signed(scene: Scene) -> None:
    evil = TargetFile(4, {"sha256": sha256(b"evil").hexdigest()}, SECOND)
    scene.directed(lambda targets: targets.targets.update({SECOND: evil}))


@attack(DIRECTOR_KEYS, errors.UnknownTargetError)
def a_wish_for_what_is_not_listed(scene: Scene) -> None:
    scene.directed(lambda targets: targets.targets.pop(SECOND))


@attack(DIRECTOR_KEYS, errors.MalformedUpdateError)
def a_target_whose_name_leaves_its_folder(scene: Scene) -> None:
    evil = TargetFile(4, {"sha256": sha256(b"evil").hexdigest()}, "models/../../../etc/passwd")
    scene.directed(lambda targets: targets.targets.update({evil.path: evil}))


@attack(DIRECTOR_KEYS, errors.MalformedUpdateError)
def a_wish_of_other_types(scene: Scene) -> None:
    scene.directed(lambda targets: setattr(targets, "unrecognized_fields", {"littoral": '{"node": 7}'}))


@attack("both targets keys, and online ones", errors.MalformedUpdateError)
def a_weaker_digest_alone(scene: Scene) -> None:
    weak = TargetFile(len(BYTES), {"md5": md5(BYTES).hexdigest()}, SECOND)
    scene.listed(lambda targets: targets.targets.update({SECOND: weak}))
    scene.directed(lambda targets: targets.targets.update({SECOND: weak}))


@attack("the uploads key, and online ones", errors.UnlistedTargetError)
def an_upload_of_a_kind_that_is_not_delegated(scene: Scene) -> None:
    site = TargetFile(4, {"sha256": sha256(b"evil").hexdigest()}, "sites/evil/1.toml")
    uploads = Metadata[Targets].from_bytes(scene.newest(IMAGE, "uploads").read_bytes())
    uploads.signed.version += 1
    uploads.signed.targets[site.path] = site
    top = Metadata[Targets].from_bytes(scene.newest(IMAGE, "targets").read_bytes()).signed
    assert top.delegations is not None
    scene.online(IMAGE, {"uploads": sign_all(uploads, scene.fleet.ring.signers(top.delegations.keys))})
    scene.directed(lambda targets: targets.targets.update({site.path: site}))


@attack("both targets keys, and online ones", errors.MalformedUpdateError)
def delegations_without_end(scene: Scene) -> None:
    names = [f"role{letter}" for letter in "abcdef"]
    key = OTHER.public_key
    empty = {name: sign_all(Metadata(Targets(1, None, later(scene.fleet.clock, 1))), [OTHER]) for name in names}

    def edit(targets: Targets) -> None:
        roles = {name: DelegatedRole(name, [key.keyid], 1, False, paths=["x/*"]) for name in names}
        assert targets.delegations is not None
        assert targets.delegations.roles is not None
        targets.delegations = Delegations(
            {**targets.delegations.keys, key.keyid: key}, {**targets.delegations.roles, **roles}
        )

    former = Metadata[Targets].from_bytes(scene.newest(IMAGE, "targets").read_bytes())
    former.signed.version += 1
    edit(former.signed)
    scene.online(IMAGE, {"targets": sign_all(former, scene.fleet.targets_keys), **empty})


@attack(NETWORK, errors.EndlessDataError)
def a_timestamp_that_never_ends(scene: Scene) -> None:
    def endless(handler: Handler, _: bytes, __: int) -> None:
        handler.answer(200, b"{", length=-1)
        while not handler.wfile.closed and not scene.server.released.is_set():
            try:
                handler.wfile.write(b" " * 4096)
            except OSError:
                return

    scene.reply("timestamp.json", endless)


@attack(ONLINE_KEYS, errors.EndlessDataError)
def a_snapshot_of_more_bytes_than_one_may_have(scene: Scene) -> None:
    scene.online(IMAGE, {}, lambda snapshot: snapshot.unrecognized_fields.update(fill="x" * 30_000))


@attack(NETWORK, errors.TruncatedUpdateError)
def a_snapshot_that_is_cut_off(scene: Scene) -> None:
    scene.fleet.image.skip(1)
    file = scene.newest(IMAGE, "snapshot")
    file.write_bytes(file.read_bytes()[:100])


@attack(NETWORK, errors.MalformedUpdateError)
def a_timestamp_that_is_no_json(scene: Scene) -> None:
    scene.newest(IMAGE, "timestamp").write_bytes(b"<html>sign in</html>")


@attack(NETWORK, errors.MalformedUpdateError)
def a_timestamp_nested_without_end(scene: Scene) -> None:
    scene.newest(IMAGE, "timestamp").write_bytes(b"[" * 16_000)


@attack(NETWORK, errors.MalformedUpdateError)
def a_snapshot_in_place_of_a_timestamp(scene: Scene) -> None:
    scene.newest(IMAGE, "timestamp").write_bytes(scene.newest(IMAGE, "snapshot").read_bytes())


@attack(TIMESTAMP_KEY, errors.MalformedUpdateError)
def another_version_of_the_specification(scene: Scene) -> None:
    def edit(timestamp: Timestamp) -> None:
        timestamp.version += 1
        timestamp.spec_version = "2.0.0"

    scene.forge(IMAGE, "timestamp", edit)


@attack(NETWORK, errors.WithheldUpdateError)
def a_timestamp_that_is_kept_back(scene: Scene) -> None:
    scene.newest(DIRECTOR, "timestamp").unlink()


@attack(NETWORK, errors.WithheldUpdateError)
def targets_that_are_kept_back(scene: Scene) -> None:
    scene.fleet.tell(SECOND, deployment=3)
    scene.newest(DIRECTOR, "targets").unlink()


@attack(NETWORK, errors.SlowUpdateError)
def a_timestamp_byte_by_byte(scene: Scene) -> None:
    def drip(handler: Handler, data: bytes, _: int) -> None:
        handler.answer(200, b"", length=len(data))
        for at in range(len(data)):
            scene.fleet.clock.advance(10.0)
            handler.send(data[at : at + 1])

    scene.reply(f"{DIRECTOR}/timestamp.json", drip)


@attack(NETWORK, errors.PeerError)
def a_redirection_to_elsewhere(scene: Scene) -> None:
    scene.reply("timestamp.json", lambda handler, _, __: handler.answer(302, b"", Location="http://127.0.0.1:1/"))


@attack(NETWORK, errors.WrongContentError, fetches=True)
def other_bytes_of_the_same_length(scene: Scene) -> None:
    (scene.served / scene.target).write_bytes(BYTES[:-1] + b"!")


@attack(NETWORK, errors.TruncatedUpdateError, fetches=True)
def a_target_that_is_cut_off(scene: Scene) -> None:
    def short(handler: Handler, data: bytes, first: int) -> None:
        last = len(data) - 1
        handler.answer(206, data[first:200_000], **{"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    scene.reply(scene.target, short)


@attack(NETWORK, errors.EndlessDataError, fetches=True)
def a_target_that_goes_on(scene: Scene) -> None:
    def more(handler: Handler, data: bytes, first: int) -> None:
        handler.answer(206, data[first:] + b"more", **{"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"})

    scene.reply(scene.target, more)


@attack(NETWORK, errors.WrongRangeError, fetches=True)
def another_range_than_was_asked_for(scene: Scene) -> None:
    def lie(handler: Handler, data: bytes, first: int) -> None:
        handler.answer(206, data[5:], **{"Content-Range": f"bytes {first + 5}-{len(data) - 1}/{len(data)}"})

    scene.reply(scene.target, lie)


@attack(NETWORK, errors.WithheldUpdateError, fetches=True)
def a_target_that_is_kept_back(scene: Scene) -> None:
    (scene.served / scene.target).unlink()


@attack(NETWORK, errors.SlowUpdateError, fetches=True)
def a_target_byte_by_byte(scene: Scene) -> None:
    def drip(handler: Handler, data: bytes, first: int) -> None:
        handler.answer(206, b"", length=len(data), **{"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"})
        for at in range(first, first + 100):
            scene.fleet.clock.advance(10.0)
            handler.send(data[at : at + 1])
        scene.server.released.wait()

    scene.reply(scene.target, drip)


@attack(DISK, errors.TrustStateError)
def versions_seen_that_were_changed(scene: Scene) -> None:
    data = (scene.state / "state.json").read_bytes()
    (scene.state / "state.json").write_bytes(data.replace(b'"deployment":2', b'"deployment":0'))


@attack(DISK, errors.TrustStateError)
def versions_seen_that_were_taken_away(scene: Scene) -> None:
    (scene.state / "state.json").unlink()


@attack(DISK, errors.TrustStateError)
def metadata_seen_that_was_taken_away(scene: Scene) -> None:
    next((scene.state / "files").iterdir()).unlink()


@attack(DISK, errors.TrustStateError)
def all_of_the_state_taken_away(scene: Scene) -> None:
    shutil.rmtree(scene.state)
    (scene.state / "files").mkdir(parents=True)
