"""`docs/reference/orchestrator-file.md` and `fleet-api.md`: every key, route and metric, as the code has them."""

import re
import typing
from pathlib import Path

import msgspec
import pytest

from littoral.orchestrator.file import TABLES, parse_file
from littoral.orchestrator.metrics import FLEET_METRICS
from littoral.orchestrator.rights import RIGHTS, Role

DOCS = Path(__file__).parents[2] / "docs/reference"
FILE, API = (DOCS / "orchestrator-file.md").read_text(), (DOCS / "fleet-api.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", FILE, re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_listed(name: str) -> None:
    section = FILE.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
    hints = typing.get_type_hints(TABLES[name], include_extras=True)
    for field in msgspec.structs.fields(TABLES[name]):
        found = [meta.description for meta in getattr(hints[field.name], "__metadata__", ()) if meta.description]
        meaning = found[-1] if found else ""
        assert re.search(rf"^\| `{field.name}` \| .* \| {re.escape(meaning)} \|$", section, re.MULTILINE), field.name
    assert section.count("\n| `") == len(msgspec.structs.fields(TABLES[name]))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_good(example: str) -> None:
    parse_file(example.encode(), Path("orchestrator.toml"))


def test_every_route_is_listed_with_its_role() -> None:
    order = list(Role)
    for route, needed in RIGHTS.http.items():
        lowest = needed if isinstance(needed, str) else f"`{min(map(Role, needed), key=order.index)}`"
        assert f"| `{route}` | {lowest} | " in API, route
    rows = re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) [^`]*)` \|", API, re.MULTILINE)
    assert sorted(rows) == sorted(RIGHTS.http)


def test_every_metric_is_listed() -> None:
    for spec in FLEET_METRICS.values():
        assert f"| `{spec.name}` | {spec.kind.removeprefix('read_')} | " in API
