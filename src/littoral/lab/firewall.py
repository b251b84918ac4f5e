"""Cuts between nodes made by nftables, in the kernel: each namespace drops what comes from whom it is cut off from.

Where packets arrive, not where they leave: a sender whose own kernel refuses a packet is told so, and no network does
that.
"""

import shutil
import subprocess
from collections.abc import Collection, Mapping

from littoral.errors import NodeError
from littoral.lab.namespaces import address_of
from littoral.lab.shape import Way, is_between

__all__ = ["Firewall", "has_firewall"]

TABLE = "littoral_lab"
WAIT_S = 10.0
RULES = """table ip {table}
delete table ip {table}
table ip {table} {{
  chain arriving {{
    type filter hook input priority -300; policy accept;
    {rule}
  }}
}}
"""


class Firewall:
    """Of one lab. namespaces: by node. away: nodes that are cut off from the others. Raises NodeError."""

    def __init__(self, namespaces: Mapping[int, str]) -> None:
        self._namespaces = namespaces
        self.away: frozenset[int] = frozenset()

    def cut(self, nodes: Collection[int], way: Way = "both") -> None:
        """See `Wires.cut`."""
        self.away = frozenset(nodes)
        for number in self._namespaces:
            self._drop_from(number, [one for one in self._namespaces if is_between(self.away, way, one, number)])

    def heal(self) -> None:
        """Nothing is dropped any more."""
        self.away = frozenset()
        for number in self._namespaces:
            self._drop_from(number, [])

    def _drop_from(self, number: int, origins: Collection[int]) -> None:
        rule = f"ip saddr {{ {', '.join(map(address_of, origins))} }} drop" if origins else ""
        load(self._namespaces[number], RULES.format(table=TABLE, rule=rule))


def has_firewall(namespace: str) -> bool:
    """Whether there is `nft`, and a kernel that does what it says."""
    if shutil.which("nft") is None:
        return False
    try:
        load(namespace, RULES.format(table=TABLE, rule=f"ip saddr {{ {address_of(0)} }} accept"))
    except NodeError:
        return False
    return True


def load(namespace: str, rules: str) -> None:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, "nft", "-f", "-"],
        input=rules,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    if done.returncode:
        raise NodeError(f"`nft` in `{namespace}`: {done.stderr.strip() or done.returncode}")
