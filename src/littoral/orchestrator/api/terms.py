"""On what terms nodes take a version, as operators may set them: within bounds, and no key that is not known."""

from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.updates.wire import Gates, Window

__all__ = ["GatesOrder", "WindowOrder", "Windows", "gates_of", "windows_of"]

WEEK_S = 604_800
LOOPBACK = r"^http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(/|$)"
Seconds = Annotated[float, Meta(ge=0, le=WEEK_S)]
Minute = Annotated[int, Meta(ge=0, le=1440)]
Day = Annotated[int, Meta(ge=0, le=6)]


class GatesOrder(Gates, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """As `Gates`."""

    errors_max: Annotated[float, Meta(ge=0, le=1)] = 0.01
    p99_ratio_max: Annotated[float, Meta(ge=0.1, le=1_000_000)] = 1.5
    drift_max: Annotated[float, Meta(ge=0, le=2)] = 0.1
    memory_mb_max: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    canary_s: Seconds = 30.0
    canary_requests_min: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    watch_s: Seconds = 60.0
    hook: Annotated[str, Meta(pattern=LOOPBACK, max_length=2000)] | None = None


class WindowOrder(Window, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `Window`."""

    days: Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)] = (0, 1, 2, 3, 4, 5, 6)
    from_minute: Minute = 0
    to_minute: Minute = 1440


Windows = Annotated[tuple[WindowOrder, ...], Meta(max_length=64)]


def gates_of(order: GatesOrder) -> Gates:
    """As they are kept."""
    return Gates(**msgspec.structs.asdict(order))


def windows_of(orders: tuple[WindowOrder, ...]) -> tuple[Window, ...]:
    """As they are kept."""
    return tuple(Window(**msgspec.structs.asdict(one)) for one in orders)
