"""What verbs of `littoral mesh` begin with: a place, and the identity that lies there."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from littoral.clock import SYSTEM
from littoral.errors import InputError, SetupError

if TYPE_CHECKING:
    from littoral.mesh.identity.founding import Root
    from littoral.mesh.identity.identity import Identity

__all__ = ["PlaceArgument", "data_folder", "need_extra", "open_identity", "root_of"]

EXTRA_MODULES = ("cryptography",)

PlaceArgument = Annotated[Path, typer.Argument(help="Site file, or a node's data folder.")]


def data_folder(place: Path) -> Path:
    """Of a site file: the folder it names. Raises SettingError for a wrong one."""
    if place.suffix != ".toml":
        return place
    from littoral.node.site import read_site

    return read_site(place).data


def open_identity(place: Path) -> "Identity":
    """Raises NotFoundError without one, SetupError without the extra."""
    need_extra()
    from littoral.mesh.identity.identity import Identity

    return Identity.open(data_folder(place), SYSTEM)


def need_extra() -> None:
    """Raises SetupError without it."""
    if missing := [name for name in EXTRA_MODULES if find_spec(name) is None]:
        raise SetupError(f"the mesh needs `{', '.join(missing)}`", hint='install `pip install "littoral[mesh]"`')


def root_of(file: Path) -> "Root":
    """Raises InputError for a file that cannot be read, TrustError for what is no root."""
    from littoral.mesh.identity.founding import read_root

    try:
        return read_root(file.read_bytes())
    except OSError as error:
        raise InputError(f"`{file}`: {error.strerror}") from error
