"""A compiled model: the bytes of its `.wasm` file and the manifest inside."""

import functools
import os
import tempfile
from pathlib import Path

from littoral.artifact.manifest import MODEL_SECTION, Manifest
from littoral.artifact.sections import custom_section, digest
from littoral.errors import ArtifactError, NotFoundError, TooLargeError

__all__ = ["FILE_BYTES_MAX", "Model", "read_bounded", "write_atomically"]

FILE_BYTES_MAX = 1 << 32


class Model:
    """One compiled model. Immutable; equal bytes are equal models.

    Raises ArtifactError for bytes without a valid `littoral.model` section.
    """

    def __init__(self, wasm: bytes) -> None:
        self.wasm = bytes(wasm)
        if (section := custom_section(self.wasm, MODEL_SECTION)) is None:
            raise ArtifactError(
                f"WebAssembly module has no section `{MODEL_SECTION}`",
                hint="only modules made by `littoral build` or `littoral.compile` are models",
            )
        self.manifest = Manifest.decode(section)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return digest(self.wasm)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Model":
        """The model in a file. Raises NotFoundError or ArtifactError, naming the file."""
        file = Path(path)
        try:
            wasm = file.read_bytes()
        except OSError as error:
            raise NotFoundError(f"model `{file}`: {error.strerror}") from error
        try:
            return cls(wasm)
        except ArtifactError as error:
            raise ArtifactError(f"model `{file}`: {error.message}", hint=error.hint) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file as a whole or not at all."""
        write_atomically(Path(path), self.wasm)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.wasm == other.wasm

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Model({self.manifest.name!r}, {len(self.wasm)} bytes, sha256 {self.digest[:12]}…)"


def read_bounded(path: Path, what: str, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """A whole file. what: opens every message. Raises NotFoundError, TooLargeError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(min(bytes_max, os.fstat(stream.fileno()).st_size) + 1)  # is allocated at once
    except OSError as error:
        raise NotFoundError(f"{what} `{path}`: {error.strerror}") from error
    if len(data) > bytes_max:
        raise TooLargeError(f"{what} `{path}` has more than {bytes_max} bytes")
    return data


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Temporary file, fsync, rename, fsync of the folder: after a crash the old file or the new one is there."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
