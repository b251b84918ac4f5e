"""`littoral lab`: several nodes on this machine, with a wide-area network between them that can be cut."""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from littoral.cli.console import messages, results, show_json
from littoral.errors import InputError

if TYPE_CHECKING:
    from littoral.lab.lab import State

__all__ = ["cut", "down", "freeze", "heal", "kill", "lab", "start", "state", "thaw", "up"]

lab = typer.Typer(name="lab", add_completion=False, no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Option(help="Of the lab, where there are several.")]
Numbers = Annotated[list[int], typer.Argument(help="Numbers of the nodes.")]
AsJson = Annotated[bool, typer.Option("--json", help="The lab's state as JSON.")]


@lab.callback()
def explain() -> None:
    """Several nodes on this machine (Linux, root), with a network between them that can be slow, lossy and cut."""


@lab.command()
def up(
    nodes: Annotated[int, typer.Option(min=2, max=64, help="How many.")] = 3,
    wan: Annotated[bool, typer.Option("--wan", help="20 ms ± 2 ms each way, 50 Mbit/s.")] = False,
    delay_ms: Annotated[float | None, typer.Option(help="Each way between any two nodes.")] = None,
    jitter_ms: Annotated[float | None, typer.Option(help="Around the delay, at most.")] = None,
    rate_mbit: Annotated[float | None, typer.Option(help="Of each direction of each link; 0 = no bound.")] = None,
    loss: Annotated[float | None, typer.Option(help="Share of packets that are lost.")] = None,
    folder: Annotated[Path, typer.Option(help="Site files, certificates, data and logs of the nodes.")] = Path("lab"),
    bare: Annotated[bool, typer.Option("--bare", help="The network alone, no nodes in it.")] = False,
    name: Name = "lab",
    inside: Annotated[
        str | None, typer.Option(help="Handles of sockets, in a lab without root: it begins itself again so.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring up a lab; Ctrl-C or `littoral lab down` takes it down."""
    from littoral.lab.lab import Lab
    from littoral.lab.nodes import HTTP_PORT, LabNodes, places_of, write_sites
    from littoral.lab.rootless import Relays, enter, own_mounts, sockets_before
    from littoral.lab.shape import LAN, WAN

    if inside is None and os.geteuid() != 0:
        enter(sys.argv[1:], sockets_before(nodes, HTTP_PORT))

    given = {"delay_ms": delay_ms, "jitter_ms": jitter_ms, "rate_mbit": rate_mbit, "loss": loss}
    shape = (WAN if wan else LAN)._replace(**{key: value for key, value in given.items() if value is not None})
    with contextlib.ExitStack() as stack:
        if inside is not None:
            own_mounts()
        opened = stack.enter_context(Lab(name, nodes, shape))
        urls = [f"http://{place.host}:{place.http}" for place in places_of(nodes).values()]
        if inside is not None:
            handles = map(int, inside.split(","))
            ways = {handle: (at.host, at.http) for handle, at in zip(handles, places_of(nodes).values(), strict=True)}
            relays = Relays(ways)
            stack.callback(relays.close)
            urls = relays.urls()
        signal.signal(signal.SIGTERM, _interrupt)
        if not bare:
            sites = write_sites(folder.absolute(), places_of(nodes))
            spaces = {node.number: node.namespace for node in opened.state().nodes}
            opened.nodes = LabNodes(sites, spaces)
            stack.callback(opened.nodes.stop)
        _show(opened.state(), as_json=as_json)
        if not bare and not as_json:
            results.print(f"  pages     {'  '.join(urls)}", markup=False)
            results.print(f"  mesh      littoral mesh status --url {urls[0]}", markup=False)
            results.print(f"  logs      {folder}/gw-1/log and the others", markup=False)
        messages.print("littoral: the lab is up; Ctrl-C or `littoral lab down` takes it down", markup=False)
        with contextlib.suppress(KeyboardInterrupt):
            opened.run()


@lab.command()
def cut(
    nodes: Annotated[list[int], typer.Argument(help="Numbers of the nodes that lose the others, and keep each other.")],
    way: Annotated[
        str, typer.Option(help="`both`, or what is lost: `out` what they say, `in` what they hear.")
    ] = "both",
    name: Name = "lab",
    as_json: AsJson = False,
) -> None:
    """Cut some nodes off from the others."""
    _tell(name, "cut", nodes, way=way, as_json=as_json)


@lab.command()
def heal(name: Name = "lab", as_json: AsJson = False) -> None:
    """Take a cut back."""
    _tell(name, "heal", [], as_json=as_json)


@lab.command()
def freeze(nodes: Numbers, name: Name = "lab", as_json: AsJson = False) -> None:
    """Stop all processes of some nodes where they stand; their connections stay."""
    _tell(name, "freeze", nodes, as_json=as_json)


@lab.command()
def thaw(nodes: Numbers, name: Name = "lab", as_json: AsJson = False) -> None:
    """Let frozen nodes go on."""
    _tell(name, "thaw", nodes, as_json=as_json)


@lab.command()
def kill(nodes: Numbers, name: Name = "lab", as_json: AsJson = False) -> None:
    """End all processes of some nodes at once (`kill -9`)."""
    _tell(name, "kill", nodes, as_json=as_json)


@lab.command()
def start(nodes: Numbers, name: Name = "lab", as_json: AsJson = False) -> None:
    """Start nodes that were killed."""
    _tell(name, "start", nodes, as_json=as_json)


@lab.command()
def state(name: Name = "lab", as_json: AsJson = False) -> None:
    """Show nodes, addresses and packets."""
    _tell(name, "state", [], as_json=as_json)


@lab.command()
def down(name: Name = "lab") -> None:
    """Take the lab down, also what one that was killed left behind."""
    from littoral.lab.lab import end

    for left in end(name):
        results.print(f"  removed   {left}", markup=False)


def _tell(name: str, verb: str, nodes: list[int], *, way: str = "both", as_json: bool) -> None:
    from littoral.lab.lab import Order, tell

    try:
        order = msgspec.convert({"verb": verb, "nodes": nodes, "way": way}, Order)
    except msgspec.ValidationError as error:
        raise InputError(f"`--way` is `{way}`, must be `both`, `in` or `out`") from error
    _show(tell(name, order), as_json=as_json)


def _show(state: "State", *, as_json: bool) -> None:
    if as_json:
        show_json(msgspec.to_builtins(state))
        return
    shape = state.shape
    rate = f"{shape.rate_mbit:g} Mbit/s" if shape.rate_mbit else "no bound of rate"
    results.print(
        f"  links     {shape.delay_ms:g} ms ± {shape.jitter_ms:g} ms each way, {rate}, {shape.loss:.2%} lost",
        markup=False,
    )
    results.print(
        f"  packets   {state.passed_count} passed, {state.dropped_count} dropped; cuts by {state.cuts}", markup=False
    )
    for node in state.nodes:
        away = "   cut off" if node.is_away else ""
        away += "   does not run" if node.is_up is False else ""
        results.print(
            f"  node {node.number:<4} {node.address:<12} {state.enter}ip netns exec {node.namespace}{away}",
            markup=False,
        )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
