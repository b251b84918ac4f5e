"""What of a site file waits for a fleet's first deployment: it is left out until then, with all that needs it."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from littoral.node.site import Site, inner_steps
from littoral.node.site_tables import AgentTable, ForEachStepTable, StepTable
from littoral.node.updates_tables import delivered_name

__all__ = ["undelivered", "without_undelivered"]

_T = TypeVar("_T")


def undelivered(site: Site, brought: Collection[str] | None = None) -> frozenset[str]:
    """Models, agents and pipelines that cannot be there yet, by name. brought: roles, such as `models/NAME`, that a
    deployment has; default: what lies in the data folder."""
    models = {n for n, table in site.models.items() if not _has_model(site, table.path, brought)}
    agents = {n for n, table in site.agents.items() if not _has_agent(site, table, brought)}
    if not models and not agents:
        return frozenset()
    pipelines = {name for name, steps in site.pipelines.items() if _needs(steps, models, agents)}
    return frozenset(models | agents | pipelines)


def without_undelivered(site: Site, brought: Collection[str] | None = None) -> Site:
    """The same site, without them."""
    if site.updates is None or not (gone := undelivered(site, brought)):
        return site
    pipelines = {name: steps for name, steps in site.pipelines.items() if name not in gone}
    mqtt = site.mqtt
    if mqtt is not None:
        mqtt = msgspec.structs.replace(mqtt, routes=[one for one in mqtt.routes if one.pipeline in pipelines])
    tenants = [
        msgspec.structs.replace(
            one,
            models=[name for name in one.models if name not in gone],
            pipelines=[name for name in one.pipelines if name not in gone],
        )
        for one in site.tenants
    ]
    return site._replace(
        models=_left(site.models, gone),
        agents=_left(site.agents, gone),
        pipelines=pipelines,
        collections={name: table for name, table in site.collections.items() if not _is_of(table.model, gone)},
        mqtt=mqtt,
        tenants=tenants,
    )


def _has_model(site: Site, path: str, brought: Collection[str] | None) -> bool:
    if (name := delivered_name(path)) is None:
        return True
    return any(site.path_of(path).glob("*/model.wasm")) if brought is None else f"models/{name}" in brought


def _has_agent(site: Site, table: AgentTable, brought: Collection[str] | None) -> bool:
    if (name := delivered_name(table.path)) is None:
        return True
    return site.path_of(site.agent_path(table)).exists() if brought is None else f"agents/{name}" in brought


def _left(tables: Mapping[str, _T], gone: frozenset[str]) -> dict[str, _T]:
    return {name: table for name, table in tables.items() if name not in gone}


def _needs(steps: Sequence[StepTable], models: set[str], agents: set[str]) -> bool:
    return any(
        getattr(step, "model", None) in models
        or getattr(step, "agent", None) in agents
        or _labels(step) in models
        or (isinstance(step, ForEachStepTable) and _needs(inner_steps(step), models, agents))
        for step in steps
    )


def _labels(step: StepTable) -> str | None:
    labels = getattr(step, "labels", None)
    return labels if isinstance(labels, str) else None


def _is_of(model: str | list[str], gone: frozenset[str]) -> bool:
    names = [model] if isinstance(model, str) else model
    return any(name.partition("@")[0] in gone for name in names)
