"""`bench/RESULTS.md`: a section for each benchmark, made from what it gave."""

from pathlib import Path
from typing import TypedDict

from bench.rows import Row

__all__ = ["RESULTS", "Result", "written"]

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Written by `make bench` (`python -m bench --all --write`); do not edit. Limits are asserted there, not by the tests.
`load` is the machine's before a benchmark began: above 0.5, other work shared it. Ratio: ours divided by the peer's,
from the same run. Where the unit is a speed, more is better. Under `layers` the peer is the machine's own limit (a loop
of strict float32 multiplications and additions on registers), and the ratio the share of it that is reached.
"""
COLUMNS = "| what | value | unit | peer | its value | ratio | limit |\n|---|---:|---|---|---:|---:|---:|"


class Result(TypedDict):
    """What one benchmark gave, where and when."""

    name: str
    date: str
    machine: dict[str, str | float]
    rows: list[Row]


def written(before: str, result: Result) -> str:
    """The page with this result's section in the place of its older one; sections are in the order of their names."""
    sections = dict(_sections(before))
    sections[result["name"]] = section(result)
    return "\n".join([HEAD, *(sections[name] for name in sorted(sections))])


def _sections(page: str) -> list[tuple[str, str]]:
    parts = page.split("\n## ")[1:]
    return [(part.partition("\n")[0], f"## {part.rstrip()}\n") for part in parts]


def section(result: Result) -> str:
    lines = [f"## {result['name']}", "", about(result), "", COLUMNS, *(line(row) for row in result["rows"]), ""]
    return "\n".join(lines)


def about(result: Result) -> str:
    machine = result["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']} before, Linux {machine['kernel']}"
    return f"{result['date'][:16]}Z · {where} · Python {machine['python']}, Wasmtime {machine['wasmtime']}"


def line(row: Row) -> str:
    limit = "" if row["limit"] is None else f"{figure(row['limit'])}{'' if row['ok'] else ' **missed**'}"
    peer = (row["peer"] or "", figure(row["peer_value"]), figure(row["ratio"]))
    return "| " + " | ".join((row["key"], figure(row["value"]), row["unit"], *peer, limit)) + " |"


def figure(value: float | None) -> str:
    """Three digits that count; thousands apart."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
