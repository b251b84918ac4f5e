"""What is open for each tenant: one leaves while the others stay, and all leave at the end of the block."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Beside", "Held"]

_T = TypeVar("_T")


class Beside(NamedTuple, Generic[_T]):
    """stack: its end."""

    found: _T
    stack: AsyncExitStack


class Held(Generic[_T]):
    """found: by tenant, in the order in which they were opened; who looks there sees what is open now."""

    def __init__(self) -> None:
        self.found: dict[str, _T] = {}
        self._stacks: dict[str, AsyncExitStack] = {}

    async def __aenter__(self) -> "Held[_T]":
        return self

    async def __aexit__(self, *exception: object) -> None:
        async with AsyncExitStack() as stack:
            for name in list(self._stacks):
                stack.push_async_callback(self.close, name)

    async def open(self, name: str, opening: AbstractAsyncContextManager[_T]) -> _T:
        """Raises what opening it raises; nothing of it is left then."""
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(opening)
            self.found[name], self._stacks[name] = found, stack.pop_all()
        return found

    async def beside(self, opening: AbstractAsyncContextManager[_T]) -> "Beside[_T]":
        """Open, and not found yet: for `exchange`, or to be closed. Raises what opening it raises."""
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(opening)
            return Beside(found, stack.pop_all())

    def exchange(self, name: str, beside: "Beside[_T]", found: _T) -> AsyncExitStack:
        """In its place. found: as it is to be seen. What is given is the former one's, for its end."""
        former = self._stacks[name]
        self.found[name], self._stacks[name] = found, beside.stack
        return former

    async def close(self, name: str) -> None:
        """One that is not open is no error."""
        self.found.pop(name, None)
        if (stack := self._stacks.pop(name, None)) is not None:
            await stack.aclose()
