"""`docs/reference/image-agent.md` says what the agent's schema says, and its examples are good configurations."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent_host import AgentHost, AgentRefusalError

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "src/littoral/runtime/builtin/image.wasm"
PAGE = (ROOT / "docs/reference/image-agent.md").read_text()
ABI_PAGE = (ROOT / "docs/reference/agent-abi.md").read_text()
SCHEMA = json.loads((ROOT / "guests/image/manifest.json").read_text())["config"]


def values(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "oneOf" in rule:
        return f"{values(rule['oneOf'][0])}, or three"
    kinds = {
        "boolean": "`true`, `false`",
        "string": "text of {minLength}…{maxLength} bytes",
        "integer": "{minimum} … {maximum}",
        "number": "number",
    }
    return kinds[rule["type"]].format(**rule)


def test_the_table_of_the_configuration_is_the_schema() -> None:
    rows = [
        f"| `{key}` | {values(rule)} | `{json.dumps(rule['default'])}` | {rule['description']} |"
        for key, rule in SCHEMA["properties"].items()
    ]
    assert "\n".join(rows) in PAGE, "expected:\n" + "\n".join(rows)


def test_the_example_of_a_site_file_starts() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (agent,) = tomllib.loads(block)["agents"].values()
    assert agent["path"] == "builtin:image"
    assert AgentHost(IMAGE, agent["config"]).describe()["output"][0]["shape"] == [1, 3, 224, 224]


def test_the_preprocessing_of_known_models_starts() -> None:
    found = re.findall(r"^\| .* \| `((?:width|fit) = .*)` \|$", PAGE, re.MULTILINE)
    assert len(found) == 4
    for text in found:
        AgentHost(IMAGE, tomllib.loads(f"config = {{ {text} }}")["config"])


def test_the_texts_of_the_errors_are_real() -> None:
    with pytest.raises(AgentRefusalError) as caught:
        AgentHost(IMAGE, {"widht": 1})
    assert f"| −4 | the configuration is wrong | ``{caught.value.text}`` |" in PAGE
    with pytest.raises(AgentRefusalError) as caught:
        AgentHost(IMAGE, {}).infer(b"RIFF\0\0\0\0WEBP")
    assert f"`{caught.value.text}`" in PAGE


def test_the_error_numbers_are_those_of_the_sdk() -> None:
    source = (ROOT / "guests/sdk/src/error.rs").read_text()
    numbers = dict(re.findall(r"pub const (\w+): u16 = (\d+);", source))
    assert len(numbers) == 8
    for name, number in numbers.items():
        assert re.search(rf"^\| −{number}[ |…].*`{name}`: ", ABI_PAGE, re.MULTILINE), name


def test_the_example_in_rust_is_the_one_that_cargo_tests() -> None:
    (block,) = re.findall(r"```rust\n(.*?)```", ABI_PAGE, re.DOTALL)
    source = (ROOT / "guests/sdk/src/lib.rs").read_text()
    (tested,) = re.findall(r"//! ```\n(.*?)//! ```", source, re.DOTALL)
    example, _, end = re.sub(r"^//! ?", "", tested, flags=re.MULTILINE).partition("littoral_sdk::agent!")
    assert block.partition("littoral_sdk::agent!")[0] == example
    assert end.startswith(" { Repeat, manifest: ")
