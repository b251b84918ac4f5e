"""What an agent's `init` gets: its configuration, and the files beside it (docs/reference/agent-abi.md)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from littoral.artifact.model import read_bounded
from littoral.errors import SettingError, TooLargeError
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
        what = f"{label}: file `{name}`:"
        parts[FILE + name] = file if isinstance(file, bytes) else read_bounded(Path(file), what, FILE_BYTES_MAX)
        if sum(map(len, parts.values())) > 2 * FILE_BYTES_MAX:
            raise TooLargeError(f"{label}: its files have more than {2 * FILE_BYTES_MAX} bytes together")
    return encode_frame({name: np.frombuffer(part, np.uint8) for name, part in parts.items()})
