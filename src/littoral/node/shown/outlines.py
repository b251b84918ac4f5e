"""What a page shows before any script has run: its title, its place in the bar, and its panels, still empty."""

import re
from collections.abc import Mapping

from littoral.web.page_frames import outlined as page_outlined

__all__ = ["PAGES", "outlined", "without"]

PAGES: Mapping[str, Mapping[str, str]] = {
    "pipelines": {"pipelines": "Pipelines", "tried": "Try it"},
    "models": {
        "models": "Models",
        "versions": "Side by side",
        "examined": "What is in a file?",
        "builds": "Make a version",
    },
    "collections": {
        "collections": "Collections",
        "points": "Points",
        "find": "Search",
        "map": "Map of points",
        "recall": "Recall against exact",
    },
    "agents": {"agents": "Agents"},
    "caches": {"caches": "Caches"},
    "mqtt": {"mqtt": "MQTT"},
    "gateway": {
        "gateway": "Gateway",
        "errors": "Wrong answers",
        "upstreams": "Services",
        "budgets": "Budgets",
        "rules": "Never told again",
        "explain": "Try a question",
        "misses": "Near misses",
        "answers": "Remembered answers",
    },
    "logs": {"logs": "Logs"},
    "audit": {"audit": "Audit", "entries": "Entries"},
    "doctor": {"doctor": "Doctor"},
}
"""Below `/pages`, in the order of the navigation: titles of panels by their ids."""

CHARTED = frozenset({"gateway"})
"""Those that draw with uPlot."""

CHARTS = """  <link rel="stylesheet" href="/assets/vendor/uplot/uPlot.min.css">
  <script src="/assets/vendor/uplot/uPlot.iife.min.js" defer></script>
"""
MODULES = '  <link rel="modulepreload"'


def outlined(page: str, name: str) -> str:
    """page: the text that all pages have in common."""
    text = page_outlined(page, f"/pages/{name}", PAGES[name])
    return text.replace(MODULES, CHARTS + MODULES, 1) if name in CHARTED else text


def without(page: str, name: str) -> str:
    """The text of a page whose bar does not lead to the page `name`."""
    return re.sub(rf'\n *<a href="/pages/{name}">[^<]*</a>', "", page)
