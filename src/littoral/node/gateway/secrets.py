"""Keys of services: from a file, an environment variable or a credential of systemd, never from the site file."""

import stat
from collections.abc import Mapping
from pathlib import Path

from littoral import settings
from littoral.errors import SettingError
from littoral.gateway.upstream import Secret
from littoral.node.gateway_tables import KeyTable, UpstreamTable
from littoral.node.site import Site

__all__ = ["headers_of", "key_of"]

KEY_BYTES_MAX = 8192


def key_of(site: Site, table: UpstreamTable) -> Secret | None:
    """Raises SettingError that says where it was looked for, never what was found."""
    if table.key is None:
        return None
    place = f"{site.file}: `gateway.upstreams`: key of `{table.name}`"
    return Secret(_checked(_text(site, table.key, place), place))


def headers_of(site: Site, table: UpstreamTable) -> Mapping[str, str]:
    """By their names, in lower case."""
    found = {}
    for name, variable in table.headers_env.items():
        place = f"{site.file}: `gateway.upstreams`: header `{name}` of `{table.name}`"
        found[name.lower()] = _checked(_variable(variable, place), place)
    return found


def _text(site: Site, table: KeyTable, place: str) -> str:
    if table.env is not None:
        return _variable(table.env, place)
    if table.credential is not None:
        if not (folder := settings.text("CREDENTIALS_DIRECTORY")):
            raise SettingError(
                f"{place}: credential `{table.credential}`, and systemd gave none to this process",
                hint=f"`LoadCredentialEncrypted={table.credential}` in the unit",
            )
        return _read(Path(folder) / table.credential, place)
    assert table.file is not None, "the site file was checked"
    path = site.path_of(table.file)
    text = _read(path, place)
    if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        raise SettingError(f"{place}: others can read `{path}`, mode {mode:o}", hint=f"chmod 600 {path}")
    return text


def _variable(name: str, place: str) -> str:
    if (found := settings.from_environment(name)) is None:
        raise SettingError(f"{place}: environment variable `{name}` is not set")
    return found


def _read(path: Path, place: str) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(KEY_BYTES_MAX + 1).decode("ascii")
    except OSError as error:
        raise SettingError(f"{place}: `{path}`: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingError(f"{place}: `{path}` is no ASCII text") from None


def _checked(text: str, place: str) -> str:
    found = text.strip()
    if not found or len(found) > KEY_BYTES_MAX or not found.isascii() or not found.isprintable():
        raise SettingError(f"{place}: is empty, too long or no single line of ASCII")
    return found
