"""What a site file says of where steps run: refused at the start where it could never be kept."""

import re
from pathlib import Path

import pytest

from littoral.errors import SettingError
from littoral.node.site import Site, parse_site

TEXT = """
[node]
name = "a"
[mesh]
site = "shop"
peers = { b = "127.0.0.1:1", hub = "127.0.0.1:2" }
orchestrator = "hub"
[placement]
[models.embedder]
path = "embedder.wasm"
[agents.decode]
path = "builtin:image"
[collections.frames]
vectors = { size = 5, distance = "Cosine" }
[collections.wide]
vectors = { size = 5, distance = "Cosine" }
spread = { shards = 2 }
[pipelines.p]
steps = [{ agent = "decode" }, { model = "embedder", STEP }, { step = "normalize" }, { search = "frames" }]
"""


def site(step: str, before: str = "", after: str = "") -> Site:
    """before, after: another change of the text."""
    text = TEXT.replace("STEP", step)
    assert before in text
    return parse_site(text.replace(before, after).encode(), Path("site.toml"))


GOOD = [
    'place = "auto"',
    'place = "here", residency = "node"',
    'place = "auto", residency = "node"',
    'place = "node:a", residency = "node"',
    'place = "node:b", residency = "region:north"',
    'place = "node:hub", residency = "any"',
]


@pytest.mark.parametrize("step", GOOD)
def test_what_can_be_kept_is_taken(step: str) -> None:
    assert site(step).placement is not None


BAD = {
    "another place": ('place = "there"', r"place` is `there`, must be `here`, `auto` or `node:NAME`"),
    "another residency": ('residency = "shop"', r"must be `node`, `region:NAME`, `site` or `any`"),
    "a region without a name": ('residency = "region:"', r"must be `node`, `region:NAME`, `site` or `any`"),
    "a stranger": ('place = "node:bb"', r"must be `node:` and a name of `mesh.peers` · hint: did you mean `b`\?"),
    "a node that may not have the data": (
        'place = "node:b", residency = "node"',
        r"place`: is `node:b`, and by `residency` its data stay on this node",
    ),
    "outside, by default": (
        'place = "node:hub"',
        r"by `residency` its data stay in the site · hint: say `residency = \"any\"`",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_kept_is_refused(what: str) -> None:
    step, message = BAD[what]
    with pytest.raises(SettingError, match=message) as raised:
        site(step)
    assert str(raised.value).startswith("site.toml: `pipelines.p.steps[1]")


def test_only_models_and_agents_run_elsewhere() -> None:
    with pytest.raises(SettingError, match=re.escape("`pipelines.p.steps[2].place`: a step of a model or an agent")):
        site('take = "y"', '{ step = "normalize" }', '{ step = "normalize", place = "auto" }')


def test_a_search_of_a_spread_collection_takes_its_vector_to_other_nodes() -> None:
    asked = '{ search = "wide", residency = "node" }'
    with pytest.raises(SettingError, match="collection `wide` is spread over the site: the vector goes to other nodes"):
        site('take = "y"', '{ search = "frames" }', asked)
    assert site('take = "y"', '{ search = "frames" }', '{ search = "frames", residency = "node" }')


def test_steps_for_each_item_are_checked_too() -> None:
    with pytest.raises(SettingError, match=re.escape("steps[2].for_each[0].place` is `node:c`")):
        site('take = "y"', '{ step = "normalize" }', '{ for_each = [{ model = "embedder", place = "node:c" }] }')


def test_the_tables_must_be_there() -> None:
    with pytest.raises(SettingError, match=r"place`: needs the tables `mesh` and `placement`"):
        site('place = "auto"', "[placement]\n", "")
    with pytest.raises(SettingError, match=r"`mesh.orchestrator` is `nobody`, must be one of `mesh.peers`"):
        site('place = "auto"', 'orchestrator = "hub"', 'orchestrator = "nobody"')
    with pytest.raises(SettingError, match=r"`placement.fallback`: needs the table `updates`"):
        parse_site(b"[placement]\nfallback = true", Path("site.toml"))
    assert parse_site(b"[placement]", Path("site.toml")).placement is not None, "it does steps of others"


def test_without_a_mesh_steps_go_to_the_fleet_or_stay() -> None:
    text = TEXT.replace(TEXT[TEXT.index("[mesh]") : TEXT.index("[placement]")], "")
    assert "[mesh]" not in text

    def alone(step: str, placement: str = "fallback = true\n[updates]\ntrust = 'fleet.json'") -> Site:
        changed = text.replace("[placement]", f"[placement]\n{placement}").replace("STEP", step)
        spread = '[collections.wide]\nvectors = { size = 5, distance = "Cosine" }\nspread = { shards = 2 }\n'
        return parse_site(changed.replace(spread, "").encode(), Path("site.toml"))

    assert alone('place = "auto", residency = "any"').mesh is None
    with pytest.raises(SettingError, match=r"or `placement.fallback`"):
        alone('place = "auto"', "")
    with pytest.raises(SettingError, match=r"names another node, and there is no table `mesh`"):
        alone('place = "node:b"')
