"""Agents and models that a node has not opened yet: whether they can be, before it is started anew for them."""

from littoral.node.node import Node
from littoral.node.site import Site
from littoral.node.updates_tables import delivered_name
from littoral.runtime.agents import Agent
from littoral.runtime.instance import load
from littoral.updates.deployment.plans import Plan
from littoral.updates.deployment.store import ArtifactStore

__all__ = ["check_agents", "check_new_models"]


def check_new_models(site: Site, node: Node, plan: Plan, store: ArtifactStore) -> None:
    """Those that no deployment had brought. Raises what opening them raises."""
    for name, table in site.models.items():
        item = plan.items.get(f"models/{delivered_name(table.path)}")
        if item is not None and name not in node.models:
            load(store.path(item.sha256), sha256=item.sha256).close()


def check_agents(site: Site, node: Node, plan: Plan, store: ArtifactStore) -> None:
    """As `check_new_models`."""
    for name, table in site.agents.items():
        item = plan.items.get(f"agents/{delivered_name(table.path)}")
        if item is not None and name not in node.agents:
            Agent.open(
                str(store.path(item.sha256)),
                table.config,
                name=name,
                memory_bytes=None if table.memory_mb is None else table.memory_mb << 20,
                deadline_ms=table.deadline_ms,
                grants=table.grants,
                sha256=item.sha256,
                files={key: site.path_of(path) for key, path in table.files.items()},
            ).close()
