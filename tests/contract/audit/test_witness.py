"""Witnesses: what they cosign, what they refuse, and what a kill leaves of what they have seen."""

from pathlib import Path

import pytest

from audit_log import KEY, ORIGIN, WITNESS_KEY, entries, filled, opened
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.disk import FolderDisk
from littoral.audit.log import WITNESSED, WITNESSES, TreeLog
from littoral.audit.note import Verifier
from littoral.audit.verify import verify_log
from littoral.audit.witness import Asked, Witness, asked_text, cosigned_note, parse_asked
from littoral.errors import ConflictError, InputError, TrustError
from littoral.testing.disk import PowerCutError, SimulatedDisk

NAME = "littoral/gateway-2/witness"


def witness(disk: FolderDisk | SimulatedDisk) -> Witness:
    return Witness(disk, NAME, WITNESS_KEY, lambda: 1000.5)


def shown(log: TreeLog, old_size: int) -> Asked:
    proof, note = log.consistency(old_size)
    return Asked(old_size, proof, str(note).encode())


def test_a_log_that_goes_on_is_cosigned_and_keeps_the_signatures(tmp_path: Path) -> None:
    log, by = filled(tmp_path / "log", 10), witness(FolderDisk(tmp_path / "seen"))
    before = 0
    for size in (10, 11, 300, 300, 1000):
        log.append(entries(log.size, size))
        asked = shown(log, before)
        note, verifier = cosigned_note(by.add("gateway-1", log.verifier, asked), asked.note)
        assert note.check(verifier) == 1000
        log.cosigned(note, verifier)
        before = size
    assert by.signed == 5
    assert (tmp_path / "log" / WITNESSES).read_text() == f"{by.verifier}\n"
    assert f"\n{size}\n" in (tmp_path / "log" / WITNESSED).read_text()
    assert sum(by.refused.values()) == 0


def test_several_witnesses_sign_one_checkpoint(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", 10)
    for number in range(3):
        one = Witness(FolderDisk(tmp_path / str(number)), f"w{number}", SecretKey(bytes([number] * 32)), lambda: 5.0)
        asked = shown(log, 0)
        log.cosigned(*cosigned_note(one.add("gateway-1", log.verifier, asked), asked.note))
    found = log.witnessed
    assert found is not None
    assert [signature.name for signature in found.signatures] == [ORIGIN, "w0", "w1", "w2"]
    later = Witness(FolderDisk(tmp_path / "1"), "w1", SecretKey(bytes([1] * 32)), lambda: 65.0)
    asked = shown(log, 10)
    log.cosigned(*cosigned_note(later.add("gateway-1", log.verifier, asked), asked.note))
    report = verify_log(FolderDisk(tmp_path / "log"))
    assert (report.faults, {one.name: one.at_s for one in report.witnesses}) == ([], {"w0": 5, "w1": 65, "w2": 5})


def test_what_contradicts_what_was_seen_is_refused_and_counted(tmp_path: Path) -> None:
    log, by = filled(tmp_path / "log", 300), witness(FolderDisk(tmp_path / "seen"))
    by.add("gateway-1", log.verifier, shown(log, 0))
    fork = opened(FolderDisk(tmp_path / "fork"))
    fork.append([b"other", *entries(1, 400)])
    with pytest.raises(TrustError, match="its 400 do not go on from them: it was forked"):
        by.add("gateway-1", fork.verifier, shown(fork, 300))
    short = filled(tmp_path / "short", 200)
    with pytest.raises(TrustError, match="300 entries were seen here, now it has 200: it was cut back"):
        by.add("gateway-1", short.verifier, shown(short, 200))
    with pytest.raises(ConflictError, match="300 entries were seen here, not 100"):
        by.add("gateway-1", log.verifier, shown(log, 100))
    other = SecretKey(bytes(32))
    with pytest.raises(TrustError, match="has another key than before"):
        by.add("gateway-1", Verifier(ORIGIN, other.public), shown(log, 300))
    with pytest.raises(TrustError, match="is not signed by"):
        by.add("gateway-3", Verifier("littoral/gateway-3", KEY.public), shown(log, 0))
    assert by.refused == {"fork": 2, "size": 1, "key": 2}
    assert by.signed == 1
    restarted = witness(FolderDisk(tmp_path / "seen"))
    with pytest.raises(TrustError, match="it was forked"):
        restarted.add("gateway-1", fork.verifier, shown(fork, 300))


def test_power_cut_in_a_witness_never_lets_two_histories_be_signed(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", 100)
    fork = opened(FolderDisk(tmp_path / "fork"))
    fork.append([b"other", *entries(1, 100)])
    for cut_at in range(1, 4):
        disk = SimulatedDisk(cut_at, cut_at=cut_at)
        try:
            witness(disk).add("gateway-1", log.verifier, shown(log, 0))
            has_signed = True
        except PowerCutError:
            has_signed = False
        disk.powered_again()
        if has_signed:
            with pytest.raises(TrustError):
                witness(disk).add("gateway-1", fork.verifier, shown(fork, 100))
    assert has_signed


def test_requests_are_read_as_they_are_written_and_bounded() -> None:
    asked = Asked(5, [bytes(32), b"\1" * 32], b"note\n")
    assert parse_asked(asked_text(asked)) == asked
    for wrong in (
        b"",
        b"old 5\n",
        b"old x\n\nnote",
        b"new 5\n\nnote",
        b"old 5\nAAAA\n\nnote",
        b"old 5\n" * 70 + b"\nx",
    ):
        with pytest.raises(InputError, match="request to a witness"):
            parse_asked(wrong)


def test_what_is_no_cosignature_is_not_kept(tmp_path: Path) -> None:
    log, by = filled(tmp_path / "log", 10), witness(FolderDisk(tmp_path / "seen"))
    asked = shown(log, 0)
    answer = by.add("gateway-1", log.verifier, asked)
    with pytest.raises(TrustError, match="is not of this text"):
        cosigned_note(answer, str(filled(tmp_path / "more", 11).note).encode())
    with pytest.raises(InputError, match="is none of a witness"):
        cosigned_note(f"{log.verifier}\n".encode(), asked.note)
    note, verifier = cosigned_note(answer, asked.note)
    other = opened(FolderDisk(tmp_path / "other"))
    other.append([b"x"] * 20)
    with pytest.raises(TrustError, match="is not of this log"):
        other.cosigned(note, verifier)
