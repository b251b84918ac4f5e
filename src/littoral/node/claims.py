"""The code that lets a node into its fleet: in a file, an environment variable or a credential of systemd."""

from pathlib import Path

from littoral.errors import SettingError
from littoral.node.site import Site
from littoral.settings import from_environment, text

__all__ = ["read_claim"]

CLAIM_BYTES_MAX = 4096
ENVIRONMENT, CREDENTIAL = "env:", "credential:"


def read_claim(site: Site) -> str:
    """What `updates.claim` names. Raises SettingError."""
    assert site.updates is not None
    where = site.updates.claim
    if where is None:
        raise SettingError(f"{site.file}: `updates.claim` is missing, and this node is not enrolled yet")
    if where.startswith(ENVIRONMENT):
        found = from_environment(where.removeprefix(ENVIRONMENT))
        if found is None:
            raise SettingError(f"environment variable `{where.removeprefix(ENVIRONMENT)}` is not set")
        return found.strip()
    folder = text("CREDENTIALS_DIRECTORY")
    path = Path(folder) / where.removeprefix(CREDENTIAL) if where.startswith(CREDENTIAL) else site.path_of(where)
    try:
        with path.open("rb") as stream:
            return stream.read(CLAIM_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        hint = "a file with the claim code, `env:NAME`, or `credential:NAME` of systemd"
        raise SettingError(f"{site.file}: `updates.claim`: `{path}`: {why}", hint=hint) from error
