"""Which models upstreams have, by name: those of the site file, and for its patterns what services say themselves."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from littoral.clock import Clock
from littoral.errors import UpstreamError
from littoral.gateway.upstream import Ask, Service, Upstream

__all__ = ["Listing"]

KEPT_S = 300.0
TOLD_S = 5.0
LIST_BYTES_MAX = 1 << 20
NAMES_MAX = 1000
WILD = frozenset("*?[")


class Listing:
    """What a service said counts for five minutes, and on while it says nothing."""

    def __init__(self, service: Service, upstreams: Sequence[Upstream], clock: Clock) -> None:
        self._service = service
        self._upstreams = upstreams
        self._clock = clock
        self._said: dict[str, list[str]] = {}
        self._asked_at_s: dict[str, float] = {}

    async def names(self) -> dict[str, str]:
        """By model, the upstream that is named first."""
        await asyncio.gather(*(self._ask(one) for one in self._upstreams if self._is_due(one)))
        found: dict[str, str] = {}
        for one in self._upstreams:
            plain = [name for name in one.models if not WILD & set(name)]
            for name in (*plain, *one.rename, *filter(one.takes, self._said.get(one.name, ()))):
                found.setdefault(name, one.name)
        return found

    def _is_due(self, one: Upstream) -> bool:
        is_wild = any(WILD & set(name) for name in one.models)
        return is_wild and self._clock.monotonic() - self._asked_at_s.get(one.name, -KEPT_S) >= KEPT_S

    async def _ask(self, one: Upstream) -> None:
        self._asked_at_s[one.name] = self._clock.monotonic()
        try:
            async with self._service.ask(one, Ask("/models", b"", TOLD_S, method="GET")) as reply:
                data = await reply.read(LIST_BYTES_MAX)
            told = msgspec.json.decode(data, type=dict[str, Any]).get("data") if reply.status == 200 else None
        except (UpstreamError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        rows = told[:NAMES_MAX] if isinstance(told, list) else []
        self._said[one.name] = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
