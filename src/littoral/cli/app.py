"""The verbs, as one table. A verb's module is imported when it is asked for: `up` does not wait for the compiler."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import littoral

__all__ = ["VERBS", "app"]

VERBS = {
    "agent": "agent",
    "audit": "audit",
    "backup": "backup",
    "bench": "bench",
    "build": "build",
    "bundle": "bundle",
    "cache": "cache",
    "camera": "camera",
    "collections": "collections",
    "compare": "compare",
    "config": "config",
    "demo": "demo_verb",
    "doctor": "doctor",
    "explain": "explain",
    "fleet": "fleet",
    "index": "index",
    "keys": "keys",
    "lab": "lab",
    "logs": "logs",
    "mesh": "mesh",
    "orchestrator": "orchestrator",
    "pack": "pack_verb",
    "restore": "restore_verb",
    "run": "run",
    "search": "search",
    "sign": "sign",
    "tokens": "tokens",
    "top": "top",
    "tune": "tune",
    "up": "up",
    "update": "update",
    "verify": "verify",
}
"""What a verb is called, and the function (or group) in the module of that name."""


class Verbs(TyperGroup):
    """The root command."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (of the class above)
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in VERBS and cmd_name not in self.commands:
            self.commands[cmd_name] = command_of(cmd_name)
        return super().get_command(ctx, cmd_name)


def command_of(name: str) -> Any:
    """The command of a verb, with its module imported."""
    verb = getattr(importlib.import_module(f"littoral.cli.{name}"), VERBS[name])
    if isinstance(verb, typer.Typer):
        return typer.main.get_command(verb)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(verb)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="littoral",
    cls=Verbs,
    help="Edge intelligence: ONNX models as sandboxed WebAssembly, agents, and vector search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"littoral {littoral.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Exit codes: 1 check failed, 2 usage, 3 model, 4 input, 5 machine, 6 peer, 7 trust."""
