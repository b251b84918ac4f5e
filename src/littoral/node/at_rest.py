"""Where the keys of the tables `encryption` and `mesh.encryption` come from: a file, a credential of systemd, or what a
command prints.

And which fields of payloads they seal.
"""

import stat
import subprocess
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from littoral import settings
from littoral.answers.entries import SEALED_FIELDS
from littoral.answers.points import names_of
from littoral.errors import SettingError, SetupError
from littoral.node.encrypted_record import EncryptedRecord
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
    """By collection that lies here alone; from now on it is known on the disk what lies sealed in each. tenant: whose
    they are; what one sealed opens in no other's collection of that name.

    Raises SettingError where something lies sealed and there are no keys.
    """
    owner = f"{tenant}/" if tenant else ""
    record = EncryptedRecord(site.data)
    tables = {name: table.encrypted for name, table in site.collections.items() if table.spread is None}
    fields = {name: () if table is None else tuple(table.fields) for name, table in tables.items()}
    # of a collection that the site file does not name they stay what they are
    fields |= {name: tuple(record.of(name)) for name in record.collections if name not in site.collections}
    if keys is None:
        _check_unsealed(site, record)
        return {}
    found = {
        name: _sealed_fields(f"{owner}{name}", record, name, wanted, keys)
        for name, wanted in fields.items()
        if wanted or record.of(name)
    }
    if site.gateway is not None:
        own = (name for name in names_of(site.gateway.cache.collection) if name not in site.collections)
        found |= {name: SealedFields(f"{owner}{name}", SEALED_FIELDS, keys) for name in own}
    return found


def _sealed_fields(
    bound: str, record: EncryptedRecord, name: str, wanted: Sequence[str], keys: KeyRing
) -> SealedFields:
    """Those that are wanted, and those that are yet to be opened."""
    states = record.begin(name, wanted)
    leaving = [field for field, state in states.items() if state in ("opening", "opened")]
    found = SealedFields(
        bound,
        list(states),
        keys,
        either=[field for field, state in states.items() if state == "sealing"],
        opening=leaving,
        is_cleared=bool(leaving) and all(states[field] == "opened" for field in leaving),
    )
    found.settled = partial(record.settled, name)
    return found


def _check_unsealed(site: Site, record: EncryptedRecord) -> None:
    for name in site.collections:
        if known := list(record.of(name)):
            raise SettingError(
                f"{site.file}: `{known[0]}` of collection `{name}` lies sealed, and there is no table `encryption`",
                hint="leave the table and its keys until the log says that the field is one as any other",
            )


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
