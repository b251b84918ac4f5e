"""Panels of the Grafana boards, and the PromQL that they have in common. `AT` stands for the nodes that are chosen."""

from typing import NamedTuple


class Panel(NamedTuple):
    """expressions: PromQL and what a line of it is called. `AT` stands for the nodes that are chosen."""

    title: str
    unit: str
    expressions: tuple[tuple[str, str], ...]


def rate(metric: str, by: str = "", more: str = "") -> str:
    """What happens a second, summed over everything but `by`."""
    return (
        f"sum by ({by}) (rate({metric}{{AT{more}}}[$__rate_interval]))"
        if by
        else (f"sum(rate({metric}{{AT{more}}}[$__rate_interval]))")
    )


def quantile(share: float, metric: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{AT}}[$__rate_interval])))"


def share(part: str, whole: str) -> str:
    """Nothing where there is nothing to have a share of."""
    return f"{part} / ({whole} > 0)"
