"""Whose signatures the models and agents of a site need, from its file and the keys that it names."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from littoral.errors import InputError, SettingError, SetupError
from littoral.node.site import Site

if TYPE_CHECKING:
    from littoral.artifact.signing import Signers

__all__ = ["signers_of"]


def signers_of(site: Site) -> "Signers | None":
    """None where the file names no keys. Raises SettingError naming the key, SetupError without the extra."""
    if (table := site.signatures) is None:
        return None
    if find_spec("cryptography") is None:
        raise SetupError(f"{site.file}: `signatures` needs an extra", hint='pip install "littoral[sign]"')
    from littoral.artifact.ed25519 import KEY_BYTES_MAX, read_public_key
    from littoral.artifact.signing import Signers

    keys = []
    for index, name in enumerate(table.keys):
        where = f"{site.file}: `signatures.keys[{index}]`: `{name}`"
        try:
            with site.path_of(name).open("rb") as file:
                keys.append(read_public_key(file.read(KEY_BYTES_MAX)))
        except OSError as error:
            raise SettingError(f"{where}: {error.strerror}") from error
        except InputError as error:
            raise SettingError(f"{where}: {error.message}", hint=error.hint) from error
    if (different := len(set(keys))) < len(keys):
        raise SettingError(f"{site.file}: `signatures.keys`: {len(keys)} files of {different} keys")
    if table.threshold > len(keys):
        raise SettingError(
            f"{site.file}: `signatures.threshold` is {table.threshold}, at most the number of keys, {len(keys)}"
        )
    return Signers(tuple(keys), table.threshold, table.own)
