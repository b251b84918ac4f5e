"""Payloads on the disk do not stay in a process's memory, and nothing of them is lost."""

import base64
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.vectors.mapped_pages import GROWN_BYTES_MAX, PAUSE_S, MappedPages
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard
from littoral.vectors.tuning import Placement

COUNT, PAYLOAD_BYTES = 1200, 64 << 10
CONFIG = CollectionConfig(VectorParams(2, "Dot"), payload=Placement(memory="cold"))
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mapped pages are told by Linux's /proc")


@pytest.fixture
def shard(tmp_path: Path) -> Any:
    with Shard.open(tmp_path, CONFIG, create=True) as made:
        vectors = np.ones((1, 2), "<f4").tobytes()
        for number in range(COUNT):
            made.upsert(PointBatch([number], vectors, [{"text": text(number)}]))
        made.flush()
        yield made


def text(number: int) -> str:
    """Of what no compression makes smaller than three quarters."""
    return base64.b64encode(random.Random(number).randbytes(PAYLOAD_BYTES)).decode()


def read_all(shard: Shard) -> None:
    for number in range(COUNT):
        (record,) = shard.retrieve([number])
        assert record.payload is not None
        assert record.payload["text"] == text(number)


def resident_bytes(folder: Path) -> int:
    """Of payload files below the folder."""
    found, is_payload = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_payload = str(folder) in line and "/payload_storage/" in line
        elif is_payload and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


def test_what_was_looked_at_is_given_back_and_is_there_again(shard: Shard, tmp_path: Path) -> None:
    read_all(shard)
    assert resident_bytes(tmp_path) >= COUNT * PAYLOAD_BYTES
    MappedPages(tmp_path).give_back()
    assert resident_bytes(tmp_path) == 0
    read_all(shard)


def test_what_was_written_and_not_flushed_stays(shard: Shard, tmp_path: Path) -> None:
    shard.change_payload(PayloadChange("merge", ids=list(range(COUNT)), payload={"more": "not yet on the disk"}))
    MappedPages(tmp_path).give_back()
    for record in shard.retrieve(list(range(COUNT))):
        assert record.payload == {"text": text(int(record.id)), "more": "not yet on the disk"}


def test_it_is_done_when_they_have_grown_by_a_limit_and_once_a_second_at_most(shard: Shard, tmp_path: Path) -> None:
    assert COUNT * PAYLOAD_BYTES > GROWN_BYTES_MAX
    pages = MappedPages(tmp_path)
    pages.give_back()
    assert not pages.tend(0.0)
    read_all(shard)
    assert not pages.tend(PAUSE_S / 2)
    assert pages.tend(PAUSE_S)
    assert resident_bytes(tmp_path) == 0
    assert not pages.tend(2 * PAUSE_S)


def test_payloads_that_are_to_be_in_memory_stay_there(shard: Shard, tmp_path: Path) -> None:
    pages = MappedPages.of(tmp_path, CollectionConfig(VectorParams(2, "Dot"), payload=Placement(memory="pinned")))
    assert not pages.tend(0.0)
    read_all(shard)
    assert not pages.tend(PAUSE_S)
    assert resident_bytes(tmp_path) >= COUNT * PAYLOAD_BYTES
