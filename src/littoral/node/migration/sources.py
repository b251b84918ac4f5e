"""What was embedded, as a point keeps it: a text in its payload, or a file that its payload names."""

from pathlib import Path
from typing import Literal, NamedTuple

from littoral.errors import ConflictError, InputError
from littoral.node.migrate_tables import WayTable
from littoral.vectors.filters import Condition, Filter, PayloadField
from littoral.vectors.records import Payload, PointBatch, vectors_of

__all__ = ["FILE_BYTES_MAX", "Source"]

FILE_BYTES_MAX = 64 << 20


class Source(NamedTuple):
    """Of one vector. folder: of the files that `file:KEY` names."""

    kind: Literal["payload", "file"]
    key: str
    folder: Path
    vector: str = ""

    @classmethod
    def of(cls, way: WayTable, folder: str, base: Path, vector: str = "") -> "Source":
        """base: that the folder is relative to."""
        kind, _, key = way.source.partition(":")
        return cls("file" if kind == "file" else "payload", key, (base / folder).resolve(), vector)

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}"

    def read(self, payload: Payload | None) -> bytes:
        """What was embedded. Raises InputError where it is not there."""
        text = self.text(payload)
        if self.kind == "payload":
            return text.encode()
        file = (self.folder / text).resolve()
        if not file.is_relative_to(self.folder) or not file.is_file():
            raise InputError(f"file `{text[:200]}` is not there below `{self.folder}`")
        if (size := file.stat().st_size) > FILE_BYTES_MAX:
            raise InputError(f"file `{text[:200]}` has {size} bytes, at most {FILE_BYTES_MAX}")
        return file.read_bytes()

    def text(self, payload: Payload | None) -> str:
        """What the key holds. Raises InputError."""
        text = (payload or {}).get(self.key)
        if not isinstance(text, str) or not text:
            raise InputError(f"payload has no text at `{self.key}`")
        return text

    def is_in(self, payload: Payload | None) -> bool:
        """Whether the payload says what was embedded."""
        text = (payload or {}).get(self.key)
        return isinstance(text, str) and bool(text)

    def check(self, batch: PointBatch, collection: str) -> None:
        """Raises ConflictError where a point that has the vector cannot be embedded by the other model."""
        payloads = batch.payloads or [None] * len(batch.ids)
        for point, payload, vector in zip(batch.ids, payloads, vectors_of(batch, self.vector), strict=True):
            if vector is None:
                continue
            try:
                self.text(payload)
            except InputError as error:
                key = f"named.{self.vector}.source" if self.vector else "source"
                raise ConflictError(
                    f"collection `{collection}` has two generations, and point `{point}` cannot be embedded for both: "
                    f"{error.message}",
                    hint=f"`collections.{collection}.migrate.{key}` is `{self}`: write what was embedded there",
                ) from error

    def lacking(self, *, among_others: bool = False) -> Filter:
        """Finds the points that do not keep it. among_others: of those that have the vector."""
        lacks = Condition(is_empty=PayloadField(key=self.key))
        return Filter(must=[lacks, Condition(has_vector=self.vector)] if among_others else [lacks])
