"""`littoral agent new`, unchanged: it builds to the same bytes anywhere, passes its tests, and serves in a node."""

from pathlib import Path

import numpy as np
import pytest

from command import littoral
from littoral.artifact import digest
from littoral.authoring.build import build_agent
from littoral.authoring.scaffold import new_agent
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from own_agent import BUILD_S_MAX, use_toolchain

pytestmark = pytest.mark.e2e

SITE = """
[node]
listen = "127.0.0.1:0"

[agents.{name}]
path = "{name}.wasm"
config = {{ gain = 2.0 }}

[pipelines.scaled]
steps = [{{ agent = "{name}" }}]
"""


@pytest.fixture(autouse=True)
def toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toolchain(monkeypatch)


def test_a_new_agent_passes_its_own_tests_and_serves(tmp_path: Path) -> None:
    made = littoral("agent", "new", "doubler", folder=tmp_path)
    assert (made.code, made.out.splitlines()[0]) == (0, "doubler  bytes in, bytes out")
    tested = littoral("agent", "test", "doubler", "--json", folder=tmp_path, timeout_s=BUILD_S_MAX)
    assert tested.code == 0, tested.err
    assert "4 passed" in tested.err
    assert tested.json["native"] is True
    assert [(case["name"], case["ok"]) for case in tested.json["cases"]] == [("scales", True), ("too-many", True)]
    checked = littoral("agent", "check", "doubler/doubler.wasm", "--json", folder=tmp_path)
    assert checked.json["sha256"] == tested.json["sha256"]
    assert checked.json["imports"] == ["littoral.log"]
    wrong = littoral("agent", "check", "doubler/doubler.wasm", "--config", '{"gain": "much"}', folder=tmp_path)
    assert (wrong.code, wrong.err) == (5, 'littoral: agent `doubler`: config: `gain` is `"much"`, must be a number\n')


async def test_it_runs_in_a_nodes_pipeline(tmp_path: Path) -> None:
    folder = tmp_path / "doubler"
    new_agent("doubler", folder, takes="bytes", gives="tensors")
    build_agent(folder, tmp_path / "doubler.wasm")
    (tmp_path / "site.toml").write_text(SITE.format(name="doubler"))
    site = read_site(tmp_path / "site.toml")
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            answer = await node.pipelines["scaled"].pipeline.run(b"1 2.5 -3")
    np.testing.assert_array_equal(answer.value["scaled"], np.array([2, 5, -6], np.float32))  # type: ignore[index]


def test_bytes_do_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for folder in (tmp_path / "here", tmp_path / "somewhere/else"):
        new_agent("same", folder, takes="tensors")
        built = build_agent(folder, locked=True)
        assert digest(built.path.read_bytes()) == built.sha256
        assert str(tmp_path).encode() not in built.path.read_bytes()
        digests.add(built.sha256)
    assert len(digests) == 1


def test_what_does_not_compile_is_told(tmp_path: Path) -> None:
    new_agent("broken", tmp_path / "broken")
    source = tmp_path / "broken/src/lib.rs"
    source.write_text(source.read_text().replace("gain: f32", "gain: f99"))
    built = littoral("agent", "build", "broken", folder=tmp_path, timeout_s=BUILD_S_MAX)
    assert built.code == 3
    assert "cannot find type `f99`" in built.err
    assert built.err.endswith("`cargo build` failed with exit code 101\n")
    tested = littoral("agent", "test", "broken", folder=tmp_path, timeout_s=BUILD_S_MAX)
    assert tested.code in (1, 3)


def test_a_case_that_fails_costs_exit_code_1(tmp_path: Path) -> None:
    new_agent("wrong", tmp_path / "wrong")
    case = tmp_path / "wrong/tests/cases/scales.json"
    case.write_text(case.read_text().replace("2.5", "2.6"))
    tested = littoral("agent", "test", "wrong", "--no-native", folder=tmp_path, timeout_s=BUILD_S_MAX)
    assert tested.code == 1
    assert "FAIL  scales" in tested.out
    assert "scales: answer b'2.5\\n-3.5\\n1\\n', expected b'2.6\\n-3.5\\n1\\n'" in tested.err
