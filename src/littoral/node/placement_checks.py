"""What a site file says of where steps run, checked: Raises for what could never be kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from littoral.node.residency import parse_residency, parse_wish
from littoral.node.site_problems import Place, nearest_hint

if TYPE_CHECKING:
    from littoral.node.site import Site
    from littoral.node.site_tables import ForEachStepTable, StepTable

__all__ = ["check_placement"]

Inner = Callable[["ForEachStepTable"], Sequence["StepTable"]]


def check_placement(site: "Site", place: Place, inner: Inner) -> None:
    """inner: the steps of a `for_each`. Raises SettingError."""
    if site.placement is not None and site.placement.fallback and site.updates is None:
        raise (place / "placement" / "fallback").about("needs the table `updates`, which says who the orchestrator is")
    for name, steps in site.pipelines.items():
        _check_steps(steps, site, place / "pipelines" / name / "steps", inner)


def _check_steps(steps: Sequence["StepTable"], site: "Site", place: Place, inner: Inner) -> None:
    from littoral.node.site_tables import AgentStepTable, ForEachStepTable, ModelStepTable

    for index, step in enumerate(steps):
        here = place / index
        if isinstance(step, AgentStepTable | ModelStepTable):
            _check_wish(step, site, here)
        elif step.place != "here":
            raise (here / "place").about("a step of a model or an agent alone can run on another node")
        if isinstance(step, ForEachStepTable):
            _check_steps(inner(step), site, here / "for_each", inner)
        _check_spread(step, site, here)


def _check_wish(step: "StepTable", site: "Site", place: Place) -> None:
    wish, residency = parse_wish(step.place), parse_residency(step.residency)
    if wish.is_here:
        return
    if site.placement is None or (site.mesh is None and not site.placement.fallback):
        raise (place / "place").about("needs the tables `mesh` and `placement`, or `placement.fallback`")
    if wish.pinned is None or wish.pinned == site.node.name:
        return
    if site.mesh is None:
        raise (place / "place").about("names another node, and there is no table `mesh` that says where it is")
    if wish.pinned not in site.mesh.peers:
        raise (place / "place").wrong(
            step.place, "`node:` and a name of `mesh.peers`", hint=nearest_hint(wish.pinned, site.mesh.peers)
        )
    standing = "orchestrator" if wish.pinned == site.mesh.orchestrator else "site"
    if (why := parse_residency(step.residency)._replace(region=None).refusal(standing, "")) is not None:  # type: ignore[arg-type]
        raise (place / "place").about(f"is `{step.place}`, and by `residency` {why}", hint=_wider(residency.reach))


def _wider(reach: str) -> str:
    return 'say `residency = "any"`' if reach == "site" else 'say `residency = "site"`, or leave `place` out'


def _check_spread(step: "StepTable", site: "Site", place: Place) -> None:
    """A collection that is spread is asked on other nodes, whichever these are."""
    from littoral.node.site_tables import SearchStepTable, UpsertStepTable

    name = (
        step.search if isinstance(step, SearchStepTable) else step.upsert if isinstance(step, UpsertStepTable) else ""
    )
    residency = parse_residency(step.residency)
    is_narrow = residency.reach == "node" or residency.region is not None
    table: Mapping[str, object] = site.collections
    if is_narrow and name in table and site.collections[name].spread is not None:
        raise (place / "residency").about(
            f"is `{step.residency}`, and collection `{name}` is spread over the site: the vector goes to other nodes"
        )
