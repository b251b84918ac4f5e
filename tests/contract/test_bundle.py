"""`littoral bundle`: which pipelines can leave a node, what is written, and what `--check` finds."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
import wasmtime

from command import littoral as cli
from littoral.artifact import digest
from littoral.bundle.link import linked
from littoral.bundle.memory_image import memory_image
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.targets import TARGETS
from littoral.bundle.workers import plan_workers
from littoral.bundle.writing import differences, manifest, write
from littoral.errors import ArtifactError, ConflictError, InputError, LittoralError
from littoral.node.site import read_site
from site_folder import TEXT, site_folder

SOURCES = resources.files("littoral.bundle") / "js"
STEPS = '[{ agent = "decode" }, { model = "embedder" }, { step = "normalize" }, { search = "frames", limit = 3 }]'


def with_steps(folder: Path, steps: str, more: str = "") -> Path:
    return site_folder(folder, TEXT.replace(STEPS, steps) + more)


# --- what can leave a node ---


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ('[{ agent = "decode", from = "input" }, { model = "embedder" }]', "has `from` in step 1"),
        ('[{ agent = "decode" }, { for_each = [{ model = "embedder" }] }]', "has `for_each` in step 2"),
        ('[{ agent = "decode" }, { model = "embedder" }, { upsert = "frames" }]', "has `upsert` in step 3"),
        ('[{ search = "frames" }]', "begins with a search"),
        ('[{ step = "normalize" }]', "begins with the step `normalize`"),
        (
            '[{ agent = "decode" }, { model = "embedder" }, { step = "nms", layout = "rows" }]',
            "the step `nms` in step 3",
        ),
    ],
)
def test_what_only_a_node_can_do_is_refused(tmp_path: Path, steps: str, message: str) -> None:
    site = read_site(with_steps(tmp_path, steps))
    with pytest.raises(InputError, match=re.escape(message)):
        plan_workers(read_recipe(site, "similar"), Options())


def test_a_search_of_a_vector_with_a_name_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("[collections.frames]", '[collections.frames]\nnamed.side = { size = 5, distance = "Cosine" }')
    text = text.replace('search = "frames"', 'search = "frames", using = "side"')
    with pytest.raises(InputError, match="has `using` in step 4"):
        read_recipe(read_site(site_folder(tmp_path, text)), "similar")


def test_an_unknown_pipeline_is_refused_with_those_there_are(tmp_path: Path) -> None:
    site = read_site(site_folder(tmp_path))
    with pytest.raises(LittoralError, match="pipeline `near` is unknown, known: `embed`, `similar`"):
        read_recipe(site, "near")


def test_a_step_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("width = 32", "width = 40")
    with pytest.raises(LittoralError, match=r"step `decode` gives `image`.*, step `embedder` takes"):
        plan_workers(read_recipe(read_site(site_folder(tmp_path, text)), "similar"), Options())
    text = TEXT.replace("size = 5", "size = 6")
    with pytest.raises(LittoralError, match="step `search` takes"):
        plan_workers(read_recipe(read_site(site_folder(tmp_path, text)), "similar"), Options())


# --- what is written ---


def test_the_same_pipeline_gives_the_same_bytes(tmp_path: Path) -> None:
    plans = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        plans.append(plan_workers(read_recipe(read_site(site_folder(tmp_path / name)), "similar"), Options()))
    assert plans[0] == plans[1]
    assert str(tmp_path).encode() not in b"".join(plans[0].files.values())


def test_a_pipeline_without_a_search_is_bundled_too(tmp_path: Path) -> None:
    plan = plan_workers(read_recipe(read_site(site_folder(tmp_path)), "embed"), Options())
    assert b'"search": null' in plan.files["worker.mjs"]


def test_the_module_imports_the_two_it_comes_with_and_nothing_else(tmp_path: Path) -> None:
    plan = plan_workers(read_recipe(read_site(site_folder(tmp_path)), "similar"), Options())
    imports = re.findall(r'^import [^;]* from "(.+?)";', plan.files["worker.mjs"].decode(), re.MULTILINE)
    assert imports == ["./agent.wasm", "./model.wasm"]


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "device"])
def test_a_folder_is_written_as_a_whole_and_held_against_its_plan(tmp_path: Path, target: str) -> None:
    recipe = read_recipe(read_site(site_folder(tmp_path)), "similar")
    plan, out = TARGETS[target].plan(recipe, Options()), tmp_path / "out"
    files = {**plan.files, "bundle.json": manifest(plan, pipeline="similar", target=target)}
    write(files, out)
    write(files, out)
    told = json.loads((out / "bundle.json").read_text())
    assert (told["name"], told["target"]) == ("similar", target)
    assert [limit["what"] for limit in told["limits"]] == [finding.what for finding in plan.findings]
    assert told["files"] == {
        path.relative_to(out).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path.read_bytes())}
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "bundle.json"
    }
    assert all(finding.is_kept for finding in plan.findings if finding.is_bound)
    assert differences(files, out) == []
    name = next(iter(told["files"]))
    (out / name).write_bytes(b"other")
    (out / "stray.txt").write_text("")
    assert differences(files, out) == sorted([name, "stray.txt"])


def test_the_command_writes_reports_and_checks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("bundle", site_folder(tmp_path), "--pipeline", "similar", "--for", "workers", "--out", out, "--json")
    done = cli(*asked)
    assert done.code == 0, done.err
    assert done.json["files"].keys() == {path.name for path in out.iterdir()}
    assert cli(*asked, "--check").code == 0
    (out / "worker.mjs").write_text("other")
    checked = cli(*asked, "--check")
    assert (checked.code, checked.json["differs"]) == (1, ["worker.mjs"])


def test_over_a_limit_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--pipeline", "similar", "--for", "workers", "--out", out, "--size-mb", "0.01")
    done = cli("bundle", site_folder(tmp_path), *asked)
    assert done.code == 1
    assert "packed, `--size-mb`" in done.out
    assert "OVER" in done.out
    assert not out.exists()


def test_an_unknown_target_is_named(tmp_path: Path) -> None:
    done = cli("bundle", site_folder(tmp_path), "--pipeline", "similar", "--for", "moon")
    assert done.code == 4
    assert "`--for` is `moon`, must be one of workers, node, browser" in done.err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConflictError, match="is no bundle and not empty"):
        write({"bundle.json": b"{}"}, tmp_path)
    assert differences({"mine.txt": b"mine"}, tmp_path) == []


# --- parts ---


def test_sources_declare_no_name_twice_and_import_what_is_there() -> None:
    for entry in SOURCES.iterdir():
        if entry.name.endswith("_entry.mjs"):
            text = linked(entry.name, {"recipe.mjs": "const RECIPE = {};\n", "files.mjs": ""})
            assert not re.search(r'^import \{.*"\./\w+\.mjs"', text, re.MULTILINE)
    modules = {"a.mjs": 'import { b } from "./b.mjs";\nconst c = b;\n', "b.mjs": "export const b = 1;\nconst c = 2;\n"}
    with pytest.raises(ValueError, match="`c` is declared in `b.mjs` and in `a.mjs`"):
        linked("a.mjs", {}, modules.__getitem__)


def test_modules_are_joined_in_the_order_of_their_imports() -> None:
    modules = {
        "a.mjs": 'import x from "./x.wasm";\nimport { b } from "./b.mjs";\n\nexport const a = b + x;\n',
        "b.mjs": 'import {\n  c,\n} from "./c.mjs";\n\nexport const b = c;\n',
        "c.mjs": "export const c = 1;\n",
    }
    joined = 'import x from "./x.wasm";\n\nconst c = 1;\n\nconst b = c;\n\nexport const a = b + x;\n'
    assert linked("a.mjs", {}, modules.__getitem__) == joined


def test_what_a_file_puts_into_memory_is_read_from_it() -> None:
    text = '(module (memory (export "memory") 2) (data (i32.const 70000) "abc") (data (i32.const 16) "x\\ff"))'
    start, data = memory_image(bytes(wasmtime.wat2wasm(text)))
    assert (start, len(data), data[:3], data[-3:]) == (16, 69987, b"x\xff\0", b"abc")
    assert memory_image(bytes(wasmtime.wat2wasm("(module)"))) == (0, b"")
    for placed in ('(data "passive")', "(data (offset (i32.add (i32.const 1) (i32.const 2))))"):
        with pytest.raises(ArtifactError, match="no constant address"):
            memory_image(bytes(wasmtime.wat2wasm(f"(module (memory 1) {placed})")))
