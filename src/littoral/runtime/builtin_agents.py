"""The agents that are shipped with the package: `builtin:NAME`, and the digest that the file must have."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from littoral.errors import NotFoundError, SetupError, TrustError

__all__ = ["PREFIX", "BuiltinAgent", "builtin_agent"]

PREFIX = "builtin:"
FOLDER = Path(__file__).parent / "builtin"
DIGESTS = "digests.toml"


class BuiltinAgent(NamedTuple):
    path: Path
    sha256: str


def builtin_agent(name: str, sha256: str | None = None, folder: Path | None = None) -> BuiltinAgent:
    """File and digest of a shipped agent. sha256: what the caller says the digest is.

    Raises NotFoundError for an unknown name, SetupError for a missing file, TrustError for another digest.
    """
    hint = "install the package again, or run `make guests` in a checkout"
    folder = folder or FOLDER
    try:
        table = tomllib.loads((folder / DIGESTS).read_text())
    except FileNotFoundError as error:
        raise SetupError(f"built-in agents: `{folder / DIGESTS}` is missing", hint=hint) from error
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"built-in agents: `{folder / DIGESTS}`: {error}", hint=hint) from error
    if not isinstance(entry := table.get(name), dict) or not isinstance(known := entry.get("sha256"), str):
        raise NotFoundError(f"built-in agent `{name}` is unknown, known: {', '.join(sorted(table)) or 'none'}")
    path = folder / f"{name}.wasm"
    if not path.exists():
        raise SetupError(f"built-in agent `{name}`: `{path}` is missing", hint=hint)
    if sha256 is not None and sha256.lower() != known:
        raise TrustError(f"built-in agent `{name}`: SHA-256 is `{known}`, expected `{sha256.lower()}`")
    return BuiltinAgent(path, known)
