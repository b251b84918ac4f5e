"""What an agent's `init` gets: its configuration, and the files beside it (docs/reference/agent-abi.md)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from littoral.errors import NotFoundError, SettingError, TooLargeError
from littoral.tensors import encode_frame

__all__ = ["FILES_MAX", "FILE_BYTES_MAX", "Config", "Files", "init_bytes"]

FILES_MAX = 16
FILE_BYTES_MAX = 64 << 20
CONFIG = "config"
FILE = "file."

Config = Mapping[str, Any] | bytes | None
Files = Mapping[str, str | os.PathLike[str] | bytes]


def init_bytes(config: Config, files: Files, label: str) -> bytes:
    """JSON where there are no files, else one frame of bytes: `config`, and `file.NAME` for each file.

    label: opens every message. Raises NotFoundError, TooLargeError (64 MiB a file, 128 MiB in all), SettingError.
    """
    told = config if isinstance(config, bytes) else msgspec.json.encode(config or {})
    if not files:
        return told
    if isinstance(config, bytes):
        raise SettingError(f"{label}: `files` go with a configuration in JSON, not with one in bytes")
    if len(files) > FILES_MAX:
        raise SettingError(f"{label}: {len(files)} files, at most {FILES_MAX}")
    parts = {CONFIG: told}
    for name, file in files.items():
        parts[FILE + name] = file if isinstance(file, bytes) else _read(Path(file), f"{label}: file `{name}`")
        if sum(map(len, parts.values())) > 2 * FILE_BYTES_MAX:
            raise TooLargeError(f"{label}: its files have more than {2 * FILE_BYTES_MAX} bytes together")
    return encode_frame({name: np.frombuffer(part, np.uint8) for name, part in parts.items()})


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(f"{what}: `{path}`: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise TooLargeError(f"{what}: `{path}` has more than {FILE_BYTES_MAX} bytes")
    return data
