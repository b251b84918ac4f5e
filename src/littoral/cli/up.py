"""`littoral up`: a node, its shard hosts, and the supervisor that restarts them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from littoral.cli.console import messages, results, show_json
from littoral.errors import LittoralError, UnavailableError
from littoral.lifeline import Lifeline
from littoral.node.site import Site, parse_address, read_site
from littoral.node.supervisor import Supervisor

__all__ = ["up"]

NODE_MODULE = "littoral.node.process"


def up(
    site: Annotated[Path, typer.Argument(help="Site file.")],
    check: Annotated[bool, typer.Option("--check", help="Validate everything, start nothing.")] = False,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT instead of the site file's; port 0 = any.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: the pipelines as JSON.")] = False,
) -> None:
    """Run the node that a site file describes, until SIGTERM or Ctrl-C."""
    described = read_site(site)
    if listen is not None:
        described = described.listening_at(parse_address(listen))
    if check:
        show_check(described, as_json=as_json)
        return
    supervise(described)


def supervise(site: Site) -> None:
    """Until SIGTERM or SIGINT. Ends with whoever started this process, if that is one of ours."""
    lifeline = Lifeline.attach()

    def tell(address: str) -> None:
        messages.print(f"littoral: node `{site.node.name}` serves http://{address}", markup=False, soft_wrap=True)
        lifeline.ready(address)

    command = [sys.executable, "-P", "-m", NODE_MODULE, str(site.file.absolute()), str(site.listen)]
    try:
        Supervisor(site.data, command, on_ready=tell).run_until_signal()
    except LittoralError as error:
        lifeline.failed(error.message)
        raise
    except OSError as error:
        lifeline.failed(str(error))
        raise UnavailableError(f"data folder `{site.data}`: {error.strerror}") from error


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
