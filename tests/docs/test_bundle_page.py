"""`docs/reference/bundle.md` and the guides in bundles name every target, route, binding and metric."""

import re
from importlib import resources
from pathlib import Path

from littoral.bundle.targets import TARGETS
from littoral.bundle.workers import BINDINGS, SIZES_MAX

PAGE = (Path(__file__).parents[2] / "docs/reference/bundle.md").read_text()
PACKAGE = resources.files("littoral.bundle")


def source(name: str) -> str:
    return (PACKAGE / "js" / name).read_text(encoding="utf-8")


def test_every_target_has_its_row() -> None:
    assert [name for name, target in TARGETS.items() if f"| `{name}` | {target.about} |" not in PAGE] == []


def test_every_route_is_described() -> None:
    routes = re.findall(r'^    "(/\w+)": \{(.*)\},$', source("service.mjs"), re.MULTILINE)
    wanted = [f"`{method} {path}`" for path, methods in routes for method in re.findall(r"([A-Z]+):", methods)]
    assert len(wanted) >= 6
    assert [route for route in wanted if route not in PAGE] == []


def test_every_binding_is_read_and_in_the_guide() -> None:
    guide, settings = (PACKAGE / "texts" / "bindings.md").read_text(encoding="utf-8"), source("settings.mjs")
    for name in (*BINDINGS, "EMBEDDINGS"):
        assert f"`{name}`" in guide
        assert re.search(rf"\b{name}\b", settings)


def test_every_metric_is_named() -> None:
    families = re.findall(r'^  (\w+): \["(?:counter|gauge|histogram)"', source("metrics.mjs"), re.MULTILINE)
    assert len(families) == 10
    assert [name for name in families if f"`{name}`" not in PAGE] == []


def test_every_limit_is_told() -> None:
    told = {f"{most:_}".replace("_", " ") for most in SIZES_MAX.values()}
    assert [size for size in told if size not in PAGE] == []
