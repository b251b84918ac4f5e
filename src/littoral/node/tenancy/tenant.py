"""One tenant of a running node: what it sees, what it may use, and what it uses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.oip.inference import Inference
from littoral.node.quota_table import QuotaTable
from littoral.node.request_rate import Rate
from littoral.node.site_tables import CacheTable
from littoral.runtime.gate import Gate
from littoral.telemetry import Reading
from littoral.vectors.quota import Bounds, StoreQuota

if TYPE_CHECKING:
    from littoral.node.audit.trail import Trail
    from littoral.node.gateway_tables import TenantGatewayTable

__all__ = ["QUOTAS", "Tenant", "bounds_of"]

QUOTAS = ("requests_per_s", "inferences_max", "store")
"""What a request can be over: `store` is points and disk."""


def bounds_of(quota: QuotaTable) -> Bounds:
    """Of its collections."""
    return Bounds(quota.collections_max, quota.points_max, quota.disk_mb << 20)


@dataclass
class Tenant:
    """node: as the tenant sees it, and nothing else. observed, inference: of that. trail: what it does is told there,
    in the node's audit log, if it keeps one. has_gateway: what it may have of the gateway. http_count: of its requests
    over HTTP that are being answered.
    """

    name: str
    quota: QuotaTable
    node: Node
    observed: Observed
    inference: Inference
    gate: Gate
    rate: Rate
    store: StoreQuota
    trail: "Trail | None" = None
    has_gateway: "TenantGatewayTable | None" = None
    http_count: Callable[[], int] = lambda: 0

    async def limit(self, quota: QuotaTable, cache: CacheTable) -> None:
        """Another quota from now on; what is there stays, but for what no longer fits its caches.

        cache: their sizes.
        """
        self.quota = quota
        self.rate.limit(quota.requests_per_s)
        await self.gate.limit(quota.inferences_max)
        self.store.limit(bounds_of(quota))
        self.node.collections.count_max = quota.collections_max
        await self.node.caches.limit(cache)

    @property
    def busy_count(self) -> int:
        """Requests that are being answered."""
        return max(self.http_count(), self.gate.statistics().busy)

    @property
    def cache_bytes(self) -> int:
        """That its caches hold."""
        caches = self.node.caches
        near, _ = caches.results.near_statistics()
        return caches.embedding_statistics().bytes + caches.results.exact_statistics().bytes + near.bytes

    @property
    def refused(self) -> dict[str, int]:
        """Requests since the start, by the quota that they were over."""
        counts = (self.rate.refused_count, self.gate.statistics().refused, self.store.refused_count)
        return dict(zip(QUOTAS, counts, strict=True))

    def told(self) -> dict[str, Any]:
        """JSON: quotas, and what is used of them."""
        gate, usage, quota = self.gate.statistics(), self.store.usage, self.quota
        return {
            "name": self.name,
            "requests": {"taken": self.rate.taken_count, "per_s_max": quota.requests_per_s},
            "inferences": {"busy": gate.busy, "waiting": gate.waiting, "max": quota.inferences_max},
            "collections": {"count": len(self.node.collections.names()), "max": quota.collections_max},
            "points": {"count": usage.points, "max": quota.points_max},
            "disk": {"bytes": usage.disk_bytes, "bytes_max": quota.disk_mb << 20},
            "cache": {"bytes": self.cache_bytes, "bytes_max": quota.cache_mb << 20},
            "refused": self.refused,
        }

    def readings(self) -> Iterator[Reading]:
        """For a scrape of the operator."""
        gate, usage = self.gate.statistics(), self.store.usage
        values = {
            "littoral_tenant_requests_total": self.rate.taken_count,
            "littoral_tenant_inferences_total": gate.entered,
            "littoral_tenant_inferences_busy": gate.busy,
            "littoral_tenant_inferences_waiting": gate.waiting,
            "littoral_tenant_points": usage.points,
            "littoral_tenant_disk_bytes": usage.disk_bytes,
            "littoral_tenant_cache_bytes": self.cache_bytes,
        }
        yield from (Reading(metric, (self.name,), value) for metric, value in values.items())
        for quota, count in self.refused.items():
            yield Reading("littoral_tenant_refused_total", (self.name, quota), count)
