"""Agents and models of a deployment that a node has not open: whether they can be."""

from collections.abc import Collection

from littoral.node.site import Site
from littoral.node.updates_tables import delivered_name
from littoral.runtime.agents import Agent
from littoral.runtime.instance import load
from littoral.updates.deployment.plans import Plan
from littoral.updates.deployment.store import ArtifactStore

__all__ = ["check_agents", "check_models"]


def check_models(site: Site, plan: Plan, store: ArtifactStore, are_open: Collection[str] = ()) -> None:
    """But for those that are open. Raises what opening them raises."""
    for name, table in site.models.items():
        item = plan.items.get(f"models/{delivered_name(table.path)}")
        if item is not None and name not in are_open:
            load(store.path(item.sha256), sha256=item.sha256).close()


def check_agents(site: Site, plan: Plan, store: ArtifactStore, are_open: Collection[str] = ()) -> None:
    """As `check_models`."""
    for name, table in site.agents.items():
        item = plan.items.get(f"agents/{delivered_name(table.path)}")
        if item is not None and name not in are_open:
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
