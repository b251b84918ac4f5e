"""Who this node is in its fleet: a key made here, a claim that is good once or often, and the token that it gave."""

import platform
from typing import Any

import msgspec

import littoral
from littoral.artifact.disk import FolderDisk
from littoral.node.claims import read_claim
from littoral.node.site import Site
from littoral.node.updates_tables import BEARER
from littoral.updates.calls import Calls
from littoral.updates.membership import FILE, Membership
from littoral.updates.wire import Enrol

__all__ = ["enrol", "facts"]

KEY = "node.key"


def enrol(calls: Calls, site: Site, disk: FolderDisk) -> Membership:
    """Asks once. Raises SettingError where there is no claim, and as `Calls`. Blocks."""
    from littoral.artifact.ed25519 import SecretKey, read_secret_key

    assert site.updates is not None
    claim = read_claim(site)
    if (pem := disk.read(KEY)) is None:
        pem = SecretKey.new().pem
        disk.replace(KEY, pem)
    key = read_secret_key(pem)
    asked = Enrol(
        claim=claim,
        public_key=key.public.pem.decode(),
        node=site.updates.node,
        labels=dict(site.updates.labels),
        facts=facts(),
    )
    enrolled = calls.enrol(asked)
    found = Membership(enrolled.node, enrolled.token)
    disk.replace(BEARER, f"{found.token}\n".encode())
    disk.replace(FILE, msgspec.json.encode(found))
    return found


def facts() -> dict[str, Any]:
    """Of the machine, for people who look at a fleet."""
    return {"littoral": littoral.__version__, "machine": platform.machine(), "system": platform.platform(terse=True)}
