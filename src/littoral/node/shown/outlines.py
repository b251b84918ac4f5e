"""What a page shows before any script has run: its title, its place in the bar, and its panels, still empty."""

from collections.abc import Mapping
from html import escape

__all__ = ["PAGES", "outlined"]

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
    "logs": {"logs": "Logs"},
    "audit": {"audit": "Audit", "entries": "Entries"},
    "doctor": {"doctor": "Doctor"},
}
"""Below `/pages`, in the order of the navigation: titles of panels by their ids."""

AREA = '<div id="page" class="page">'
TITLE = "<title>Littoral</title>"


def outlined(page: str, name: str) -> str:
    """page: the text that all pages have in common."""
    link = f'href="/pages/{name}">'
    title = page.partition(link)[2].partition("<")[0]
    panels = "".join(_panel(panel, text) for panel, text in PAGES[name].items())
    return (
        page.replace(TITLE, f"<title>{title} · Littoral</title>")
        .replace(link, f'href="/pages/{name}" aria-current="page">')
        .replace(AREA, AREA + panels)
    )


def _panel(panel: str, text: str) -> str:
    return (
        f'<section id="{panel}" class="panel" aria-labelledby="{panel}-title">'
        f'<header><h2 id="{panel}-title">{escape(text)}</h2></header><div class="waiting"></div></section>'
    )
