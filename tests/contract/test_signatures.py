"""Signatures of modules: wasmsign2's are read, ours are of its form, and only what covers everything counts."""

import contextlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import littoral
from littoral.artifact import digest
from littoral.artifact.ed25519 import SecretKey, read_public_key, read_secret_key
from littoral.artifact.sections import custom_section_bytes, leb_u32, with_custom_section
from littoral.artifact.signatures import (
    SIGNATURES_MAX,
    Block,
    Signature,
    canonical,
    hash_of,
    message_of,
    read_signatures,
    split_signature,
    write_signatures,
)
from littoral.artifact.signing import Signers, key_ids, signature_for, signed, who_signed
from littoral.errors import ArtifactError, InputError, TrustError
from littoral.runtime.agents import Agent
from modules_in_text import agent, compiled_here, model
from needs import need

# Written by wasmsign2 0.2.8: a key, a module, the module signed with the key's name, a signature without a name in a
# file of its own, the module with a delimiter and signed.
KEY = bytes.fromhex(
    "818c37ac2113a15bcaed6d43404b7c63c810028a39c400cc64ec791c5177020ee42b6c6f6632577f58dfa3fcea357ebd6d85e8694990eb9e03"
    "80929c099b9c6195"
)
PLAIN = bytes.fromhex("0061736d010000000005046e6f7465010401600000")
SIGNED = bytes.fromhex(
    "0061736d01000000008101097369676e6174757265010101017201950bd8f2ceb3572c57d9c0467eb90ac48361f1829c9a133dfd99596fb121"
    "5db4014f0ce4e8664303920c2c1ece40cf0140fd310f01a446cc1c4cf1eb7eff870b574606df444b93059927accaeaaa056dfbd17c35316d88"
    "9995c1b5e155b99807b483bb572510ebb30b45e0a1151961500d0005046e6f7465010401600000"
)
DETACHED = bytes.fromhex(
    "010101016601950bd8f2ceb3572c57d9c0467eb90ac48361f1829c9a133dfd99596fb1215db40143000140fd310f01a446cc1c4cf1eb7eff87"
    "0b574606df444b93059927accaeaaa056dfbd17c35316d889995c1b5e155b99807b483bb572510ebb30b45e0a1151961500d"
)
SPLIT = bytes.fromhex(
    "0061736d010000000075097369676e6174757265010101016601b20596f64c5b1e84aaa6ff3d1de32a58f37082f2082c088198c1971fa191bd"
    "000143000140dd39c9d3bf5bf8108ed5ed5abdf0ccd7cf8674f52f15dfb7d9c2cdcefa80de2aaef51b13c010721b042e51b068991807c481ee"
    "ab6dac94449528ffd08227dd090005046e6f74650104016000000024137369676e61747572655f64656c696d697465728cdb2d46c17fbcae0b"
    "4286003189f2e3"
)
THEIRS = read_secret_key(KEY).public
OURS = SecretKey(bytes(range(32)))
OTHER = SecretKey(bytes(32))
FEEDS = {"x": np.arange(4, dtype=np.float32)}


def test_what_wasmsign2_signs_is_read() -> None:
    assert THEIRS.key_id.hex() == "e4e8664303920c2c1ece40cf"
    assert who_signed(SIGNED, [THEIRS]) == (THEIRS,)
    assert key_ids(SIGNED) == [THEIRS.key_id]
    assert who_signed(PLAIN, [THEIRS], DETACHED) == (THEIRS,)
    assert key_ids(PLAIN, DETACHED) == [b""]
    assert who_signed(SPLIT, [THEIRS]) == (THEIRS,)
    assert who_signed(SIGNED, [OURS.public]) == ()
    assert who_signed(PLAIN, [THEIRS]) == ()


def test_the_same_key_gives_the_same_bytes_as_wasmsign2() -> None:
    assert signed(PLAIN, [read_secret_key(KEY)]) == SIGNED
    assert (
        read_signatures(signature_for(PLAIN, [read_secret_key(KEY)]))[0].hashes == read_signatures(DETACHED)[0].hashes
    )


def test_signatures_of_several_stand_side_by_side() -> None:
    both = signed(SIGNED, [OURS])
    assert who_signed(both, [OURS.public, THEIRS]) == (OURS.public, THEIRS)
    assert signed(both, [OURS]) == both, "once is enough"
    assert Signers((OURS.public, THEIRS), threshold=2).check(both) == (OURS.public, THEIRS)
    with pytest.raises(TrustError, match="signed by 1 of the keys .*, needs 2"):
        Signers((OURS.public, THEIRS), threshold=2).check(SIGNED)


def test_the_form_of_the_convention_is_read_too() -> None:
    whole = hash_of(PLAIN[8:])
    value = OURS.sign(message_of([whole]))
    name = OURS.public.key_id
    plain = b"\x01\x01\x01" + b"\x01" + b"\x01" + whole + b"\x01" + leb_u32(len(name)) + name + b"\x01\x40" + value
    assert read_signatures(plain) == [Block((whole,), (Signature(name, 1, value),))]
    assert who_signed(PLAIN, [OURS.public], plain) == (OURS.public,)


def test_bytes_after_the_last_delimiter_are_covered_or_nothing_is() -> None:
    """The convention's own check compares hashes at delimiters only, and would take both of these."""
    for changed in (SPLIT + custom_section_bytes("more", b"x"), SIGNED + custom_section_bytes("more", b"x")):
        assert who_signed(changed, [THEIRS]) == ()
        with pytest.raises(TrustError):
            Signers((THEIRS,)).check(changed)


def test_no_changed_bit_is_taken() -> None:
    """Every one is tried. What a signature is called may change: then it is nobody's, or everybody's who made it."""
    for bit in range(8 * len(SIGNED)):
        changed = bytearray(SIGNED)
        changed[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ArtifactError):
            assert who_signed(bytes(changed), [THEIRS]) == ()


def test_a_signature_counts_in_the_first_section_only() -> None:
    payload, _ = split_signature(SIGNED)
    assert payload is not None
    assert who_signed(with_custom_section(PLAIN, "signature", payload), [THEIRS]) == ()


def test_another_key_of_the_same_name_has_not_signed() -> None:
    whole = hash_of(PLAIN[8:])
    forged = Signature(THEIRS.key_id, 1, OTHER.sign(message_of([whole])))
    section = custom_section_bytes("signature", write_signatures([Block((whole,), (forged,))]))
    assert who_signed(PLAIN[:8] + section + PLAIN[8:], [THEIRS, OTHER.public]) == ()


def test_what_is_over_a_bound_is_refused() -> None:
    whole = hash_of(PLAIN[8:])
    many = Block((whole,), (Signature(b"", 1, bytes(64)),) * (SIGNATURES_MAX + 1))
    with pytest.raises(ArtifactError, match=f"{SIGNATURES_MAX + 1} signatures, at most {SIGNATURES_MAX}"):
        read_signatures(write_signatures([many]))
    with pytest.raises(ArtifactError, match="of form `020101`"):
        read_signatures(b"\x02\x01\x01\x00")
    with pytest.raises(ArtifactError):
        read_signatures(write_signatures([Block((whole,), ())]) + b"\0")


def test_a_module_that_was_changed_is_not_signed_beside_what_it_carries() -> None:
    with pytest.raises(InputError, match="changed after it was signed"):
        signed(SIGNED + custom_section_bytes("more", b"x"), [OURS])
    with pytest.raises(InputError, match="carries a signature already"):
        signature_for(SIGNED, [OURS])


def test_lengths_are_written_in_their_shortest_form() -> None:
    long = PLAIN[:8] + b"\0" + b"\x85\x80\x00" + PLAIN[10:]
    assert canonical(long) == PLAIN
    assert signed(long, [read_secret_key(KEY)]) == SIGNED


def test_keys_are_read_in_every_form_and_written_in_two(tmp_path: Path) -> None:
    for data in (OURS.raw, OURS.pem):
        assert read_secret_key(data) == OURS
    for data in (OURS.public.raw, OURS.public.pem):
        assert read_public_key(data) == OURS.public
    need(shutil.which("openssl"), "openssl")
    form = ("pkey", "-out", tmp_path / "k.der", "-outform", "DER")
    subprocess.run(["openssl", *form], input=OURS.pem, check=True)
    assert read_secret_key((tmp_path / "k.der").read_bytes()) == OURS
    assert "0001" not in repr(OURS)
    for wrong in (b"", b"\x01" * 65, OURS.pem, KEY[:-1] + b"\0"):
        with pytest.raises(InputError):
            read_public_key(wrong)
        if wrong != OURS.pem:
            with pytest.raises(InputError):
                read_secret_key(wrong)


def test_a_signed_module_from_elsewhere_runs_in_the_engine_without_epochs(tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(signed(model(), [OURS]))
    with littoral.load(path) as session:
        assert session.engine == "guarded"
    for signers in (Signers((OURS.public,)), Signers((OTHER.public, OURS.public))):
        with littoral.load(path, signers=signers) as session:
            assert session.engine == "trusted"
            assert np.array_equal(session.run(FEEDS)["y"], 2 * FEEDS["x"])


def test_what_the_signers_did_not_sign_is_refused_also_where_it_was_loaded_before(tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    wasm = compiled_here(model(name="own"))
    path.write_bytes(wasm)
    littoral.load(path).close()
    ours = Signers((OURS.public,))
    for source in (path, wasm):
        with pytest.raises(TrustError, match="signatures in it: none"):
            littoral.load(source, signers=ours)
        littoral.load(source, signers=ours._replace(accepts_own=True)).close()
    path.write_bytes(signed(wasm, [OURS]))
    littoral.load(path, signers=ours).close()
    littoral.load(path, signers=ours).close()
    with pytest.raises(TrustError, match=f"`{path}`: signed by 0"):
        littoral.load(path, signers=Signers((OTHER.public,)))
    with pytest.raises(TrustError):
        littoral.load(path, signers=Signers((OURS.public, OTHER.public), threshold=2))
    with pytest.raises(TrustError):
        littoral.load(path, signers=Signers((OTHER.public,), accepts_own=True))


def test_a_file_beside_the_module_signs_it(tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(wasm := model(name="beside"))
    with pytest.raises(TrustError):
        littoral.load(path, signers=Signers((OURS.public,)))
    (tmp_path / "m.wasm.sig").write_bytes(signature_for(wasm, [OURS]))
    with littoral.load(path, signers=Signers((OURS.public,))) as session:
        assert (session.engine, session.digest) == ("trusted", digest(wasm))
    (tmp_path / "m.wasm.sig").write_bytes(b"\x01\x01\x01\x05")
    path.write_bytes(model(name="another"))
    with pytest.raises(ArtifactError, match="bad length"):
        littoral.load(path, signers=Signers((OURS.public,)))


def test_agents_are_signed_too_and_stay_guarded() -> None:
    ours = Signers((OURS.public,))
    with pytest.raises(TrustError):
        Agent.open(agent(), signers=ours)
    Agent.open(signed(agent(), [OURS]), signers=ours).close()
    Agent.open("builtin:image", signers=ours).close()
