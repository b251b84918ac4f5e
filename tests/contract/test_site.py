"""The site file: what it says when it is right, and what is said when it is wrong."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from littoral.errors import NotFoundError, SettingError
from littoral.node.site import parse_address, parse_site, read_site
from littoral.node.site_schema import keys, site_schema
from littoral.node.site_tables import ALL_STEP_TABLES, TABLES, AgentStepTable, ModelStepTable, SearchStepTable
from littoral.runtime.host.options import OPTIONS, Normalize
from littoral.runtime.host_steps import HOST_STEPS
from littoral.vectors.queries import PayloadSelector, SearchParams
from site_folder import TEXT

FILE = Path("site.toml")
ITEMS = """[collections.items]
named.text = { size = 4, distance = "Dot" }
named.image = { size = 6, distance = "Euclid" }
named.patches = { size = 3, distance = "Cosine", multi = true }
"""
FRAMES = '[collections.frames]\nvectors = { size = 4, distance = "Cosine" }\n'
MIGRATE_WITH = 'migrate = { source = "payload:text", pipeline = "p", agents = '
EMBEDS = '\n[pipelines.p]\nsteps = [{ model = "embedder" }]'
MODEL = '[models.embedder]\npath = "m.wasm"\n'
SPREAD_EU = 'spread = { strategy = "geographic", regions = ["eu"], '
MESH = '[node]\nname = "a"\n[mesh]\nsite = "shop"\n'
AGENT = '[agents.decode]\npath = "builtin:image"\n'
AUTH = "[auth]\n"
TENANT = '[[tenants]]\nname = "acme"\n'
OWN_COLLECTION = '[tenants.collections.c]\nvectors = { size = 4, distance = "Dot" }\n'
TENANT_VECTORS = TENANT + OWN_COLLECTION

WRONG = {
    "no TOML": "node = ",
    "no UTF-8": b'[node]\nname = "\xff"',
    "a table that is unknown": '[nodes]\nname = "x"',
    "a table that is far from any": "[zebra]\n",
    "a table of a later version": "[updates]",
    "tenants that are no list": '[tenants]\nname = "x"',
    "a tenant without a name": AUTH + "[[tenants]]",
    "a tenant with a name that none can have": AUTH + '[[tenants]]\nname = "a/b"',
    "a key of a tenant that is unknown": AUTH + TENANT + "quota = { points = 3 }",
    "tenants without tokens": TENANT,
    "tenants and open metrics": "[auth]\nmetrics = false\n" + TENANT,
    "two tenants of one name": AUTH + TENANT + TENANT,
    "a tenant's model that is not there": AUTH + MODEL + TENANT + 'models = ["embeder"]',
    "a tenant's pipeline that is not there": AUTH + TENANT + 'pipelines = ["similar"]',
    "a tenant's collection that migrates": AUTH
    + TENANT_VECTORS
    + 'migrate = { pipeline = "p", source = "payload:text" }',
    "a tenant's collection of an unknown model": AUTH + TENANT_VECTORS + 'model = "m"',
    "fewer collections than a tenant has": AUTH + TENANT + "quota = { collections_max = 0 }\n" + OWN_COLLECTION,
    "more collections than there is room for": AUTH
    + TENANT
    + "quota = { collections_max = 64 }\n"
    + TENANT.replace("acme", "bolt"),
    "a key that is unknown": '[node]\nlistn = "x"',
    "a key that is far from any": "[node]\nzebra = 1",
    "a value of the wrong type": "[node]\nname = 3",
    "a value that is a date": "[node]\nname = 1979-05-27",
    "a value that is too long to show": f"[node]\nname = [{', '.join(['1'] * 100)}]",
    "a name that none can have": '[node]\nname = "store 12"',
    "an address without a port": '[node]\nlisten = "127.0.0.1"',
    "an address with a wrong port": '[node]\nlisten = "127.0.0.1:65536"',
    "an address without brackets": '[node]\nlisten = "::1:8642"',
    "models that are no tables": "models = 3",
    "a model that is no table": "[models]\nembedder = 3",
    "a model's name that none can have": '[models."a/b"]\npath = "m.wasm"',
    "a model without a path": "[models.embedder]",
    "a model with an empty path": '[models.embedder]\npath = ""',
    "a digest that is none": MODEL + 'sha256 = "12"',
    "no instance": MODEL + "instances = { min = 0 }",
    "fewer at most than at least": MODEL + "instances = { min = 2, max = 1 }",
    "a key deep inside": MODEL + "instances = { mim = 1 }",
    "batches of none": MODEL + "batch = { max = 0 }",
    "no memory": "[node]\nmemory_mb = 0",
    "no failure": MODEL + "quarantine = { failures = 0 }",
    "an agent with too much memory": AGENT + "memory_mb = 4096",
    "an agent with no time": AGENT + "deadline_ms = 0",
    "a configuration with what JSON lacks": AGENT + "config = { mean = nan }",
    "a configuration with a date": AGENT + "config = { mean = [1979-05-27] }",
    "a number of too many digits": f"[limits]\nbody_bytes_max = {'9' * 5000}",
    "grants that are no list": AGENT + 'grants = "littoral.log"',
    "a grant that is no text": AGENT + 'grants = ["littoral.log", 7]',
    "a collection without vectors": "[collections.frames]",
    "vectors without a distance": "[collections.frames]\nvectors = { size = 4 }",
    "an unknown distance": '[collections.frames]\nvectors = { size = 4, distance = "cosine" }',
    "vectors of no size": '[collections.frames]\nvectors = { size = 0, distance = "Dot" }',
    "a sparse vector with the name of another": ITEMS + 'sparse = ["words", "text"]',
    "a vector with a name that no route can have": "[collections.items]\nsparse = ['a/b']",
    "cells of a vector that is not there": MESH + ITEMS + 'spread = { strategy = "metric", by = "smell" }',
    "cells of several vectors a point": MESH + ITEMS + 'spread = { strategy = "metric", by = "patches" }',
    "cells of a first vector of Dot": MESH + ITEMS + 'spread = { strategy = "metric" }',
    "named vectors to be embedded anew": ITEMS + 'migrate = { source = "payload:t", pipeline = "embed" }',
    "a search for named vectors": ITEMS + '[pipelines.find]\nsteps = [{ search = "items" }]',
    "a spread collection without a mesh": FRAMES + 'spread = { strategy = "hash" }',
    "a spread of no strategy": MESH + FRAMES + 'spread = { strategy = "random" }',
    "a region of another strategy": MESH + FRAMES + 'spread = { pinned = ["eu"] }',
    "a pinned region in cells of another strategy": MESH
    + FRAMES
    + 'spread = { strategy = "metric", pinned = ["eu"], sample = "rows.npy" }',
    "a pinned region without shards": MESH + FRAMES + SPREAD_EU + 'pinned = ["us"] }',
    "points from elsewhere in a pinned region": MESH + FRAMES + SPREAD_EU + 'pinned = ["eu"], elsewhere = "eu" }',
    "fewer shards than regions": MESH
    + FRAMES
    + 'spread = { strategy = "geographic", regions = ["eu", "us"], shards = 1 }',
    "cells of a distance without": MESH
    + '[collections.frames]\nvectors = { size = 4, distance = "Dot" }\n'
    + 'spread = { strategy = "hybrid", sample = "rows.npy" }',
    "agents of a model that is not there": MODEL + FRAMES + MIGRATE_WITH + '{ wide = { words = "more" } } }' + EMBEDS,
    "another agent that is not there": MODEL + FRAMES + MIGRATE_WITH + '{ embedder = { words = "more" } } }' + EMBEDS,
    "the region of nobody": MESH + 'regions = { z = "eu" }',
    "cells of a region without a sample": MESH + FRAMES + 'spread = { strategy = "geographic", within = "metric" }',
    "more holders than replicas": MESH + FRAMES + "spread = { replicas = 2, holders = 3 }",
    "a recall of more than all": MESH + FRAMES + "spread = { recall = 1.5 }",
    "a mesh without a site": "[mesh]",
    "a name that no node of a mesh can have": '[node]\nname = "Store_12"\n[mesh]\nsite = "shop"',
    "a peer that is this node": '[node]\nname = "a"\n[mesh]\nsite = "shop"\npeers = { a = "127.0.0.1:7447" }',
    "a peer without a port": '[node]\nname = "a"\n[mesh]\nsite = "shop"\npeers = { b = "127.0.0.1" }',
    "no steps": "[pipelines.similar]\nsteps = []",
    "too many steps": AGENT + "[pipelines.similar]\nsteps = [" + '{ agent = "decode" },' * 17 + "]",
    "steps that are no tables": '[pipelines.similar]\nsteps = ["decode"]',
    "a step of an unknown kind": '[pipelines.similar]\nsteps = [{ agnt = "decode" }]',
    "a step of two kinds": '[pipelines.similar]\nsteps = [{ agent = "decode", model = "embedder" }]',
    "an empty step": "[pipelines.similar]\nsteps = [{}]",
    "a step with an unknown key": MODEL + '[pipelines.p]\nsteps = [{ model = "embedder", takes = "y" }]',
    "an agent that is not there": AGENT + '[pipelines.similar]\nsteps = [{ agent = "decoder" }]',
    "a model that is not there": '[pipelines.similar]\nsteps = [{ model = "embedder" }]',
    "a host step that is unknown": '[pipelines.similar]\nsteps = [{ step = "normalise" }]',
    "a number of no meaning": '[pipelines.similar]\nsteps = [{ step = "softmax", k = 3 }]',
    "a name that no step can have": MODEL + '[pipelines.p]\nsteps = [{ model = "embedder", name = "a b" }]',
    "no size of parts": '[pipelines.p]\nsteps = [{ step = "crop", width = 4 }]',
    "an overlap of no share": '[pipelines.p]\nsteps = [{ step = "nms", iou = 1.5 }]',
    "class names of no model": '[pipelines.p]\nsteps = [{ step = "top_k", labels = "m" }]',
    "no steps for each": "[pipelines.p]\nsteps = [{ for_each = [] }]",
    "a step for each that is wrong": '[pipelines.p]\nsteps = [{ for_each = [{ step = "blur" }] }]',
    "a model for each that is not there": '[pipelines.p]\nsteps = [{ for_each = [{ model = "m" }] }]',
    "each of each": '[pipelines.p]\nsteps = [{ for_each = [{ for_each = [{ step = "join" }] }] }]',
    "a collection that is not there": FRAMES + '[pipelines.similar]\nsteps = [{ search = "frame" }]',
    "no hits": FRAMES + '[pipelines.similar]\nsteps = [{ search = "frames", limit = 0 }]',
    "a wrong filter": FRAMES + '[pipelines.p]\nsteps = [{ search = "frames", filter = { must = [{ key = "a" }] } }]',
    "wrong parameters": FRAMES + '[pipelines.p]\nsteps = [{ search = "frames", params = { exakt = true } }]',
    "a body of no size": "[limits]\nbody_bytes_max = 1",
    "too deep": "[node]\nname = " + "[" * 2000,
    "too large": "#" * (1 << 20) + "\n",
    "too many models": "".join(f'[models.m{i}]\npath = "m"\n' for i in range(65)),
}


def refusal(text: str | bytes) -> str:
    with pytest.raises(SettingError) as raised:
        parse_site(text if isinstance(text, bytes) else text.encode(), FILE)
    return str(raised.value)


def test_what_is_wrong_is_told(golden: Callable[[str], None]) -> None:
    golden("".join(f"{what}\n  {refusal(text)}\n" for what, text in WRONG.items()))


def test_a_site_file_says_what_a_node_runs() -> None:
    site = parse_site(TEXT.encode(), Path("/sites/store-12/site.toml"))
    assert site.node.name == "store-12"
    assert site.data == Path("/sites/store-12/data")
    assert str(site.listen) == "127.0.0.1:0"
    assert site.path_of(site.models["embedder"].path) == Path("/sites/store-12/embedder.wasm")
    assert site.models["embedder"].instances.max == 2
    assert site.agent_path(site.agents["decode"]) == "builtin:image"
    assert site.agents["decode"].config == {"width": 32, "height": 32}
    assert site.collections["frames"].plain().size == 5
    kinds = [type(step) for step in site.pipelines["similar"]]
    assert kinds == [AgentStepTable, ModelStepTable, Normalize, SearchStepTable]


def test_an_empty_file_is_a_node_without_anything() -> None:
    site = parse_site(b"", FILE)
    assert (site.node.name, str(site.listen), site.pipelines) == ("littoral", "127.0.0.1:8642", {})


def test_a_search_says_what_a_query_may_say() -> None:
    text = FRAMES + (
        '[pipelines.p]\nsteps = [{ search = "frames", limit = 3, with_payload = ["source"], score_threshold = 0.5, '
        'filter = { must = [{ key = "source", match = { value = "a" } }] }, params = { hnsw_ef = 64, exact = false } }]'
    )
    (step,) = parse_site(text.encode(), FILE).pipelines["p"]
    assert isinstance(step, SearchStepTable)
    options = step.options()
    assert options["with_payload"] == PayloadSelector(include=["source"])
    assert options["params"] == SearchParams(hnsw_ef=64, exact=False)
    assert options["limit"] == 3


def test_a_search_is_exact_unless_told_otherwise() -> None:
    (step,) = parse_site((FRAMES + '[pipelines.p]\nsteps = [{ search = "frames" }]').encode(), FILE).pipelines["p"]
    assert isinstance(step, SearchStepTable)
    assert step.options()["params"] == SearchParams(exact=True)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0x0A])
def test_a_damaged_file_is_refused_in_words_or_good(flip: int) -> None:
    data = TEXT.encode()
    for at in range(len(data)):
        with contextlib.suppress(SettingError):
            parse_site(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :], FILE)


VALUES = (
    "7",
    "-1",
    "1e400",
    "nan",
    "true",
    '"x"',
    "[]",
    "[[]]",
    "{}",
    "{ a = { a = 1 } }",
    "1979-05-27T07:32:00Z",
    "10:00:00",
)


@pytest.mark.parametrize("value", VALUES)
def test_any_value_anywhere_is_refused_in_words_or_good(value: str) -> None:
    for key in keys():
        table = key.table.replace("NAME", "a")
        _, is_step, step = table.partition("step ")
        text = f"[{table}]\n{key.name} = {value}"
        if key.table in OPTIONS or key.table == "every step":
            kind = "nms" if key.table == "every step" else key.table
            text = f'[pipelines.a]\nsteps = [{{ step = "{kind}", {key.name} = {value} }}]'
        elif is_step:
            kind = "" if step == key.name else f'{step} = "a", '
            text = f"[pipelines.a]\nsteps = [{{ {kind}{key.name} = {value} }}]"
        with contextlib.suppress(SettingError):
            parse_site(text.encode(), FILE)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"site file `.*missing.toml`: No such file"):
        read_site(tmp_path / "missing.toml")


@pytest.mark.parametrize("text", ["127.0.0.1:8642", "[::1]:0", "localhost:1", "0.0.0.0:65535"])
def test_addresses_come_back_as_they_were(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", ":8642", "host", "host:", "host:x", "host:-1", "host:٣", "::1:5", "[]:5", "a b:5"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="is not HOST:PORT"):
        parse_address(text)


def test_the_host_steps_are_those_of_the_runtime() -> None:
    assert list(OPTIONS) == list(HOST_STEPS)
    assert [get_args(get_type_hints(table)["step"]) for table in OPTIONS.values()] == [(name,) for name in OPTIONS]


def test_the_schema_knows_every_table_and_step() -> None:
    schema = json.loads(msgspec.json.encode(site_schema()))
    assert set(schema["properties"]) == set(TABLES)
    assert len(schema["$defs"]["PipelineTable"]["properties"]["steps"]["items"]["oneOf"]) == len(ALL_STEP_TABLES)
    assert set(schema["$defs"]["Crop"]["required"]) == {"step", "width", "height"}
    assert schema["$defs"]["ModelTable"]["additionalProperties"] is False
    assert schema["$defs"]["ModelTable"]["required"] == ["path"]


def test_every_key_has_a_meaning() -> None:
    assert [key for key in keys() if not key.meaning] == []
