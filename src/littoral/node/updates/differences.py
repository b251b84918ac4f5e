"""What of a plan concerns this node: which models and agents that are open here are to be others."""

from littoral.node.node import Node
from littoral.node.site import Site
from littoral.node.updates.site_files import ROLE
from littoral.node.updates_tables import delivered_name
from littoral.updates.deployment.plans import Item, Plan

__all__ = ["Differences"]


class Differences:
    """Of one node, and the site file that it runs, which may be another while it serves."""

    def __init__(self, site: Site, node: Node) -> None:
        self._node = node
        self._site = site

    @property
    def site(self) -> Site:
        return self._node.site or self._site

    @property
    def _names(self) -> dict[str, str]:
        return {name: f"models/{delivered_name(table.path)}" for name, table in self.site.models.items()}

    @property
    def _agents(self) -> dict[str, str]:
        return {name: f"agents/{delivered_name(table.path)}" for name, table in self.site.agents.items()}

    def models(self, plan: Plan) -> dict[str, Item]:
        """Models that are open here and are to be others, by their name in the site file."""
        found, roles = {}, self._names
        for name, served in self._node.models.items():
            item = plan.items.get(roles.get(name, ""))
            if item is not None and (not served.is_loaded or served.model.digest != item.sha256):
                found[name] = item
        return found

    def agents(self, plan: Plan) -> dict[str, Item]:
        """As `models`."""
        found, roles = {}, self._agents
        for name, served in self._node.agents.items():
            item = plan.items.get(roles.get(name, ""))
            if item is not None and served.pool.first.module_digest != item.sha256:
                found[name] = item
        return found

    def open_here(self, plan: Plan) -> tuple[list[str], list[str]]:
        """Models and agents of a plan, by their names in the site file."""
        models, agents = self._names, self._agents
        return (
            [name for name in self._node.models if models.get(name) in plan.items],
            [name for name in self._node.agents if agents.get(name) in plan.items],
        )

    def has_other_site(self, after: Plan, before: Plan | None) -> bool:
        return ROLE in {*after.changed(before), *(before.changed(after) if before else ())}
