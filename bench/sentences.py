"""English sentences out of the documentation that packages carry: docstrings, and the descriptions of services."""

import ast
import gzip
import html
import json
import random
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["sentences"]

SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'()/_-]{30,180}\.")
ENDS = re.compile(r"(?<=\.)\s+(?=[A-Z])")
TAGS = re.compile(r"<[^>]+>")
PARAGRAPHS = re.compile(r"\n\s*\n")
SPACES_MIN = 6
DESCRIBED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sentences(wheels: Mapping[str, Path], *, each: int, count: int, seed: int) -> list[tuple[str, str]]:
    """`count` different sentences and their packages, at most `each` of one, in an order that says nothing."""
    chosen = random.Random(seed)
    found: dict[str, str] = {}
    for name in sorted(wheels):
        of_package = list(dict.fromkeys(whole for text in paragraphs(wheels[name]) for whole in cut(text)))
        chosen.shuffle(of_package)
        found |= dict.fromkeys(of_package[:each], name)
    rows = sorted(found.items())
    chosen.shuffle(rows)
    return rows[:count]


def cut(text: str) -> Iterator[str]:
    for part in ENDS.split(" ".join(text.split())):
        if SENTENCE.fullmatch(part) and part.count(" ") >= SPACES_MIN and "--" not in part:
            yield part


def paragraphs(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if "/tests/" in name:
                continue
            if name.endswith(".py"):
                yield from docstrings(archive.read(name))
            elif name.endswith("service-2.json.gz"):
                yield from descriptions(json.loads(gzip.decompress(archive.read(name))))


def docstrings(source: bytes) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, DESCRIBED) and (text := ast.get_docstring(node)):
            yield from PARAGRAPHS.split(text)


def descriptions(service: Any) -> Iterator[str]:
    """Every `documentation` in a description of a service, HTML taken away."""
    if isinstance(service, list):
        for part in service:
            yield from descriptions(part)
    elif isinstance(service, dict):
        for key, value in service.items():
            if key == "documentation" and isinstance(value, str):
                yield html.unescape(TAGS.sub(" ", value))
            else:
                yield from descriptions(value)
