"""What a node is given once, by hand or with its image: roots of both repositories, and where its orchestrator is."""

import json
from pathlib import Path
from typing import Any, Literal

import msgspec

from littoral.artifact.model import write_atomically
from littoral.errors import SettingError

__all__ = ["TrustFile"]

FILE_BYTES_MAX = 1 << 20


class TrustFile(msgspec.Struct, frozen=True, kw_only=True):
    """image_root, director_root: signed metadata, any version whose keys still count. ca: PEM, for an orchestrator
    whose certificate no public authority has signed.
    """

    format: Literal[1] = 1
    image_root: dict[str, Any]
    director_root: dict[str, Any]
    orchestrator: str
    ca: str | None = None

    @classmethod
    def of(cls, image_root: bytes, director_root: bytes, orchestrator: str, ca: str | None = None) -> "TrustFile":
        """Of roots as they are served."""
        image, director = json.loads(image_root), json.loads(director_root)
        return cls(image_root=image, director_root=director, orchestrator=orchestrator, ca=ca)

    @classmethod
    def read(cls, file: Path) -> "TrustFile":
        """Raises SettingError."""
        try:
            with file.open("rb") as stream:
                data = stream.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise SettingError(
                f"trust file `{file}`: {error.strerror}", hint="`littoral fleet trust` of the orchestrator writes it"
            ) from error
        if len(data) > FILE_BYTES_MAX:
            raise SettingError(f"trust file `{file}`: over {FILE_BYTES_MAX} bytes")
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise SettingError(f"trust file `{file}`: {error}", hint="`littoral fleet trust` writes it") from error

    @property
    def text(self) -> bytes:
        """For a file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    def write(self, file: Path) -> None:
        """Atomically."""
        write_atomically(file, self.text)

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """Of image and director, as they were signed."""
        return msgspec.json.encode(self.image_root), msgspec.json.encode(self.director_root)
