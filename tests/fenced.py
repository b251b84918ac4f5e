"""Code in Markdown."""

import re

__all__ = ["code_blocks", "without_code"]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Language, empty if none is named, and content of each block, in order."""
    return _BLOCK.findall(text)


def without_code(text: str) -> str:
    """The rest, line by line where it was."""
    return _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
