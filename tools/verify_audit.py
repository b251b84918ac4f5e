"""Verifies an audit log from its files alone: `python verify_audit.py DIR [KEY]`; KEY: `NAME+HASH+KEY` of its owner.

Shares no code with what writes the log. Needs Python 3.11 and the package `cryptography`. It follows RFC 6962 (tree)
and C2SP's tlog-tiles, tlog-checkpoint, signed-note and tlog-cosignature. Exit code 1: the first fault is told.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Key = tuple[str, int, bytes]
"""Name, kind (1: of a log, 4: of a witness), and the bytes that the key's id is made of."""


def fail(what: str) -> NoReturn:
    print(f"WRONG: {what}")
    raise SystemExit(1)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read(path: Path) -> bytes:
    if path.exists() and not (path.is_file() and path.stat().st_size < 1 << 25):
        fail(f"{path}: is no file of a log")
    return path.read_bytes()


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, level by level: an odd one goes up as it is."""
    while len(hashes) > 1:
        paired = [sha(b"\x01" + hashes[i] + hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = paired + hashes[len(hashes) // 2 * 2 :]
    return hashes[0] if hashes else sha(b"")


def roots_of_full(row: list[bytes]) -> list[bytes]:
    return [root_of(row[at : at + 256]) for at in range(0, len(row) // 256 * 256, 256)]


def read_key(text: str) -> Key:
    name, key_hash, data = text.strip().split("+", 2)
    raw = base64.b64decode(data, validate=True)
    if sha(name.encode() + b"\n" + raw)[:4].hex() != key_hash or len(raw) != 33:
        fail(f"key of {name}: its hash does not fit")
    return name, raw[0], raw


def read_note(path: Path, keys: list[Key]) -> tuple[str, int, bytes, list[str]]:
    """Origin, size, root, and who has signed: each signature must be of one of the keys."""
    text, _, below = read(path).decode().rpartition("\n\n")
    text, signed = f"{text}\n", []
    for line in below.splitlines():
        dash, name, data = line.split(" ")
        blob = base64.b64decode(data, validate=True)
        known = [key for key in keys if key[0] == name and sha(name.encode() + b"\n" + key[2])[:4] == blob[:4]]
        if dash != "\u2014" or not known or base64.b64encode(blob).decode() != data:
            fail(f"{path.name}: a signature of {name} with a key that is not known")
        message, signature = text, blob[4:]
        if known[0][1] == 4:
            message, signature = f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n{text}", blob[12:]
        try:
            Ed25519PublicKey.from_public_bytes(known[0][2][1:]).verify(signature, message.encode())
        except InvalidSignature:
            fail(f"{path.name}: the signature of {name} is not of this text")
        signed.append(name)
    origin, size, root = text.split("\n")[:3]
    if text != f"{origin}\n{int(size)}\n{root}\n" or not below.endswith("\n"):
        fail(f"{path.name}: is no checkpoint")
    return origin, int(size), base64.b64decode(root, validate=True), signed


def tile(folder: Path, level: str, index: int, width: int) -> Path:
    name, rest = f"{index % 1000:03}", index // 1000
    while rest:
        name, rest = f"x{rest % 1000:03}/{name}", rest // 1000
    return folder / "tile" / level / (name if width == 256 else f"{name}.p/{width}")


def entries_of(path: Path) -> list[bytes]:
    data, at, found = read(path), 0, []
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            fail(f"{path}: ends within an entry")
        found.append(data[at + 2 : end])
        at = end
    return found


def read_leaves(folder: Path, size: int) -> tuple[list[bytes], int]:
    """Hashes of all entries, each held against its entry, and how many entries were pruned, which the log must say."""
    leaves: list[bytes] = []
    missing, pruned = [], 0
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        data = read(tile(folder, "0", index, width))
        hashes = [data[at : at + 32] for at in range(0, len(data), 32)]
        leaves += hashes
        if len(data) != 32 * width:
            fail(f"tile 0/{index}: has {len(data)} bytes")
        if not (path := tile(folder, "entries", index, width)).exists():
            missing.append(index)
            continue
        entries = entries_of(path)
        if [sha(b"\x00" + entry) for entry in entries] != hashes:
            fail(f"{path}: its entries do not have the hashes of their tile")
        for number, entry in enumerate(entries, index * 256):
            told = json.loads(entry) if b'"pruned"' in entry else {}
            if told.get("did") == "pruned" and told["count"] <= number:
                pruned = max(pruned, told["count"])
    if any((index + 1) * 256 > pruned for index in missing):
        fail(f"entries of bundle {max(missing)} are missing, and the log does not say that they were pruned")
    return leaves, len(missing) * 256


def verify(folder: Path, key: str = "") -> str:
    own = read_key(key or read(folder / "log.key").decode())
    origin, size, wanted, signed = read_note(folder / "checkpoint", [own])
    if origin != own[0] or signed != [origin]:
        fail(f"checkpoint: is of {origin}, signed by {signed}")
    leaves, pruned = read_leaves(folder, size)
    if root_of(leaves) != wanted:
        fail("checkpoint: its root is not that of the entries")
    level, row = 1, roots_of_full(leaves)
    while row:
        for index in range((len(row) + 255) // 256):
            part = row[index * 256 : index * 256 + 256]
            path = tile(folder, str(level), index, len(part))
            if read(path) != b"".join(part):
                fail(f"{path}: is not what the tiles below it give")
        level, row = level + 1, roots_of_full(row)
    seen, by = 0, [""]
    if (folder / "witnessed").exists():
        witnesses = [read_key(line) for line in read(folder / "witness.keys").decode().splitlines()]
        _, seen, seen_root, by = read_note(folder / "witnessed", [own, *witnesses])
        if seen > size or root_of(leaves[:seen]) != seen_root:
            fail(f"witnessed: the log as it was with {seen} entries is not the beginning of this one")
    told = f"{size} entries, {pruned} of them pruned, root {wanted.hex()}"
    return f"{origin}, {told}; {len(by) - 1} witnesses saw {seen} of them"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    try:
        print(f"right: {verify(Path(sys.argv[1]), *sys.argv[2:])}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"{type(error).__name__}: {error}")
