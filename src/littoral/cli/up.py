"""`littoral up`: a node, its shard hosts, and the supervisor that restarts them."""

from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import results, show_json
from littoral.cli.supervising import PlainUp, site_of, supervise
from littoral.node.site import Site

__all__ = ["up"]


def up(
    site: Annotated[Path, typer.Argument(help="Site file.")],
    check: Annotated[bool, typer.Option("--check", help="Validate everything, start nothing.")] = False,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT instead of the site file's; port 0 = any.")] = None,
    last_good: Annotated[
        bool, typer.Option("--last-good", help="Where the site file is wrong, start with the one that served last.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: the pipelines as JSON.")] = False,
) -> None:
    """Run the node that a site file describes, until SIGTERM or Ctrl-C."""
    asked = site_of(PlainUp(site, listen, last_good))
    if check:
        show_check(asked.site, as_json=as_json)
        return
    supervise(asked)


def show_check(site: Site, *, as_json: bool) -> None:
    """Opens models and agents, checks the pipelines, and prints them."""
    from littoral.node.wiring import check_site

    pipelines = check_site(site)
    if as_json:
        show_json(
            {
                "node": site.node.name,
                "listen": str(site.listen),
                "pipelines": {name: [step._asdict() for step in p.steps] for name, p in pipelines.items()},
            }
        )
        return
    for name, pipeline in pipelines.items():
        results.print(f"{name}: {pipeline.pipeline.takes}", markup=False)
        for step in pipeline.steps:
            results.print(f"  {step.name} → {step.gives}", markup=False)
    kinds = ("agents", "models", "collections", "pipelines")
    counts = ", ".join(f"{kind} {len(getattr(site, kind))}" for kind in kinds)
    results.print(f"{site.file}: {counts}: all fits", markup=False)
