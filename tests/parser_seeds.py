"""Every parser of bytes that others write: a valid input or more, and what reads it. Only errors of ours may come."""

import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from http_seeds import BINARY_HEAD, FILTER, FRAME, FUZZED, RAW
from littoral.artifact import custom_section
from littoral.artifact.manifest import AgentManifest, Manifest
from littoral.artifact.sections import sections
from littoral.compiler.driver import compile_model
from littoral.errors import LittoralError
from littoral.mqtt.broker import parse_broker
from littoral.node.mqtt_topics import caught, check_filter, check_template, check_topic, filled
from littoral.node.oip.grpc_bodies import request_of
from littoral.node.oip.grpc_messages import messages
from littoral.node.oip.http_bodies import decode_request
from littoral.node.oip.targets import Port
from littoral.node.site import parse_site
from littoral.runtime.agents import Agent
from littoral.runtime.builtin_agents import builtin_agent
from littoral.runtime.interface import read_interface
from littoral.telemetry import incoming_trace
from littoral.tensors import decode_frame
from littoral.vectors import frames
from littoral.vectors.aliases import Aliases
from littoral.vectors.cache_journal import CacheJournal
from littoral.vectors.filters import parse_filter
from littoral.vectors.layout import COLLECTION_FILE, CollectionFile, read_collection_file
from littoral.vectors.log_numbers import begin_log
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.snapshots import config_in, unpack_store
from littoral.web.encodings import decompressed
from littoral.web.framing import framing_of
from littoral.web.messages import decode_json
from mixed_texts import byte_level_bpe, wordpiece
from mutations import Mutator
from oip_site import scaled
from pictures import jpeg, natural, png
from small_models import SMALL

__all__ = ["PARSERS", "Parser", "fuzz"]

PORT = Port("x", "FP32", (-1, 3), "float32")
BYTES_MAX = 1 << 20
AGENT_MEMORY_BYTES = 48 << 20
CONFIG = {"width": 16, "height": 16, "layout": "nchw", "dtype": "float32"}


class Parser(NamedTuple):
    """seeds: made when they are needed. is_json: they are changed as JSON. cost: cases that it takes for one other."""

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    is_json: bool = False
    cost: int = 1


def _in_file(read: Callable[[Path], object], name: str = "file") -> Callable[[bytes], object]:
    def work(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            return read(Path(folder) / name)

    return work


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _oip(data: bytes) -> None:
    size, _, body = data.partition(b"|")
    asked = decode_request(body, size.decode("latin-1") or None, None)
    for tensor in asked.request.inputs:
        tensor.values(PORT, "input `x`")


def _grpc(data: bytes) -> None:
    try:
        asked = messages()["ModelInferRequest"].FromString(data)
    except DecodeError:  # said by the library, as a status
        return
    for tensor in request_of(asked, None).inputs:
        tensor.values(PORT, "input `x`")


def _grpc_seeds() -> list[bytes]:
    kind = messages()["ModelInferRequest"]
    asked = kind(model_name="plain", id="7")
    asked.inputs.add(name="x", datatype="FP32", shape=[2, 3])
    asked.raw_input_contents.append(RAW)
    asked.parameters["sequence_id"].int64_param = 5
    other = kind(model_name="plain")
    other.inputs.add(name="x", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend([1, 2, 3])
    return [asked.SerializeToString(), other.SerializeToString()]


def _shard_frame(data: bytes) -> None:
    try:
        frames.decode_request(data)
    except LittoralError:
        frames.call_of(data)
    frames.decode_answer(data)


def _shard_seeds() -> list[bytes]:
    points = PointBatch([1, "0b0e9a3a-5b5e-4b8e-9c0a-2b2f0f7b7a11"], np.ones((2, 4), "<f4").tobytes(), [{"n": 1}, None])
    sent = [
        frames.Upsert(call=1, points=points, condition=FILTER),
        frames.Delete(call=2, ids=[1]),
        frames.Configure(call=3, config=_config()),
        frames.Written(call=1, epoch=5),
    ]
    return [frames.encode(one)[frames.LENGTH_BYTES :] for one in sent]


def _config() -> CollectionConfig:
    return CollectionConfig(VectorParams(4, "Dot"))


def _read_journal(path: Path) -> None:
    journal = CacheJournal(path, 1 << 20)
    for _ in journal.read():
        pass
    journal.close()


def _journal_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        journal = CacheJournal(Path(folder) / "file", 1 << 20)
        list(journal.read())
        for number in range(5):
            journal.add(bytes([number]) * 32, bytes(100))
        journal.close()
        return [(Path(folder) / "file").read_bytes()]


def _read_snapshot(path: Path) -> None:
    try:
        config_in(path, None)
    finally:
        unpack_store(path, path.with_name("store"), reserve_bytes=0)


def _snapshot_seeds() -> list[bytes]:
    archive = io.BytesIO()
    files = {
        COLLECTION_FILE: msgspec.json.encode(CollectionFile(_config(), ["shard-0-a"])),
        "segments/a/segment.json": b'{"version": 7}',
        "edge_config.json": b"{}",
    }
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return [archive.getvalue(), zlib.compress(archive.getvalue(), wbits=31)]


def _read_segment(path: Path) -> None:
    folder = path.parent / "segments" / "a"
    folder.mkdir(parents=True)
    path.rename(folder / "segment.json")
    begin_log(path.parent)


def _module(data: bytes) -> None:
    for read in (lambda: list(sections(data)), lambda: read_interface(data)):
        try:
            read()
        except LittoralError as error:
            assert str(error)
    if (section := custom_section(data, "littoral.model")) is not None:
        Manifest.decode(section)


def _manifest_seeds() -> list[bytes]:
    section = custom_section(scaled(2.0).wasm, "littoral.model")
    assert section is not None
    return [section]


def _agent_manifest_seeds() -> list[bytes]:
    section = custom_section(builtin_agent("image").path.read_bytes(), "littoral.agent")
    assert section is not None
    return [section]


class _Agents:
    """One of each, opened at the first use."""

    def __init__(self) -> None:
        self._image: Agent | None = None

    def image(self, data: bytes) -> object:
        if self._image is None:
            self._image = Agent.open(builtin_agent("image").path, CONFIG)
        return self._image.infer(data)

    def tokenizer(self, data: bytes) -> None:
        with Agent.open(
            builtin_agent("text").path,
            files={"tokenizer": data},
            memory_bytes=AGENT_MEMORY_BYTES,
            start_deadline_ms=2000,
        ) as agent:
            agent.infer(b"a text of some words")


_AGENTS = _Agents()


def _topics(data: bytes) -> None:
    topic_filter, _, rest = _text(data).partition("|")
    topic, _, template = rest.partition("|")
    check_topic(topic)
    check_filter(topic_filter)
    check_template(template, topic_filter, ("id",))
    wildcards = caught(topic_filter, topic)
    if wildcards is not None:
        check_topic(filled(template, wildcards, {"id": topic}))


def _trace(data: bytes) -> None:
    parent, _, rest = _text(data).partition("|")
    state, _, request = rest.partition("|")
    incoming_trace(parent, state, request).headers()


def _frames_of(content_type: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        framing = framing_of(content_type, BYTES_MAX)
        for at in range(0, len(data), 37):
            for frame in framing.feed(data[at : at + 37]):
                assert len(frame.data) <= BYTES_MAX
        framing.end()

    return read


def _multipart() -> list[bytes]:
    head = b"--f\r\nContent-Type: application/json\r\nX-Frame-Id: 1\r\n"
    return [head + b"\r\n{}\r\n--f\r\n\r\nabc\r\n--f--\r\n", head + b"Content-Length: 3\r\n\r\nabc\r\n--f--\r\n"]


def _lengths() -> list[bytes]:
    return [b"".join(len(part).to_bytes(4, "little") + part for part in (b"abc", b"", b"x" * 50))]


def _filter(data: bytes) -> object:
    return parse_filter(decode_json(data, dict[str, Any]))


PARSERS: dict[str, Parser] = {
    "site.toml": Parser(lambda data: parse_site(data, Path("site.toml")), lambda: [FUZZED.encode()], cost=2),
    "safetensors": Parser(decode_frame, lambda: [FRAME]),
    "mqtt-topics": Parser(_topics, lambda: [b"cameras/+/frame/#|cameras/a/frame/b|answers/{1}/{id}"]),
    "mqtt-broker": Parser(lambda data: parse_broker(_text(data)), lambda: [b"mqtts://user@host:8883", b"mqtt://[::1]"]),
    "oip-json": Parser(_oip, lambda: [b"|" + json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32",
                                                                     "data": [1, 2, 3]}]}).encode()]),
    "oip-binary": Parser(_oip, lambda: [str(len(BINARY_HEAD)).encode() + b"|" + BINARY_HEAD + RAW]),
    "oip-grpc": Parser(_grpc, _grpc_seeds),
    "shard-frames": Parser(_shard_frame, _shard_seeds),
    "filter": Parser(_filter, lambda: [json.dumps(FILTER).encode()], is_json=True),
    "cache-journal": Parser(_in_file(_read_journal), _journal_seeds, cost=4),
    "aliases": Parser(
        _in_file(lambda path: Aliases(path.parent).load(), "aliases.json"),
        lambda: [b'{"a": "b"}', b'{"aliases": {"a": "b"}, "format": 1}'],
    ),
    "collection.json": Parser(_in_file(lambda path: read_collection_file(path.parent), COLLECTION_FILE),
                              lambda: [msgspec.json.encode(CollectionFile(_config(), ["s"]))], is_json=True),
    "segment.json": Parser(_in_file(_read_segment), lambda: [b'{"version": 7, "config": {}}'], is_json=True, cost=2),
    "snapshot": Parser(_in_file(_read_snapshot), _snapshot_seeds, cost=4),
    "traceparent": Parser(_trace, lambda: [b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01|a=b,c=d|7"]),
    "multipart": Parser(_frames_of("multipart/mixed; boundary=f"), _multipart),
    "lengths": Parser(_frames_of("application/x-littoral-frames"), _lengths),
    "gzip": Parser(lambda data: decompressed(data, "gzip", BYTES_MAX), lambda: [zlib.compress(bytes(5000), wbits=31)]),
    "module": Parser(_module, lambda: [scaled(2.0).wasm]),
    "model-manifest": Parser(Manifest.decode, _manifest_seeds, is_json=True),
    "agent-manifest": Parser(AgentManifest.decode, _agent_manifest_seeds, is_json=True),
    "onnx": Parser(compile_model, lambda: [SMALL[name]() for name in list(SMALL)[:4]], cost=40),
    "jpeg": Parser(_AGENTS.image, lambda: [jpeg(natural(48, 40)), jpeg(natural(48, 40), progressive=True)], cost=4),
    "png": Parser(_AGENTS.image, lambda: [png(natural(48, 40))], cost=4),
    "tokenizer.json": Parser(_AGENTS.tokenizer, lambda: [wordpiece().encode(), byte_level_bpe().encode()], cost=80),
}  # fmt: skip


def fuzz(name: str, seed: int, count: int) -> dict[str, int]:
    """How many inputs were taken, how many refused. AssertionError for anything else."""
    parser = PARSERS[name]
    seeds, found = parser.seeds(), {"taken": 0, "refused": 0}
    for number in range(count):
        mutator = Mutator((name, seed, number))
        data = mutator.one(seeds)
        if number:
            data = mutator.json(json.loads(data)) if parser.is_json and mutator.chance(0.7) else mutator.bytes(data)
        try:
            parser.read(data)
            found["taken"] += 1
        except LittoralError as error:
            assert str(error), f"{name}: case {(seed, number)}: an error without words"
            found["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{name}: case {(seed, number)}: {error!r} for {data[:300]!r}") from error
    return found
