"""`docs/reference/text-agent.md` says what the agent's schema says, and its example is a good configuration."""

import json
import re
import tomllib
from typing import Any

from littoral.node.site import parse_site
from tracked import ROOT

PAGE = (ROOT / "docs/reference/text-agent.md").read_text()
MANIFEST = json.loads((ROOT / "guests/text/manifest.json").read_text())


def values(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    kinds = {"boolean": "`true`, `false`", "integer": "{minimum} … {maximum}"}
    return kinds[rule["type"]].format(**rule)


def test_the_table_of_the_configuration_is_the_schema() -> None:
    rows = [
        f"| `{key}` | {values(rule)} | `{json.dumps(rule['default'])}` | {rule['description']} |"
        for key, rule in MANIFEST["config"]["properties"].items()
    ]
    assert "\n".join(rows) in PAGE, "expected:\n" + "\n".join(rows)


def test_the_example_is_a_good_site_file() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    agent = parse_site(block.encode(), ROOT / "site.toml").agents["words"]
    assert agent.path == "builtin:text"
    assert agent.config.keys() <= MANIFEST["config"]["properties"].keys()
    assert agent.files == {"tokenizer": "tokenizer.json"}


def test_the_guide_serves_what_it_builds() -> None:
    guide = (ROOT / "docs/guides/text-embeddings.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    site = parse_site(block.encode(), ROOT / "site.toml")
    lengths = [int(length) for length in re.findall(r"--variant input_ids=1,(\d+)", guide.partition("```toml")[0])]
    assert site.agents["words"].config["max_tokens"] <= max(lengths)
    assert tomllib.loads(block)["collections"]["notes"]["vectors"]["size"] == 384


def test_caches_of_the_page_are_a_good_table() -> None:
    page = (ROOT / "docs/reference/caches.md").read_text()
    block, *_ = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert parse_site(block.encode(), ROOT / "site.toml").cache.near_mb == 64
