"""From what a fleet's repositories say, verified, to the plan of a slot. Pure."""

from collections.abc import Mapping

from littoral.updates.artifacts import ArtifactName
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.targets import TargetFile
from littoral.updates.wire import Desired

__all__ = ["plan_of"]


def plan_of(desired: Desired, targets: Mapping[str, TargetFile]) -> Plan:
    """targets: by name, all that `desired` needs."""
    roles = {f"models/{name}": target for name, target in desired.models.items()}
    roles |= {f"agents/{name}": target for name, target in desired.agents.items()}
    roles |= {f"dashboards/{ArtifactName.parse(target).name}": target for target in desired.dashboards}
    if desired.site is not None:
        roles["site"] = desired.site
    items: dict[str, Item] = {}
    for role, target in roles.items():
        found = targets[target]
        test = found.custom.self_test
        test_role = None if test is None or test not in targets else f"selftests/{role.partition('/')[2]}"
        items[role] = Item(target, found.sha256, found.length, test_role, found.custom.littoral_min)
        if test_role is not None and test is not None:
            items[test_role] = Item(test, targets[test].sha256, targets[test].length)
    return Plan(desired.deployment, items, desired.gates, desired.windows, desired.bytes_per_s_max)
