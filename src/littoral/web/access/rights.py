"""Roles of tokens as a table: what each includes, and what each request needs."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

__all__ = ["Needed", "Rights", "read_table"]

Needed = frozenset[str] | str
"""Any of these roles; or a word: `open` for what tells nothing, `probes` and `metrics` for what settings may open."""


class Rights(NamedTuple):
    """included: what each role is good for, itself among it, the lowest first. http: by `METHOD /pattern`, grpc: by
    method of the service. A request that stands nowhere needs the last role.
    """

    included: Mapping[str, frozenset[str]]
    http: Mapping[str, Needed]
    grpc: Mapping[str, Needed] = {}

    @property
    def any_role(self) -> frozenset[str]:
        return frozenset(self.included)

    def needed_by_http(self, method: str, pattern: str) -> Needed:
        """For a route as `Router` has it. HEAD is GET."""
        return self.http.get(f"{'GET' if method == 'HEAD' else method} {pattern}", self._highest)

    def needed_by_grpc(self, method: str) -> Needed:
        return self.grpc.get(method, self._highest)

    def has_role(self, held: Collection[str], needed: Collection[str]) -> bool:
        """Whether one of the roles held is, or includes, one of those that are needed."""
        return any(not self.included.get(role, frozenset()).isdisjoint(needed) for role in held)

    @property
    def _highest(self) -> Needed:
        return frozenset({list(self.included)[-1]})


def read_table(table: str, roles: Collection[str]) -> Iterator[tuple[str, Needed]]:
    """Of lines `ROLE,ROLE METHOD /pattern`, or `WORD METHOD /pattern`."""
    for line in table.strip().splitlines():
        needed, *name = line.split()
        is_role = needed.partition(",")[0] in roles
        yield " ".join(name), frozenset(needed.split(",")) if is_role else needed
