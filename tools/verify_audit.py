"""Verifies an audit log from its files alone: `python verify_audit.py DIR [KEY]`; KEY: `NAME+HASH+KEY` of its owner.

Shares no code with what writes the log. Needs Python 3.11 and the package `cryptography`. It follows RFC 6962 (tree)
and C2SP's tlog-tiles, tlog-checkpoint, signed-note and tlog-cosignature. Exit code 1: the first fault is told.
"""

import base64
import contextlib
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def need(is_right: bool, what: str) -> None:
    if not is_right:
        print(f"WRONG: {what}")
        raise SystemExit(1)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read(path: Path) -> bytes:
    need(not path.exists() or (path.is_file() and path.stat().st_size < 1 << 25), f"{path}: is no file of a log")
    return path.read_bytes()


def root_of(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, level by level: an odd one goes up as it is."""
    while len(hashes) > 1:
        paired = [sha(b"\x01" + hashes[at] + hashes[at + 1]) for at in range(0, len(hashes) - 1, 2)]
        hashes = paired + hashes[len(hashes) // 2 * 2 :]
    return hashes[0] if hashes else sha(b"")


def read_key(text: str) -> tuple[str, bytes]:
    """Name, and the bytes that the key's id is made of: its kind (1: of a log, 4: of a witness) and itself."""
    name, told, data = text.strip().split("+", 2)
    raw = base64.b64decode(data, validate=True)
    need(sha(f"{name}\n".encode() + raw)[:4].hex() == told and len(raw) == 33, f"key of {name}: its hash does not fit")
    return name, raw


def is_signed(raw: bytes, blob: bytes, text: str) -> bool:
    """raw: of its key. A witness signs when it saw the text, too."""
    saw = "" if raw[0] == 1 else f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n"
    with contextlib.suppress(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(raw[1:]).verify(blob[12 if saw else 4 :], (saw + text).encode())
        return True
    return False


def read_note(path: Path, keys: list[tuple[str, bytes]]) -> tuple[str, int, bytes, list[str]]:
    """Origin, size, root, and who has signed: each signature must be of one of the keys."""
    text, _, below = read(path).decode().rpartition("\n\n")
    text, signed = f"{text}\n", []
    for line in below.splitlines():
        _, name, data = line.split(" ")
        blob = base64.b64decode(data, validate=True)
        known = [raw for owner, raw in keys if owner == name and sha(f"{name}\n".encode() + raw)[:4] == blob[:4]]
        is_note = line == f"\u2014 {name} {base64.b64encode(blob).decode()}"
        need(bool(known) and is_note, f"{path.name}: a signature of {name} with a key that is not known")
        need(is_signed(known[0], blob, text), f"{path.name}: the signature of {name} is not of this text")
        signed.append(name)
    origin, size, root = text.split("\n")[:3]
    need(text == f"{origin}\n{int(size)}\n{root}\n" and below.endswith("\n"), f"{path.name}: is no checkpoint")
    return origin, int(size), base64.b64decode(root, validate=True), signed


def tile(folder: Path, level: str, index: int, width: int) -> Path:
    *above, last = (f"{int(part):03}" for part in f"{index:,}".split(","))
    name = "/".join([*(f"x{part}" for part in above), last])
    return folder / "tile" / level / (name if width == 256 else f"{name}.p/{width}")


def entries_of(path: Path) -> list[bytes]:
    data, end, found = read(path), 0, []
    while end < len(data):
        start, end = end + 2, end + 2 + int.from_bytes(data[end : end + 2], "big")
        need(end <= len(data), f"{path}: ends within an entry")
        found.append(data[start:end])
    return found


def read_leaves(folder: Path, size: int) -> tuple[list[bytes], int]:
    """Hashes of all entries, each held against its entry, and how many entries were pruned, which the log must say."""
    leaves, missing, pruned = list[bytes](), list[int](), 0
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        data = read(tile(folder, "0", index, width))
        need(len(data) == 32 * width, f"tile 0/{index}: has {len(data)} bytes")
        leaves += (hashes := [data[at : at + 32] for at in range(0, len(data), 32)])
        if not (path := tile(folder, "entries", index, width)).exists():
            missing.append(index)
            continue
        entries = entries_of(path)
        need([sha(b"\x00" + entry) for entry in entries] == hashes, f"{path}: its entries are not those of their tile")
        told = [(at, json.loads(one)) for at, one in enumerate(entries, index * 256) if b'"pruned"' in one]
        pruned = max([pruned, *(one["count"] for at, one in told if one.get("did") == "pruned" and one["count"] <= at)])
    need((max(missing, default=-1) + 1) * 256 <= pruned, f"bundle {missing[-1:]} is missing, and no entry says why")
    return leaves, len(missing) * 256


def check_tiles(folder: Path, row: list[bytes], level: int = 1) -> None:
    """Above the entries: each level is of the full tiles of the one below it."""
    while row := [root_of(row[at : at + 256]) for at in range(0, len(row) // 256 * 256, 256)]:
        for at in range(0, len(row), 256):
            path = tile(folder, str(level), at // 256, len(row[at : at + 256]))
            need(read(path) == b"".join(row[at : at + 256]), f"{path}: is not what the tiles below it give")
        level += 1


def verify(folder: Path, key: str = "") -> str:
    own = read_key(key or read(folder / "log.key").decode())
    origin, size, wanted, signed = read_note(folder / "checkpoint", [own])
    need(origin == own[0] and signed == [origin], f"checkpoint: is of {origin}, signed by {signed}")
    leaves, pruned = read_leaves(folder, size)
    need(root_of(leaves) == wanted, "checkpoint: its root is not that of the entries")
    check_tiles(folder, leaves)
    seen, by = 0, [""]
    if (folder / "witnessed").exists():
        witnesses = [read_key(line) for line in read(folder / "witness.keys").decode().splitlines()]
        _, seen, root, by = read_note(folder / "witnessed", [own, *witnesses])
        need(seen <= size and root_of(leaves[:seen]) == root, "witnessed: its log is not the beginning of this one")
    return f"{origin}, {size} entries, {pruned} pruned, root {wanted.hex()}; {seen} seen by {len(by) - 1} witnesses"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    try:
        print(f"right: {verify(Path(sys.argv[1]), *sys.argv[2:])}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        need(False, f"{type(error).__name__}: {error}")
