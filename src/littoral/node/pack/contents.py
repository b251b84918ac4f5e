"""What of a site goes into a pack: its file and all that it names, below the file's folder; keys only if asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.errors import InputError, NotFoundError, SettingError
from littoral.node.backup.contents import LeftOut, files_of
from littoral.node.opened_access import tls_files, tokens_file
from littoral.node.site import Site

__all__ = ["SiteFile", "Wanted", "left_out", "site_files"]


class Wanted(NamedTuple):
    """tokens: their digests. keys: private keys and passwords of TLS and MQTT, and keys that seal."""

    tokens: bool = False
    keys: bool = False


class SiteFile(NamedTuple):
    """name: relative to the site file's folder."""

    name: str
    path: Path


def site_files(site: Site, wanted: Wanted) -> list[SiteFile]:
    """By their names. Raises InputError for what lies outside its folder, NotFoundError for what is not there."""
    home = site.file.absolute().parent
    kept = [file.path for file in files_of(site, with_tokens=wanted.tokens) if not file.path.is_relative_to(site.data)]
    kept += [path.absolute() for path in _more(site, wanted)]
    return sorted(SiteFile(_below(path, home), path) for path in set(kept))


def _below(path: Path, home: Path) -> str:
    if not path.is_relative_to(home) or ".." in path.parts:
        raise InputError(
            f"`{path}` lies outside `{home}`",
            hint="a pack is one folder: put it below, and name it so in the site file",
        )
    if not path.is_file():
        raise NotFoundError(f"`{path}`: there is no such file")
    return path.relative_to(home).as_posix()


def _more(site: Site, wanted: Wanted) -> Iterator[Path]:
    """What is public, and what is not."""
    if site.telemetry.traces.ca is not None:
        yield site.path_of(site.telemetry.traces.ca)
    for collection in site.collections.values():
        if collection.spread is not None and collection.spread.sample is not None:
            yield site.path_of(collection.spread.sample)
    if site.mqtt is not None and site.mqtt.ca is not None:
        yield site.path_of(site.mqtt.ca)
    if wanted.keys:
        yield from (path for path, _ in _secrets(site))


def _secrets(site: Site) -> Iterator[tuple[Path, str]]:
    """Files that nobody else may read, and whose they are."""
    if (tls := tls_files(site)) is not None:
        yield from ((path, "TLS") for path in tls if path is not None)
    if site.mqtt is not None:
        for name in (site.mqtt.password_file, site.mqtt.certificate, site.mqtt.key):
            if name is not None:
                yield site.path_of(name), "MQTT"
    if site.audit is not None and site.audit.key_file is not None:
        yield site.path_of(site.audit.key_file), "`audit`"
    if site.encryption is not None and site.encryption.key_file is not None:
        yield site.path_of(site.encryption.key_file), "`encryption`"
    if site.mesh is not None and site.mesh.encryption is not None and site.mesh.encryption.key_file is not None:
        yield site.path_of(site.mesh.encryption.key_file), "`mesh.encryption`"


def left_out(site: Site, wanted: Wanted) -> Iterator[LeftOut]:
    """What a node of this site needs, or has, and the pack does not bring."""
    if (tokens := tokens_file(site)) is not None and not (wanted.tokens and tokens.is_file()):
        yield LeftOut(str(tokens.name), "digests of tokens: `--with-tokens` takes them along, or make new ones there")
    if not wanted.keys:
        for path, whose in _secrets(site):
            yield LeftOut(path.name, f"of {whose}: `--with-keys` takes it along, or put it there")
    if site.encryption is not None and site.encryption.key_file is None:
        yield LeftOut("keys of `encryption`", "they come from the machine")
    if site.mesh is not None and site.mesh.encryption is not None and site.mesh.encryption.key_file is None:
        yield LeftOut("keys of `mesh.encryption`", "they come from the machine")
    if site.mesh is not None:
        yield LeftOut("identity in the mesh", "no two nodes may have one: `littoral mesh join` there")
    if Path(site.node.data).is_absolute():
        yield LeftOut(site.node.data, "`node.data` is outside the pack: the node must be able to write there")


def check_site_fits(site: Site) -> None:
    """Raises SettingError for a site whose name no folder should have."""
    if site.node.name.startswith("-"):
        raise SettingError(f"`node.name` is `{site.node.name}`, a pack's folder cannot begin with `-`")
