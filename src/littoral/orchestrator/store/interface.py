"""What a store of an orchestrator must do: rows by key, and several changes at once or none of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from littoral.orchestrator.store.rows import Row

__all__ = ["Add", "Change", "Delete", "Put", "R", "Store", "Trim"]

R = TypeVar("R", bound=Row)


class Put(NamedTuple):
    """The row is there, in the place of one with its key."""

    row: Row


class Add(NamedTuple):
    """The row is there; a ConflictError if there was one with its key."""

    row: Row


class Delete(NamedTuple):
    """The rows with these values are gone."""

    kind: type[Row]
    where: Mapping[str, str | int]


class Trim(NamedTuple):
    """Of rows with a `number`, the newest so many stay."""

    kind: type[Row]
    keep: int


Change = Put | Add | Delete | Trim


class Store(Protocol):
    """For one thread at a time. Everything raises UnavailableError while the database is away."""

    def write(self, changes: Sequence[Change]) -> None:
        """All of them, on the disk when it returns, or none. Raises ConflictError."""
        ...

    def get(self, kind: type[R], **key: str | int) -> R | None: ...

    def rows(
        self,
        kind: type[R],
        where: Mapping[str, str | int] = {},
        *,
        newest: int | None = None,
        before: int | None = None,
    ) -> list[R]:
        """With these values, in the order of their keys. newest: at most so many, by falling `number`; before: of
        those below it.
        """
        ...

    def close(self) -> None: ...
