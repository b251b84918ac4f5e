"""Tuning tables: read with clear errors, looked up exactly or by neighbours, and no choice changes a result."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import littoral
from littoral.artifact import digest
from littoral.cli.model_source import random_feeds
from littoral.compiler.driver import Planned, compile_model, planned, retuned, written
from littoral.compiler.plan import RULES, Tuning, open_tuning
from littoral.compiler.plan import tuning as tuning_module
from littoral.compiler.plan.choice import RULE, Choice
from littoral.compiler.plan.problem import Problem
from littoral.compiler.plan.tuning import NEAR_MAX, Entry
from littoral.errors import InputError, NotFoundError
from littoral.quality.candidates import GAIN_MIN, STAGES, gain_min
from littoral.quality.tune import SHORT_MS, measured_machine, tune
from model_host import run_bare
from onnx_models import NETWORKS

PACKAGED = Path(tuning_module.__file__).with_name("x86_64.json")
DENSE = Problem("dense", 196, 384, 64)
DEPTHWISE = Problem("depthwise", 784, 9, 96, "short", 1, 28)
WIDE = Choice(tile_rows=2, panel=16, unroll=4)


def table(*entries: Entry) -> Tuning:
    return msgspec.structs.replace(RULES, entries=entries)


def problems_of(found: Planned) -> list[Problem]:
    problems = [call.lowered.problem for call in found.layouts[0].program.layers()]
    return [p for p in problems if p is not None]


def as_json(tuning: Tuning) -> Any:
    return json.loads(tuning.encode())


def test_a_table_is_the_same_by_path_dictionary_and_value(tmp_path: Path) -> None:
    given = table(Entry(DENSE, WIDE, 1.07), Entry(DEPTHWISE, Choice(group=6, by_columns=True)))
    path = tmp_path / "t.json"
    path.write_bytes(given.encode())
    for source in (path, str(path), as_json(given), given):
        found = open_tuning(source)
        assert found == given
        assert found.sha256 == given.sha256 == digest(path.read_bytes())
    assert open_tuning(RULES).sha256 is None


def test_the_packaged_table_is_the_default() -> None:
    assert open_tuning(None) is open_tuning(None)
    packaged = open_tuning(None)
    assert open_tuning(as_json(packaged)) == packaged
    assert PACKAGED.read_bytes() == packaged.encode()
    assert len({entry.problem.kind for entry in packaged.entries}) == 5
    assert all(entry.gain >= gain_min(RULE, entry.choice) for entry in packaged.entries if entry.choice != RULE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"expected 1 - at `\$.format`|Invalid enum value 2"),
        ({"machine": None}, r"Expected `object`, got `null` - at `\$.machine`"),
        ({"entries": [{"problem": {"kind": "dense"}, "choice": {}}]}, r"`rows` - at `\$.entries\[0\].problem`"),
        ({"colour": 1}, "unknown field `colour`"),
    ],
)
def test_a_wrong_table_says_where(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    wrong = as_json(table()) | change
    path = tmp_path / "t.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(InputError, match=message) as caught:
        open_tuning(path)
    assert f"`{path}`" in caught.value.message
    assert caught.value.hint
    with pytest.raises(InputError, match=message):
        open_tuning(wrong)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("panel", 6, r"multiple of 4 - at `\$.entries\[0\].choice.panel`"),
        ("unroll", 0, r">= 1 - at `\$.entries\[0\].choice.unroll`"),
        ("budget_bytes", 1 << 40, r"<= 1048576 - at `\$.entries\[0\].choice.budget_bytes`"),
        ("tile", 4, r"unknown field `tile` - at `\$.entries\[0\].choice`"),
        ("tile_rows", 8, r"tile_rows × panel is 128, at most 64"),
    ],
)
def test_a_wrong_choice_says_where(key: str, value: int, message: str) -> None:
    wrong = as_json(table(Entry(DENSE, Choice(panel=16, tile_rows=2))))
    wrong["entries"][0]["choice"][key] = value
    with pytest.raises(InputError, match=message):
        open_tuning(wrong)


def test_a_problem_is_there_once(tmp_path: Path) -> None:
    twice = as_json(table(Entry(DENSE, WIDE)))
    twice["entries"] *= 2
    with pytest.raises(InputError, match=r"`entries\[1\].problem` is there twice"):
        open_tuning(twice)
    with pytest.raises(NotFoundError, match="No such file"):
        open_tuning(tmp_path / "missing.json")
    (tmp_path / "cut.json").write_bytes(table().encode()[:-4])
    with pytest.raises(InputError, match="truncated"):
        open_tuning(tmp_path / "cut.json")


def test_the_nearest_problem_decides_if_it_is_near_enough() -> None:
    other = Choice(unroll=4)
    tuning = table(Entry(DENSE, WIDE), Entry(Problem("dense", 784, 384, 64), other))
    assert tuning.choice(DENSE) == WIDE
    assert tuning.choice(Problem("dense", 256, 384, 64)) == WIDE
    assert tuning.choice(Problem("dense", 600, 384, 64)) == other
    assert tuning.choice(Problem("dense", 256, 384, 64, "long")) == WIDE
    assert tuning.choice(Problem("dense", 196, 384 * NEAR_MAX, 64)) == RULE
    assert tuning.choice(Problem("batched", 196, 384, 64)) == RULE
    assert tuning.choice(Problem("dense", 196, 384, 60)) == RULE  # 12 columns would be left
    assert tuning.choice(Problem("dense", 196, 384, 100)) == WIDE


def test_a_depthwise_choice_is_for_its_window() -> None:
    choice = Choice(group=5)
    tuning = table(Entry(DEPTHWISE, choice))
    assert tuning.choice(msgspec.structs.replace(DEPTHWISE, width=120)) == choice
    assert tuning.choice(msgspec.structs.replace(DEPTHWISE, stride=2)) == RULE
    assert tuning.choice(msgspec.structs.replace(DEPTHWISE, depth=25)) == RULE


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "choice",
    [
        Choice(tile_rows=2, panel=16, unroll=8, group=5, by_columns=True),
        Choice(tile_rows=3, panel=12, unroll=3, budget_bytes=1024, part_bytes=1 << 14, group=3, by_columns=False),
    ],
)
def test_no_choice_changes_a_result(name: str, choice: Choice) -> None:
    found = planned(NETWORKS[name](), tuning=RULES)
    tuning = table(*(Entry(p, choice) for p in dict.fromkeys(problems_of(found))))
    by_rule, tuned = written(found), written(retuned(found, tuning))
    assert (by_rule.manifest.tuning_sha256, tuned.manifest.tuning_sha256) == (None, tuning.sha256)
    feeds = random_feeds(by_rule, seed=2)
    want = run_bare(by_rule.wasm, feeds)
    assert all(np.array_equal(array, want[key]) for key, array in run_bare(tuned.wasm, feeds).items())


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    source = NETWORKS["residual"]()
    found = planned(source, tuning=RULES)
    tuning = table(*(Entry(p, WIDE) for p in dict.fromkeys(problems_of(found))))
    path = tmp_path / "t.json"
    path.write_text(json.dumps(as_json(tuning), indent=4))
    assert littoral.compile(source, tuning=path) == compile_model(source, tuning=tuning)
    assert compile_model(source, tuning=tuning) != compile_model(source, tuning=RULES)
    assert compile_model(source) == compile_model(source, tuning=as_json(open_tuning(None)))


def test_candidates_differ_from_what_is_there_and_from_each_other() -> None:
    for problem in (DENSE, DEPTHWISE, Problem("window 3x3", 196, 9 * 256, 256), Problem("batched", 197, 64, 197)):
        for stage in STAGES:
            candidates = stage.candidates(problem, RULE)
            assert RULE not in candidates
            assert len(set(candidates)) == len(candidates)
    assert gain_min(RULE, WIDE) == GAIN_MIN < gain_min(RULE, Choice(winograd=True))


def test_a_search_gives_each_problem_of_the_model_once() -> None:
    found = planned(NETWORKS["squeeze_excite"](), tuning=RULES)
    feeds = random_feeds(written(found), seed=1)
    told: list[str] = []
    tuned = tune(found, feeds, budget_s=0.01, progress=lambda stage, _done, _total: told.append(stage))
    problems = [t.problem for t in tuned]
    assert len(set(problems)) == len(problems)
    assert set(problems) <= set(problems_of(found))
    assert all(t.rule_ms >= SHORT_MS and t.gain >= 1 for t in tuned)
    assert any(stage.startswith("confirm") for stage in told)
    known = table(*(Entry(p, RULE) for p in dict.fromkeys(problems_of(found))))
    assert tune(found, feeds, known=known, budget_s=0.01) == []


def test_the_machine_of_a_table_is_this_one() -> None:
    machine = measured_machine()
    assert machine.cpu
    assert machine.engine.startswith("wasmtime ")
    assert machine.limit_gflops > 0.1
