"""The code in `docs/guides/add-an-operator.md` is the repository's own."""

import re

import pytest

from tracked import ROOT

PAGE = (ROOT / "docs/guides/add-an-operator.md").read_text()
QUOTES = re.findall(r"From `([^`]+)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)


def test_everything_quoted_has_a_source() -> None:
    assert len(QUOTES) == PAGE.count("```python") == 5


@pytest.mark.parametrize(("path", "code"), QUOTES, ids=[path for path, _ in QUOTES])
def test_what_is_quoted_is_there(path: str, code: str) -> None:
    assert code in (ROOT / "src/littoral" / path).read_text()
