"""`littoral config`: what the site file may say."""

import typer

from littoral.cli.console import show_json

__all__ = ["config", "schema"]

config = typer.Typer(name="config", add_completion=False, no_args_is_help=True, rich_markup_mode=None)


@config.callback()
def options() -> None:
    """What a site file may say."""


@config.command()
def schema() -> None:
    """Print the JSON Schema of the site file."""
    from littoral.node.site_schema import site_schema

    show_json(site_schema())
