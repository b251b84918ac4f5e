"""The audit log: a million entries appended, verified, proven and tampered with; what full logging costs searches.

Searches: two nodes with the same 100,000 points, one of which logs every search, asked in turn by 16 clients.
"""

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.load import http_request, under_load
from bench.observability import CPU, told
from bench.rows import Row, row
from bench.search import COUNT, FRESH, POINTS, QUERIES, fill, sampled, search_body
from littoral.artifact.ed25519 import SecretKey
from littoral.audit.disk import FolderDisk
from littoral.audit.entries import Entry, encode_entry
from littoral.audit.log import LogFolder, TreeLog
from littoral.audit.tiles import ENTRIES, WIDTH, parse_tile
from littoral.audit.verify import verify_log
from littoral.errors import InputError
from littoral.node.beside import RunningNode, running_node

__all__ = ["run"]

ENTRY_COUNT = 1_000_000
BATCH = 8192
PROOFS = 1000
CHANGES, AT_ONCE = 1000, 100
APPEND_PER_S, VERIFY_PER_S = 20_000, 100_000
PROOF_MS_MAX = 1.0
COST_MAX = 0.05
CLIENTS, ROUNDS, SECONDS = 16, 9, 3.0
EF = 32
SITE = """
[node]
listen = "127.0.0.1:0"
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        rows = of_log(Path(name) / "log")
    return [*rows, *of_searches()]


def of_log(folder: Path) -> list[Row]:
    entries = [encode_entry(of_search(number)) for number in range(ENTRY_COUNT)]
    log = TreeLog.begin(FolderDisk(folder), "littoral/bench", SecretKey(bytes(32)))
    began = time.perf_counter()
    for at in range(0, ENTRY_COUNT, BATCH):
        log.append(entries[at : at + BATCH])
    appended_s = time.perf_counter() - began
    began = time.perf_counter()
    report = verify_log(FolderDisk(folder))
    verified_s = time.perf_counter() - began
    assert report.is_right, report.faults
    assert report.checked == ENTRY_COUNT
    data_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [
        row("append of one entry, synced by 8192", appended_s / ENTRY_COUNT * 1e6, "µs", limit=1e6 / APPEND_PER_S),
        row("verification of one entry", verified_s / ENTRY_COUNT * 1e6, "µs", limit=1e6 / VERIFY_PER_S),
        *proofs(folder),
        row(
            "on the disk, beside the entry itself",
            data_bytes / ENTRY_COUNT - statistics.mean(map(len, entries)),
            "bytes",
        ),
        row(f"of {CHANGES} random changes, not found", len(not_found(folder)), "changes", limit=0),
    ]


def of_search(number: int) -> Entry:
    """Of a search, as a node tells it."""
    digest = random.Random(number).randbytes(32).hex()
    return Entry(1.8e9 + number / 1000, "query", "camera-3#0123456789ab", "frames", 1, digest, "vector", "embedder@1")


def proofs(folder: Path) -> list[Row]:
    """Of random entries, from a log that was just opened: what is known of tiles is as it comes."""
    rng, times_ms = random.Random(1), []
    log = LogFolder.open(folder)
    for _ in range(PROOFS):
        number = rng.randrange(ENTRY_COUNT)
        began = time.perf_counter()
        log.inclusion(number)
        times_ms.append((time.perf_counter() - began) * 1000)
    times_ms.sort()
    return [
        row("proof of a random entry, median", times_ms[PROOFS // 2], "ms", limit=PROOF_MS_MAX),
        row("proof of a random entry, p99", times_ms[PROOFS * 99 // 100], "ms", limit=PROOF_MS_MAX),
    ]


def not_found(folder: Path) -> list[str]:
    """Changes in so many files at a time, each of which must be named."""
    rng, disk, missed = random.Random(2), FolderDisk(folder), []
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(CHANGES // AT_ONCE):
        before = {path: path.read_bytes() for path in rng.sample(paths, AT_ONCE)}
        for path, data in before.items():
            changed(path, data, rng)
        report = verify_log(disk, faults_max=1 << 20)
        found = {place for fault in report.faults for place in places(fault.where, fault.what)}
        names = {path.relative_to(folder).as_posix() for path in before}
        missed += sorted(names - found) if {"checkpoint", "log.key"}.isdisjoint(names) else ["?"] * report.is_right
        for path, data in before.items():
            path.write_bytes(data)
    assert verify_log(disk).is_right
    return missed


def places(where: str, what: str) -> set[str]:
    """The files that a fault speaks of: an entry is in its bundle, and its hash in a tile."""
    named = {where, *what.split("`")}
    if where.startswith("entry "):
        number = int(where.removeprefix("entry ")) // WIDTH
        named |= {tile_path("entries", number), tile_path("0", number)}
    with contextlib.suppress(InputError):
        if (tile := parse_tile(where.removeprefix("tile/"))).level == ENTRIES:
            named.add(tile_path("0", tile.number))
    return named


def tile_path(level: str, number: int) -> str:
    full, rest = f"tile/{level}/{number:03}", ENTRY_COUNT // WIDTH
    if number >= 1000:
        full = f"tile/{level}/x{number // 1000:03}/{number % 1000:03}"
    return f"{full}.p/{ENTRY_COUNT % WIDTH}" if number == rest else full


def changed(path: Path, data: bytes, rng: random.Random) -> None:
    """A bit, a byte more, an end cut off, 32 bytes moved, or the file gone."""
    at, kind = rng.randrange(len(data)), rng.randrange(10)
    moved = data[32:64] + data[:32] + data[64:]
    if kind < 6 or (kind == 9 and moved == data):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
    elif kind == 9:
        path.write_bytes(moved)
    elif kind == 8:
        path.unlink()
    else:
        path.write_bytes(data[:at] if kind == 6 else data[:at] + rng.randbytes(1) + data[at:])


def of_searches() -> list[Row]:
    vectors, questions = sampled(COUNT, 1), sampled(QUERIES, 2)
    requests = [http_request("POST", f"{POINTS}/query", search_body(one, EF), FRESH) for one in questions]
    with contextlib.ExitStack() as stack:
        plain, logging = (stack.enter_context(node(table)) for table in ("", "[audit]\n"))
        for one in (plain, logging):
            fill(one, vectors)
            under_load(one.address, requests, clients=CLIENTS, seconds=SECONDS)
        found: dict[RunningNode, list[Searched]] = {plain: [], logging: []}
        for number in range(2 * ROUNDS):
            one = (plain, logging)[(number + number // 2) % 2]  # ABBA: a machine that slows down meets both
            found[one].append(searched(one, requests))
    pairs = list(zip(found[plain], found[logging], strict=True))
    times = [after.us / before.us - 1 for before, after in pairs]
    processor = [after.processor_us / before.processor_us - 1 for before, after in pairs]
    return [
        row("search of 16 clients without a log", statistics.median(one.us for one in found[plain]), "µs"),
        row("search of 16 clients, every one logged", statistics.median(one.us for one in found[logging]), "µs"),
        row("what logging adds, median of pairs", 100 * statistics.median(times), "%", limit=100 * COST_MAX),
        row("node's processor, without a log", statistics.median(one.processor_us for one in found[plain]), "µs"),
        row("node's processor, every one logged", statistics.median(one.processor_us for one in found[logging]), "µs"),
        row("what logging adds to it, median of pairs", 100 * statistics.median(processor), "%"),
    ]


class Searched(NamedTuple):
    """us: of the clients' time for a search, all together. processor_us: of the node's own process."""

    us: float
    processor_us: float


def searched(node: RunningNode, requests: list[bytes]) -> Searched:
    before = told(node, CPU)
    found = under_load(node.address, requests, clients=CLIENTS, seconds=SECONDS)
    if found.failed:
        raise SystemExit(f"bench: {found.failed} requests failed")
    return Searched(1e6 / found.per_second(), (told(node, CPU) - before) / found.answers * 1e6)


@contextlib.contextmanager
def node(table: str) -> Iterator[RunningNode]:
    with tempfile.TemporaryDirectory() as name:
        site = Path(name) / "site.toml"
        site.write_text(f'{SITE}data = "{name}/data"\n{table}')
        with running_node(site) as found:
            yield found
