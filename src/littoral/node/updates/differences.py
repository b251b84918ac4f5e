"""What of a plan concerns this node, and what of it can change while the node serves."""

from littoral.node.node import Node
from littoral.node.site import Site
from littoral.node.updates.site_files import ROLE
from littoral.node.updates_tables import delivered_name
from littoral.updates.deployment.plans import Item, Plan

__all__ = ["Differences"]


class Differences:
    """Of one node, and the site file that it runs."""

    def __init__(self, site: Site, node: Node) -> None:
        self._node = node
        self._names = {name: f"models/{delivered_name(table.path)}" for name, table in site.models.items()}
        self._agents = {name: f"agents/{delivered_name(table.path)}" for name, table in site.agents.items()}

    def models(self, plan: Plan) -> dict[str, Item]:
        """Models that are open here and are to be others, by their name in the site file."""
        found = {}
        for name, served in self._node.models.items():
            item = plan.items.get(self._names.get(name, ""))
            if item is not None and (not served.is_loaded or served.model.digest != item.sha256):
                found[name] = item
        return found

    def agents(self, plan: Plan) -> dict[str, Item]:
        """As `models`."""
        found = {}
        for name, served in self._node.agents.items():
            item = plan.items.get(self._agents.get(name, ""))
            if item is not None and served.pool.first.module_digest != item.sha256:
                found[name] = item
        return found

    def need_restart(self, after: Plan, before: Plan | None) -> bool:
        """What was not there is bound at the start."""
        return any(role in self._absent for role in self._roles(after, before))

    def has_other_site(self, after: Plan, before: Plan | None) -> bool:
        return ROLE in self._roles(after, before)

    @property
    def _absent(self) -> set[str]:
        models = {role for name, role in self._names.items() if name not in self._node.models}
        return models | {role for name, role in self._agents.items() if name not in self._node.agents}

    def _roles(self, after: Plan, before: Plan | None) -> set[str]:
        return {*after.changed(before), *(before.changed(after) if before else ())}
