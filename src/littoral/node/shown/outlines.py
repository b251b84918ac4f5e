"""What a page shows before any script has run: its title, its place in the bar, and its panels, still empty."""

from collections.abc import Mapping

from littoral.web.page_frames import outlined as page_outlined

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


def outlined(page: str, name: str) -> str:
    """page: the text that all pages have in common."""
    return page_outlined(page, f"/pages/{name}", PAGES[name])
