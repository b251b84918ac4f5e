"""The fleet's orchestrator as one more node that steps may go to, over HTTP(S), with this node's own token.

Whoever does it there has the same model, by its digest: the frames are those of the mesh, and so are the checks.
"""

from collections.abc import Iterator
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import PeerError, SettingError
from littoral.node.site import Site
from littoral.node.updates_tables import BEARER, FOLDER
from littoral.steps.door import FRAME_BYTES_MAX, Door
from littoral.steps.messages import LOADS
from littoral.steps.tally import OUTCOMES, Tally
from littoral.tables.addresses import is_own_address
from littoral.telemetry import Reading
from littoral.transport import OnLiveness

__all__ = ["FLEET", "FleetWay", "fleet_way"]

FLEET = "fleet:orchestrator"
"""No node can have this name."""
STEPS = "/fleet/v1/steps"
TOKEN_BYTES_MAX = 4096


class FleetWay:
    """For one event loop; `close` it. token_file: of the enrolled node, read for each request."""

    body_bytes_max = FRAME_BYTES_MAX

    def __init__(self, url: str, token_file: Path, clock: Clock, *, ca: str | None) -> None:
        self._token_file = token_file
        self._door = Door(url + STEPS, "orchestrator", self._token, ca=ca)
        self.tally = Tally(clock)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:  # noqa: ARG002
        """Raises what `Door` raises, PeerError before the node is enrolled."""
        if service == LOADS:
            return await self._door.loads(deadline_s)
        with self.tally.one():
            self.tally.bytes["sent"] += len(body)
            answer = await self._door.step(body, deadline_s)
            self.tally.bytes["received"] += len(answer)
        return answer

    def alive(self) -> frozenset[str]:
        return frozenset({FLEET})

    def watch(self, on_liveness: OnLiveness) -> None:
        """It is there as far as anybody knows before asking."""
        on_liveness(FLEET, True)

    async def close(self) -> None:
        await self._door.close()

    def readings(self) -> Iterator[Reading]:
        """For the metrics."""
        for outcome in OUTCOMES:
            yield Reading("littoral_fallback_steps_total", (outcome,), self.tally.outcomes[outcome])
        for direction in ("sent", "received"):
            yield Reading("littoral_fallback_bytes_total", (direction,), self.tally.bytes[direction])
        yield Reading("littoral_fallback_duration_seconds", (), self.tally.spread)

    def _token(self) -> str:
        try:
            with self._token_file.open("rb") as stream:
                return stream.read(TOKEN_BYTES_MAX).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PeerError("this node is not enrolled in its fleet yet") from error


def fleet_way(site: Site, clock: Clock) -> FleetWay | None:
    """Where the site file asks for it. Raises SettingError for a trust file that is none, and for an address at which
    the data could be read on the way.
    """
    if site.placement is None or not site.placement.fallback or site.updates is None:
        return None
    from littoral.updates.trust.trust_file import TrustFile  # of a node in no fleet nothing of fleets is imported

    file = site.path_of(site.updates.trust)
    trust = TrustFile.read(file)
    if not trust.orchestrator.startswith("https://") and not is_own_address(trust.orchestrator):
        raise SettingError(
            f"{site.file}: `placement.fallback`: the orchestrator of `{file}` is `{trust.orchestrator[:200]}`, must be "
            "https: what steps are given goes there",
            hint="TLS of the orchestrator, and `littoral fleet trust` again",
        )
    return FleetWay(trust.orchestrator.rstrip("/"), site.data / FOLDER / BEARER, clock, ca=trust.ca)
