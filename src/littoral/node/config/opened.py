"""What a site file wants that is not there, opened beside what serves: all of it, or nothing is left of it."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from littoral.artifact.manifest import Manifest
from littoral.node.binding import naming
from littoral.node.model_opening import close_model
from littoral.node.model_repository import ModelRepository, Opened
from littoral.node.node import Node, ServedAgent, ServedModel, ServedVersion
from littoral.node.own_pipelines import OwnPipelines
from littoral.node.rebinding import Others, Versions
from littoral.node.site import Site

__all__ = ["Beside", "open_beside", "overlaid"]


class Beside(NamedTuple):
    """before, after: site files, without what no deployment has brought. own: after, as pipelines are bound by it.
    models, agents: that were not there. versions: of those that were."""

    before: Site
    after: Site
    own: Site
    models: Mapping[str, Opened]
    agents: Mapping[str, ServedAgent]
    versions: Versions


async def open_beside(
    node: Node, before: Site, after: Site, wanted: Versions, undo: contextlib.AsyncExitStack
) -> Beside:
    """wanted: versions that are open, of models and agents whose tables stay. undo: closes what was opened.

    Whoever asks holds the repository's turn. Raises what opening models and agents raises.
    """
    repository, own_pipelines = node.repository, node.own_pipelines
    assert repository is not None, "of the operator's node"
    assert own_pipelines is not None, "of the operator's node"
    others = await _changed_models(repository, before, after, undo)
    models = await _new_models(repository, after, undo)
    versions = {name: one.versions[max(one.versions)] for name, one in others.items()}
    versions |= {name: one for name, one in wanted.models.items() if _stays(name, before.models, after.models)}
    manifests = _manifests(node, models, versions)
    own = own_pipelines.own_site(before, after, {n: manifests[n] for n in after.models if n in manifests})
    agents, changed = await _agents(repository, own_pipelines, own, undo)
    pools = {name: agent.pool for name, agent in changed.items()}
    known = own_pipelines.guests.site.agents
    pools |= {name: pool for name, pool in wanted.agents.items() if _stays(name, known, own.agents)}
    instances = {name: agent.instances for name, agent in changed.items()}
    return Beside(before, after, own, models, agents, Versions(versions, pools, others, instances))


def overlaid(node: Node, beside: Beside) -> tuple[dict[str, ServedModel], dict[str, ServedAgent]]:
    """Models and agents as the node would serve them with it."""
    assert node.repository is not None, "of the operator's node"
    models, agents = node.repository.rebinding.with_versions(beside.versions)
    fresh = {name: opened.served for name, opened in beside.models.items()}
    return {**models, **fresh}, {**agents, **beside.agents}


async def _changed_models(
    repository: ModelRepository, before: Site, after: Site, undo: contextlib.AsyncExitStack
) -> dict[str, Others]:
    found = {}
    for name in sorted(after.models):
        table = after.models[name]
        if name not in repository.served or before.models.get(name, table) == table:
            continue
        with naming(after, f"models.{name}"):
            found[name] = others = await repository.opened_by(name, table, after.path_of(table.path))
        fresh = {f"{name}@{number}": version for number, version in others.versions.items()}
        undo.push_async_callback(repository.discard, Versions(fresh))
    return found


async def _new_models(repository: ModelRepository, after: Site, undo: contextlib.AsyncExitStack) -> dict[str, Opened]:
    found = {}
    for name in sorted(after.models.keys() - repository.served.keys()):
        table = after.models[name]
        with naming(after, f"models.{name}"):
            found[name] = opened = await repository.opened(name, table, after.path_of(table.path))
        undo.push_async_callback(asyncio.to_thread, close_model, opened.served)
    return found


async def _agents(
    repository: ModelRepository, own_pipelines: OwnPipelines, own: Site, undo: contextlib.AsyncExitStack
) -> tuple[dict[str, ServedAgent], dict[str, ServedAgent]]:
    """Those that were not there, and those that are others."""
    agents, known = repository.agents, own_pipelines.guests.site.agents
    fresh, changed = dict[str, ServedAgent](), dict[str, ServedAgent]()
    for name in sorted(own.agents):
        is_there = name in agents.served
        if is_there and known.get(name, own.agents[name]) == own.agents[name]:
            continue
        opened = await agents.opened(own, name)
        undo.push_async_callback(agents.discard, [opened.pool])
        (changed if is_there else fresh)[name] = opened
    return fresh, changed


def _manifests(node: Node, models: Mapping[str, Opened], versions: Mapping[str, ServedVersion]) -> dict[str, Manifest]:
    """Of all models, as they would serve."""
    served = {**node.models, **{name: opened.served for name, opened in models.items()}}
    found = {name: model.model.manifest for name, model in served.items()}
    return found | {name: version.model.manifest for name, version in versions.items()}


def _stays(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """It is there with both, and its table says the same."""
    return name in before and name in after and before[name] == after[name]
