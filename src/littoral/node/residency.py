"""How far the data of a step may go, and where a step is wanted: words of a site file, and what they allow. Pure."""

from typing import Literal, NamedTuple

__all__ = ["Residency", "Standing", "Wish", "parse_residency", "parse_wish"]

Standing = Literal["here", "site", "orchestrator"]
"""What a node is to the one whose pipeline it is: itself, one of its site, or the orchestrator's, which is outside."""


class Wish(NamedTuple):
    """Where a step is wanted. pinned: a node by name; None and `is_auto`: wherever it is done first; else here."""

    is_auto: bool = False
    pinned: str | None = None

    @property
    def is_here(self) -> bool:
        return not self.is_auto and self.pinned is None


class Residency(NamedTuple):
    """Who may be given the data. region: only nodes of it. reach: `node`, `site` or `any`."""

    reach: Literal["node", "site", "any"] = "site"
    region: str | None = None

    def refusal(self, standing: Standing, region: str) -> str | None:
        """Why a node may not have the data; None = it may. region: as the roster has it; empty = unknown."""
        if standing == "here":
            return None
        if self.reach == "node":
            return "its data stay on this node"
        if self.reach == "site" and standing != "site":
            return "its data stay in the site"
        if self.region is not None and region != self.region:
            return f"its data stay in region `{self.region}`"
        return None


def parse_wish(text: str) -> Wish:
    """Of a text that matches `PLACE_PATTERN`."""
    if text.startswith("node:"):
        return Wish(pinned=text.removeprefix("node:"))
    return Wish(is_auto=text == "auto")


def parse_residency(text: str) -> Residency:
    """Of a text that matches `RESIDENCY_PATTERN`. A region is one of the site's nodes: what is outside has none."""
    if text.startswith("region:"):
        return Residency("site", text.removeprefix("region:"))
    return Residency({"node": "node", "site": "site", "any": "any"}[text])  # type: ignore[arg-type]
