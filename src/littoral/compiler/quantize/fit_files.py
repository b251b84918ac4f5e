"""Files with what was chosen for a model, for the one after it."""

from pathlib import Path

from littoral.artifact.model import write_atomically
from littoral.compiler.quantize.former import Fit, decode_fit, encode_fit
from littoral.errors import InputError, NotFoundError, TooLargeError

__all__ = ["FIT_BYTES_MAX", "read_fit", "write_fit"]

FIT_BYTES_MAX = 1 << 30


def read_fit(path: Path) -> Fit:
    """Raises NotFoundError, TooLargeError, InputError for what is no fit."""
    try:
        if (size := path.stat().st_size) > FIT_BYTES_MAX:
            raise TooLargeError(f"fit `{path}`: {size} bytes, at most {FIT_BYTES_MAX}")
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"fit `{path}`: {error.strerror}") from error
    return decode_fit(data, f"fit `{path}`")


def write_fit(path: Path, fit: Fit) -> None:
    """Raises InputError where it cannot be written."""
    try:
        write_atomically(path, encode_fit(fit))
    except OSError as error:
        raise InputError(
            f"fit `{path}`: {error.strerror}", hint="give a file in a folder that can be written"
        ) from error
