"""Where the keys of the tables `encryption` and `mesh.encryption` come from: a file, a credential of systemd, or what a
command prints.

And which fields of payloads they seal.
"""

import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from littoral import settings
from littoral.answers.entries import SEALED_FIELDS
from littoral.answers.points import names_of
from littoral.errors import SettingError, SetupError
from littoral.node.encryption_tables import EncryptionTable
from littoral.node.site import Site
from littoral.vault import KeyRing, parse_keys
from littoral.vault.keys import KEY_FILE_BYTES_MAX
from littoral.vectors.encrypted.fields import SealedFields

__all__ = ["encrypted_fields", "open_keys", "open_site_keys", "read_key_file"]

COMMAND_S = 10.0
HINT = "`littoral keys seal FILE` makes one"


def open_keys(site: Site) -> KeyRing | None:
    """None for a site without the table: nothing is sealed. Raises SettingError, SetupError without the extra."""
    return None if site.encryption is None else _opened(site, site.encryption, "encryption")


def open_site_keys(site: Site) -> KeyRing | None:
    """Keys that all nodes of the site have, for fields of spread collections. As `open_keys`."""
    table = None if site.mesh is None else site.mesh.encryption
    return None if table is None else _opened(site, table, "mesh.encryption")


def _opened(site: Site, table: EncryptionTable, name: str) -> KeyRing:
    if find_spec("cryptography") is None:
        raise SetupError(f"{site.file}: `{name}` needs an extra", hint='pip install "littoral[vault]"')
    if table.key_file is not None:
        return read_key_file(site.path_of(table.key_file))
    if table.credential is not None:
        return read_key_file(_credential(site, table.credential, name))
    return _printed(site, table.command or [], name)


def encrypted_fields(site: Site, keys: KeyRing | None, tenant: str = "") -> dict[str, SealedFields]:
    """By collection that lies here alone. tenant: whose they are; what one sealed opens in no other's collection of
    that name.
    """
    owner = f"{tenant}/" if tenant else ""
    if keys is None:
        return {}
    tables = {name: table.encrypted for name, table in site.collections.items() if table.spread is None}
    fields: dict[str, tuple[str, ...]] = {name: tuple(table.fields) for name, table in tables.items() if table}
    if site.gateway is not None:
        own = (name for name in names_of(site.gateway.cache.collection) if name not in site.collections)
        fields |= dict.fromkeys(own, SEALED_FIELDS)
    return {name: SealedFields(f"{owner}{name}", names, keys) for name, names in fields.items()}


def read_key_file(path: Path) -> KeyRing:
    """Raises SettingError for one that cannot be read, that others can read, or that holds no keys."""
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = stream.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingError(f"file of keys `{path}`: {error.strerror}", hint=HINT) from error
    if mode & 0o077:
        raise SettingError(f"file of keys `{path}`: others can read it, mode {mode:o}", hint=f"chmod 600 {path}")
    return parse_keys(data, f"file of keys `{path}`")


def _credential(site: Site, name: str, table: str) -> Path:
    if not (folder := settings.text("CREDENTIALS_DIRECTORY")):
        raise SettingError(
            f"{site.file}: `{table}.credential` is `{name}`, and systemd gave none to this process",
            hint=f"`LoadCredentialEncrypted={name}` in the unit; for a verb in a shell, `--keys FILE`",
        )
    return Path(folder) / name


def _printed(site: Site, command: list[str], table: str) -> KeyRing:
    place = f"{site.file}: `{table}.command` (`{command[0]}`)"
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_S,
            cwd=site.file.absolute().parent,
        )
    except OSError as error:
        raise SettingError(f"{place}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SettingError(f"{place}: printed no keys in {COMMAND_S:g} s") from error
    if done.returncode:
        raise SettingError(
            f"{place}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[:200]}"
        )
    return parse_keys(done.stdout, place)
