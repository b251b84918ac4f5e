"""What differs between two site files, and what each difference needs."""

from pathlib import Path

import pytest

from littoral.errors import SettingError
from littoral.node.config.changes import Needs, changes, check_changes, is_hot
from littoral.node.site import Site, parse_site

FILE = Path("site.toml")
TEXT = """
[node]
name = "store-12"

[models.embedder]
path = "embedder.wasm"

[collections.frames]
vectors = { size = 4, distance = "Cosine" }

[pipelines.embed]
steps = [{ model = "embedder" }]

[limits]
body_s = 5.0

[auth]

[cache]
disk_mb = 64

[encryption]
key_file = "keys"
"""

CASES = {
    "limits.body_s": ("body_s = 5.0", "body_s = 6.0", Needs.HOT),
    "models.embedder.path": ("embedder.wasm", "embedder-2.wasm", Needs.HOT),
    "models.embedder.batch.max": ("embedder.wasm", 'embedder.wasm"\nbatch.max = 4 #', Needs.RESTART),
    "telemetry.logs.level": ("[auth]", '[telemetry.logs]\nlevel = "debug"\n[auth]', Needs.HOT),
    "telemetry.traces.ratio": ("[auth]", "[telemetry.traces]\nratio = 1\n[auth]", Needs.HOT),
    "node.name": ("store-12", "store-13", Needs.RESTART),
    "node.data": ("[models.embedder]", 'data = "elsewhere"\n[models.embedder]', Needs.REFUSED),
    "collections.frames.vectors.size": ("size = 4", "size = 5", Needs.REFUSED),
    "collections.frames.vectors.distance": ("Cosine", "Dot", Needs.REFUSED),
    "collections.frames.named.text": (
        "[pipelines.embed]",
        'named.text = { size = 2, distance = "Dot" }\n[pipelines.embed]',
        Needs.REFUSED,
    ),
    "collections.frames.sparse": ("[pipelines.embed]", 'sparse = ["words"]\n[pipelines.embed]', Needs.REFUSED),
    "collections.frames.strict": ("[pipelines.embed]", "strict = true\n[pipelines.embed]", Needs.RESTART),
    "collections.more": (
        "[pipelines.embed]",
        '[collections.more]\nvectors = { size = 2, distance = "Dot" }\n[pipelines.embed]',
        Needs.HOT,
    ),
    "collections.sealed": (
        "[pipelines.embed]",
        '[collections.sealed]\nvectors = { size = 2, distance = "Dot" }\nencrypted.fields = ["who"]\n[pipelines.embed]',
        Needs.RESTART,
    ),
    "collections.frames": ('[collections.frames]\nvectors = { size = 4, distance = "Cosine" }', "", Needs.HOT),
    "pipelines.more": ("[limits]", '[pipelines.more]\nsteps = [{ model = "embedder" }]\n[limits]', Needs.HOT),
    "pipelines.embedder": (
        "[limits]",
        '[pipelines.embedder]\nsteps = [{ model = "embedder" }]\n[limits]',
        Needs.HOT,
    ),
    "pipelines.embed": ("steps = [", 'steps = [{ step = "normalize" }, ', Needs.HOT),
    "auth": ("[auth]", "", Needs.RESTART),
    "cache.disk_mb": ("disk_mb = 64", "disk_mb = 32", Needs.RESTART),
    "encryption": ('[encryption]\nkey_file = "keys"', "", Needs.REFUSED),
    "encryption.key_file": ('"keys"', '"other"', Needs.RESTART),
}


def site(text: str = TEXT) -> Site:
    return parse_site(text.encode(), FILE)


@pytest.mark.parametrize("key", CASES)
def test_a_change_is_one_row_by_its_key(key: str) -> None:
    before, after, needs = CASES[key]
    assert before in TEXT
    (found,) = changes(site(), site(TEXT.replace(before, after)))
    assert (found.key, found.needs) == (key, needs)
    assert found.before != found.after
    assert is_hot([found]) == (needs is Needs.HOT)
    assert found.why or needs is not Needs.REFUSED


TENANTS = """
[[tenants]]
name = "acme"
quota = { requests_per_s = 5.0, points_max = 10, cache_mb = 4 }
"""


BOLT = '\n[[tenants]]\nname = "bolt"\n'
OWN = TENANTS + '\n[tenants.collections.parts]\nvectors = { size = 4, distance = "Dot" }\n'


@pytest.mark.parametrize(
    ("before", "after", "key", "needs"),
    [
        (TENANTS, TENANTS.replace("= 5.0", "= 9.0"), "acme.quota.requests_per_s", Needs.HOT),
        (TENANTS, TENANTS.replace("cache_mb = 4", "cache_mb = 5"), "acme.quota.cache_mb", Needs.HOT),
        (TENANTS, TENANTS.replace("= 10", "= 10, collections_max = 2"), "acme.quota.collections_max", Needs.HOT),
        (TENANTS, TENANTS.replace("quota", 'models = ["embedder"]\nquota'), "acme.models", Needs.HOT),
        (TENANTS, OWN, "acme.collections.parts", Needs.HOT),
        (OWN, OWN.replace("size = 4", "size = 5"), "acme.collections.parts.vectors.size", Needs.REFUSED),
        (TENANTS, TENANTS + BOLT, "bolt", Needs.HOT),
        (TENANTS, BOLT + TENANTS, "bolt", Needs.HOT),
        (TENANTS + BOLT, TENANTS, "bolt", Needs.HOT),
        (TENANTS, "", "acme", Needs.HOT),
    ],
)
def test_tenants_come_and_go_and_have_other_quotas_while_it_serves(
    before: str, after: str, key: str, needs: Needs
) -> None:
    (found,) = changes(site(TEXT + before), site(TEXT + after))
    assert (found.key, found.needs) == (f"tenants.{key}", needs)
    assert ("`tenants/" + key in found.why) == (found.after is None)


def test_the_order_of_tenants_is_no_change() -> None:
    assert changes(site(TEXT + TENANTS + BOLT), site(TEXT + BOLT + TENANTS)) == []


def test_a_whole_model_comes_and_goes_while_it_serves() -> None:
    """With the pipeline that it brings along; whether it has one is not changed."""
    spare = TEXT.replace("[models.embedder]", '[models.spare]\npath = "a.wasm"\npipeline = false\n\n[models.embedder]')
    own = spare.replace("pipeline = false\n", "")
    for one, other in ((TEXT, spare), (spare, TEXT), (TEXT, own), (own, TEXT)):
        assert [(row.key, row.needs) for row in changes(site(one), site(other))] == [("models.spare", Needs.HOT)]
    assert {row.needs for row in changes(site(own), site(spare))} == {Needs.RESTART}


AGENT = '\n[agents.decode]\npath = "builtin:image"\nconfig = { width = 8 }\n'


@pytest.mark.parametrize(
    ("before", "after", "key", "needs"),
    [
        ("", AGENT, "decode", Needs.HOT),
        (AGENT, "", "decode", Needs.HOT),
        (AGENT, AGENT.replace("8", "9"), "decode.config.width", Needs.HOT),
        (AGENT, AGENT + 'grants = ["littoral.log"]\n', "decode.grants", Needs.HOT),
        (AGENT, AGENT + "memory_mb = 32\n", "decode.memory_mb", Needs.HOT),
        (AGENT, AGENT.replace("builtin:image", "own.wasm"), "decode.path", Needs.HOT),
        (AGENT, AGENT + "instances = { min = 2, max = 2 }\n", "decode.instances.min", Needs.HOT),
        (AGENT, AGENT + "quarantine = { failures = 2 }\n", "decode.quarantine.failures", Needs.HOT),
        (AGENT, AGENT + "compile = { time_s = 2 }\n", "decode.compile.time_s", Needs.HOT),
    ],
)
def test_agents_come_and_go_and_have_other_settings_while_it_serves(
    before: str, after: str, key: str, needs: Needs
) -> None:
    first = changes(site(TEXT + before), site(TEXT + after))[0]
    assert (first.key, first.needs) == (f"agents.{key}", needs)


FLEET = '\n[updates]\ntrust = "fleet.json"\n'
PLACED = '\n[mesh]\nsite = "shop"\n\n[placement]\n'


@pytest.mark.parametrize("more", ["", FLEET, PLACED])
def test_what_may_fit_together_alone_counts_together(more: str) -> None:
    """An agent, a model and steps of which none fits the others of before."""
    other = TEXT.replace("steps = [", 'steps = [{ step = "normalize" }, ').replace("embedder.wasm", "other.wasm")
    found = changes(site(TEXT + AGENT + more), site(other + AGENT.replace("8", "9") + more))
    assert {row.key: row.needs for row in found} == {
        "models.embedder.path": Needs.HOT,
        "agents.decode.config.width": Needs.HOT,
        "pipelines.embed": Needs.HOT,
    }


def test_other_steps_of_a_pipeline_that_is_named_elsewhere_need_a_restart() -> None:
    steps = "steps = ["
    for more in (
        '[[tenants]]\nname = "acme"\npipelines = ["embed"]\n',
        '[mqtt]\nbroker = "mqtt://a:1"\n[[mqtt.routes]]\ntopic = "in/#"\npipeline = "embed"\npublish = "out"\n',
        '[gateway]\nembedder = "embed"\n[[gateway.upstreams]]\nname = "a"\nurl = "http://a/v1"\nmodels = ["*"]\n',
    ):
        text = f"{TEXT}\n{more}"
        (found,) = changes(site(text), site(text.replace(steps, f'{steps}{{ step = "normalize" }}, ')))
        assert (found.key, found.needs) == ("pipelines.embed", Needs.RESTART)


def test_a_default_that_is_written_out_is_no_change() -> None:
    written = TEXT.replace("[models.embedder]", 'data = "data"\nlisten = "127.0.0.1:8642"\n[models.embedder]')
    assert changes(site(), site(f"# a comment\n{written}")) == []


def test_what_would_lose_data_is_refused_with_every_key() -> None:
    lossy = TEXT.replace("size = 4", "size = 5").replace("[models.embedder]", 'data = "new"\n[models.embedder]')
    found = changes(site(), site(lossy))
    with pytest.raises(SettingError, match=r"site\.toml: `node\.data`: .*; `collections\.frames\.vectors\.size`: "):
        check_changes(found, FILE)
    check_changes(changes(site(), site(TEXT.replace("body_s = 5.0", "body_s = 6.0"))), FILE)


def test_a_spread_collection_keeps_its_layout() -> None:
    mesh = TEXT + '\n[mesh]\nsite = "shop"\n'
    spread = mesh.replace("[pipelines.embed]", 'spread = { model = "m 1" }\n[pipelines.embed]')
    more = mesh.replace("[pipelines.embed]", 'spread = { model = "m 1", shards = 8 }\n[pipelines.embed]')
    for one, other, key in (
        (mesh, spread, "collections.frames.spread"),
        (spread, mesh, "collections.frames.spread"),
        (spread, more, "collections.frames.spread.shards"),
    ):
        assert [(row.key, row.needs) for row in changes(site(one), site(other))] == [(key, Needs.REFUSED)]
