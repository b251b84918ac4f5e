"""A site goes over to another authority: begun with the root, finished when every node has shown what it issued.

Each step is one document on disk, so that what was interrupted is done again, or was done.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from littoral.errors import ConflictError, NotFoundError, TrustError
from littoral.mesh.identity.founding import Root
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.showing import read_shown
from littoral.mesh.rollover import OLD_COUNT_MAX, Rollover
from littoral.mesh.roster import Roster
from littoral.mesh.trust.certificates import Certificate, issued_at_s, make_cross, make_issuing, pem_of_chain
from littoral.mesh.trust.keys import new_issuing_key

__all__ = ["RolloverState", "begin_rollover", "finish_rollover", "rollover_state"]

NAMED_MAX = 12


class RolloverState(NamedTuple):
    """The latest change. shown: when, by node, as the writer was shown; waiting: members that are still to show."""

    rollover: Rollover
    shown: Mapping[str, int]
    waiting: list[str]


def rollover_state(identity: Identity) -> RolloverState | None:
    """None: the site has the authority it was founded with. On another node than the writer all are waited for."""
    roster = identity.roster()
    if roster is None or roster.rollover is None:
        return None
    shown = read_shown(identity)
    waiting = [] if roster.rollover.is_finished else [name for name in roster.names if name not in shown]
    return RolloverState(roster.rollover, shown, waiting)


def begin_rollover(identity: Identity, root: Root, *, within_s: int) -> None:
    """A new authority beside the one that is; nodes renew within `within_s`, and issuers fetch its key.

    Raises TrustError for another site's root, ForbiddenError on another node than the writer, ConflictError while
    another change is on its way. One whose key is nowhere any more may be begun again.
    """
    if root.certificate != identity.trust.root:
        raise TrustError(f"this root has not signed the authority of `{identity.trust.site}`")
    identity.documents.refresh()
    identity.follow()
    issuer = Issuer(identity)
    issuer.write(lambda roster: _begun(roster, identity, issuer, root, within_s))
    identity.follow()
    issuer.sign_anew()


def _begun(roster: Roster, identity: Identity, issuer: Issuer, root: Root, within_s: int) -> Roster:
    trust, (authority, key) = identity.trust, issuer.signing()
    if authority == trust.issuing and trust.older:
        raise ConflictError(
            f"`{trust.site}` goes over to another authority already",
            hint="`littoral mesh rollover status` says what it waits for, `littoral mesh rollover finish` ends it",
        )
    if len(trust.authorities) > OLD_COUNT_MAX:
        raise ConflictError(f"`{trust.site}` has {len(trust.authorities)} authorities: finish first")
    now_s, new_key = identity.clock.wall(), new_issuing_key()
    made_s = max(now_s, issued_at_s(trust.issuing) + 1)
    new = make_issuing(trust.site, new_key.public_key(), root.certificate, root.key, made_s)
    cross = make_cross(new, authority, key)
    old = [authority, *(one for one in trust.authorities if one != authority)]
    identity.issuing_keys.add(new_key, trust)
    rollover = Rollover(_pem(new), [_pem(one) for one in old], _pem(cross), int(now_s), within_s)
    return msgspec.structs.replace(roster, rollover=rollover)


def finish_rollover(identity: Identity, *, without: Collection[str] = ()) -> None:
    """From now on only the new authority counts. without: members that are left behind: they join again.

    Raises ConflictError where a member has not shown a certificate by it and is not named, and where nothing is on
    its way, NotFoundError for a name that is no member, ForbiddenError on another node than the writer.
    """
    identity.documents.refresh()
    identity.follow()
    issuer = Issuer(identity)
    if issuer.signing().authority != identity.trust.issuing:
        raise ConflictError(
            f"node `{identity.name}` has not got the key of the new authority",
            hint="it fetches it while it runs; where nobody has it, begin again",
        )
    issuer.sign_anew()
    issuer.write(lambda roster: _finished(roster, identity, without))
    identity.follow()


def _finished(roster: Roster, identity: Identity, without: Collection[str]) -> Roster:
    rollover = roster.rollover
    if rollover is None or rollover.is_finished:
        raise ConflictError(f"`{identity.trust.site}` does not go over to another authority")
    if unknown := sorted(set(without) - set(roster.names)):
        raise NotFoundError(f"node `{unknown[0]}` is not in the roster")
    if identity.name in without:
        raise ConflictError(
            f"node `{identity.name}` writes the roster, and cannot be left behind",
            hint="it renews while it runs, `littoral mesh take-over` makes another issuer the writer",
        )
    shown = read_shown(identity)
    if waiting := [name for name in roster.names if name not in shown and name not in without]:
        more = f" and {len(waiting) - NAMED_MAX} more" if len(waiting) > NAMED_MAX else ""
        names = ", ".join(f"`{name}`" for name in waiting[:NAMED_MAX])
        raise ConflictError(
            f"not every node has shown a certificate by the new authority: {names}{more}",
            hint="it does when it is here, or comes back by `littoral mesh renew`; `--without NODE` leaves it behind",
        )
    left = sorted(set(without) - shown.keys())
    finished = msgspec.structs.replace(rollover, finished_at_s=int(identity.clock.wall()), without=left)
    return msgspec.structs.replace(roster, rollover=finished)


def _pem(certificate: Certificate) -> str:
    return pem_of_chain([certificate]).decode()
