"""What one simulation is to be, from its seed: how large, how its collection is spread, what goes wrong and when."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Literal, NamedTuple

from littoral.errors import InputError
from littoral.mesh.shard_map import Strategy

__all__ = ["KINDS", "LAYOUTS", "WITH", "Fault", "Kind", "Plan", "World"]

Kind = Literal[
    "crash", "power", "freeze", "cut", "one-way", "slow", "loss", "twice", "clock", "full", "layout", "roster", "model"
]
World = Literal["regions", "roster", "models", "named", "made"]
"""What a site may have beside nodes: regions of which one keeps its points, identities that are given and revoked, a
collection that goes to another embedding model, points with two vectors of which cells are of one, further collections
that come and go by requests.
"""

KINDS: tuple[Kind, ...] = (
    "crash",
    "power",
    "freeze",
    "cut",
    "one-way",
    "slow",
    "loss",
    "twice",
    "clock",
    "full",
    "layout",
)
LAYOUTS: tuple[Kind, ...] = ("layout", "layout", "layout")
CALM_S = 3.0
FAULT_S = (0.5, 6.0)
NODES_PER_FAULT = 20
FAULTS_MIN = 5
LATE_MAX = 10
REGIONS = ("east", "north", "south")
MIGRATIONS = 3
REGIONS_WITH_ROSTER_MIN = 9
NOT_NAMED: frozenset[World] = frozenset({"regions", "models"})
MOST_OF_CUTS = 200
"""Of larger sites most cuts separate few nodes: a thousand that lose half of the others tell each other so a quarter of
a million times."""


class Fault(NamedTuple):
    """nodes: whom it befalls. strength: 0 … 1, what that means is the kind's."""

    at_s: float
    for_s: float
    kind: Kind
    nodes: tuple[str, ...]
    strength: float


class Plan(NamedTuple):
    """holders: nodes that must have a write. trouble_s: from the first fault to the end of the last.

    regions: by node; of those in `pinned` no point leaves. joining: nodes that get an identity while all go on;
    leaving: those whose identity is revoked.
    """

    seed: int
    names: tuple[str, ...]
    late: frozenset[str]
    strategy: Strategy
    shards: int
    replicas: int
    holders: int
    loss: float
    writers: int
    searchers: int
    trouble_s: float
    faults: tuple[Fault, ...]
    regions: Mapping[str, str] = {}
    pinned: tuple[str, ...] = ()
    joining: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    worlds: tuple[World, ...] = ()

    @classmethod
    def of(
        cls,
        seed: int,
        node_count: int,
        *,
        trouble_s: float = 20.0,
        kinds: tuple[Kind, ...] = KINDS,
        worlds: Iterable[World] = (),
    ) -> "Plan":
        """The same for the same arguments. Raises InputError for worlds that do not go together."""
        wanted = _together(worlds, node_count)
        rng = Random(f"{seed}/{node_count}")  # noqa: S311
        names = tuple(f"n{at:04}" for at in range(node_count))
        replicas = min(node_count, rng.choice((1, 2, 3, 3)))
        count = max(FAULTS_MIN, node_count // NODES_PER_FAULT)
        faults = sorted(_fault(rng, names, trouble_s, kinds) for _ in range(count))
        made = cls(
            seed=seed,
            names=names,
            late=frozenset(rng.sample(names[1:], min(LATE_MAX, node_count // 10))),
            strategy=rng.choice(("hash", "metric")),
            shards=min(16, max(2, node_count // 2)),
            replicas=replicas,
            holders=min(rng.randrange(1, replicas + 1), max(1, replicas - 1)),
            loss=rng.choice((0.0, 0.0, 0.02)),
            writers=4,
            searchers=4,
            trouble_s=trouble_s,
            faults=tuple(faults),
        )
        for world in wanted:
            made = WITH[world](made, Random(f"{seed}/{node_count}/{world}"))  # noqa: S311
        return made._replace(worlds=wanted)


def _together(worlds: Iterable[World], node_count: int) -> tuple[World, ...]:
    """In the order of `WITH`: regions have the last word on where points lie."""
    wanted = set(worlds)
    if "named" in wanted and (others := sorted(wanted & NOT_NAMED)):
        raise InputError(f"a site with `named` cannot have `{others[0]}` too: its points keep no text and no mark")
    if wanted >= {"regions", "roster"} and node_count < REGIONS_WITH_ROSTER_MIN:
        raise InputError(
            f"a site of {node_count} nodes cannot have `regions` and `roster`, {REGIONS_WITH_ROSTER_MIN} are the "
            "fewest: each region must keep a node while one leaves and one has not come"
        )
    return tuple(world for world in WITH if world in wanted)


def _fault(rng: Random, names: tuple[str, ...], trouble_s: float, kinds: tuple[Kind, ...]) -> Fault:
    kind = rng.choice(kinds)
    for_s = rng.uniform(*FAULT_S)
    at_s = rng.uniform(CALM_S, max(CALM_S, trouble_s - for_s))
    share = rng.random() ** max(1, len(names) // MOST_OF_CUTS) / 2
    count = max(1, round(share * len(names))) if kind in ("cut", "one-way") else 1
    return Fault(at_s, for_s, kind, tuple(rng.sample(names, count)), rng.random())


def _with_regions(plan: Plan, rng: Random) -> Plan:
    """Three, of which one or two are pinned; each has as many nodes as the others."""
    regions = {name: REGIONS[at % len(REGIONS)] for at, name in enumerate(plan.names)}
    pinned = tuple(sorted(rng.sample(REGIONS, rng.choice((1, 1, 2)))))
    return plan._replace(strategy="geographic", shards=2 * len(REGIONS), regions=regions, pinned=pinned)


def _with_roster(plan: Plan, rng: Random) -> Plan:
    """One node leaves. What it alone has is not acknowledged: two must have a write, and there are three replicas."""
    leaving = rng.choice(plan.names[1:])
    joining = rng.sample([name for name in plan.names[1:] if name != leaving], max(1, len(plan.names) // 10))
    at_s = CALM_S + rng.random() * plan.trouble_s / 2
    faults = [Fault(at_s, FAULT_S[1], "roster", (name,), rng.random()) for name in [leaving, *joining]]
    return plan._replace(
        replicas=3,
        holders=2,
        late=plan.late - {leaving, *joining},
        joining=frozenset(joining),
        leaving=frozenset([leaving]),
        faults=tuple(sorted([*plan.faults, *faults])),
    )


def _with_models(plan: Plan, rng: Random) -> Plan:
    """The collection goes to another model, and now and then back."""
    faults = [
        Fault(CALM_S + rng.random() * plan.trouble_s / 2, FAULT_S[1], "model", plan.names[:1], rng.random())
        for _ in range(MIGRATIONS)
    ]
    return plan._replace(strategy="hash", faults=tuple(sorted([*plan.faults, *faults])))


def _with_named(plan: Plan, _rng: Random) -> Plan:
    """Cells of one vector, which changes of layout make cells of the other."""
    return plan._replace(strategy="metric")


def _with_made(plan: Plan, _rng: Random) -> Plan:
    """Clients that make and delete collections."""
    return plan


WITH: Mapping[World, Callable[[Plan, Random], Plan]] = {
    "models": _with_models,
    "named": _with_named,
    "regions": _with_regions,
    "roster": _with_roster,
    "made": _with_made,
}
