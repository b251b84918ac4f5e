"""What of a plan concerns this node, and what of it can change while the node serves."""

from littoral.node.node import Node
from littoral.node.site import Site
from littoral.node.undelivered import stands_alone
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

    def come(self, plan: Plan) -> list[str]:
        """Models that are not open here, are brought, and can be opened while the node serves."""
        roles = self._names.items()
        return [name for name, role in roles if role in plan.items and self._is_absent(name) and self._alone(name)]

    def go(self, plan: Plan) -> list[str]:
        """Models that are open here, are brought no more, and can be closed while the node serves."""
        roles = self._names.items()
        return [name for name, role in roles if self._has_left(name, role, plan) and self._alone(name)]

    def need_restart(self, after: Plan, before: Plan | None) -> bool:
        """What was not there, or is there no more, and pipelines, collections or tenants are made of."""
        roles, agents = self._roles(after, before), self._agents
        gone = {} if before is None else before.items
        return any(
            (role in roles and self._is_absent(name)) or (role in gone and self._has_left(name, role, after))
            for name, role in self._names.items()
            if not self._alone(name)
        ) or any(
            role in roles and (name not in self._node.agents or role not in after.items)
            for name, role in agents.items()
        )

    def has_other_site(self, after: Plan, before: Plan | None) -> bool:
        return ROLE in self._roles(after, before)

    def _is_absent(self, name: str) -> bool:
        return name not in self._node.models

    def _has_left(self, name: str, role: str, plan: Plan) -> bool:
        is_brought = delivered_name(self.site.models[name].path) is not None
        return is_brought and role not in plan.items and not self._is_absent(name)

    def _alone(self, name: str) -> bool:
        return stands_alone(self.site, name)

    def _roles(self, after: Plan, before: Plan | None) -> set[str]:
        return {*after.changed(before), *(before.changed(after) if before else ())}
