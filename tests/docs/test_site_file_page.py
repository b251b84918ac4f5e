"""`docs/reference/site-file.md` lists every key with its default, and its examples are good site files."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from littoral.node.site import parse_site
from littoral.node.site_schema import keys

PAGE = (Path(__file__).parents[2] / "docs/reference/site-file.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def table(name: str) -> str:
    rows = [
        f"| `{key.name}` | {key.default if key.default in ('', 'required') else f'`{key.default}`'} | {key.meaning} |"
        for key in keys()
        if key.table == name
    ]
    return "\n".join(rows)


@pytest.mark.parametrize("name", [name for name, _ in groupby(keys(), lambda key: key.table)])
def test_every_key_is_listed(name: str) -> None:
    assert table(name) in PAGE, f"expected under `{name}`:\n{table(name)}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_good(example: str) -> None:
    parse_site(example.encode(), Path("site.toml"))
