"""Pipelines that models bring along: agent, model and steps behind it, as `preprocess` in a manifest says.

A model's own pipeline has the model's name. One of that name in the site file comes first, and `pipeline = false`
beside the model's path makes none.
"""

from collections.abc import Mapping
from typing import Any

from littoral.artifact import Manifest
from littoral.artifact.preprocess import BUILTIN, Preprocess, read_preprocess
from littoral.errors import ArtifactError, SettingError
from littoral.node.site import Site, parse_steps
from littoral.node.site_problems import Place
from littoral.node.site_tables import AgentTable

__all__ = ["agent_of", "with_default_pipelines"]

AGENT_SUFFIX = ".preprocess"
HINT = "`pipeline = false` beside its path leaves the model's own pipeline out"
LABELLED = ("top_k", "draw")


def agent_of(model: str) -> str:
    """What the agent is called that a model's own pipeline brings along, if it does."""
    return f"{model}{AGENT_SUFFIX}"


def with_default_pipelines(site: Site, manifests: Mapping[str, Manifest]) -> Site:
    """The site with the models' own pipelines. Raises SettingError naming the model."""
    for name, manifest in manifests.items():
        if name not in site.pipelines and site.models[name].pipeline:
            site = _with(site, name, manifest)
    return site


def _with(site: Site, name: str, manifest: Manifest) -> Site:
    place = Place("its manifest") / "preprocess"
    try:
        if (found := read_preprocess(manifest.preprocess)) is None:
            return site
        site, agent = _agent(site, name, found)
        first = parse_steps([{"agent": agent}, {"model": name, "take": found.take}], site, place)
        behind = parse_steps([_labelled(step, name, manifest) for step in found.then], site, place / "then")
    except (ArtifactError, SettingError) as error:
        raise SettingError(f"{site.file}: `models.{name}`: {error.message}", hint=error.hint or HINT) from error
    return site._replace(pipelines={**site.pipelines, name: (*first, *behind)})


def _agent(site: Site, name: str, found: Preprocess) -> tuple[Site, str]:
    """The site with the agent in it, and what it is called there."""
    if not found.agent.startswith(BUILTIN):
        return site, found.agent
    called = agent_of(name)
    table = AgentTable(path=found.agent, config=found.config, instances=site.models[name].instances)
    return site._replace(agents={**site.agents, called: table}), called


def _labelled(step: Mapping[str, Any], name: str, manifest: Manifest) -> dict[str, Any]:
    """A step that can name classes names those of this model, if it has any."""
    with_names = step.get("step") in LABELLED and manifest.labels
    return {"labels": name, **step} if with_names else dict(step)
