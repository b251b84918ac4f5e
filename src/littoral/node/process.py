"""The node process: `python -m littoral.node.process <site file> [<host:port> [<copy>]]`, started by the supervisor.

copy: what the site file said when it was taken. SIGTERM ends it in order. What keeps it from starting goes to the
supervisor, and to stderr.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from littoral.clock import SYSTEM
from littoral.errors import LittoralError, SetupError
from littoral.node.config.hot import Hot, log_options
from littoral.node.config.texts import read_text
from littoral.node.http import application
from littoral.node.mqtt.service import mqtt_routes
from littoral.node.observed import Observed
from littoral.node.oip import Inference, grpc_interface
from littoral.node.opened_access import open_access, open_certificates
from littoral.node.reload import reloading
from littoral.node.service_manager import SHARE, watchdog_s
from littoral.node.site import Site, parse_address, parse_site
from littoral.node.supervisor_link import SupervisorLink
from littoral.node.undelivered import without_undelivered
from littoral.node.wiring import open_node
from littoral.telemetry import Log, LogOptions
from littoral.web import Limits, serving

if TYPE_CHECKING:
    from littoral.node.updates.folder import Local

__all__ = ["main"]

_log = logging.getLogger("littoral.node")

GRACE_S = 0.7
"""For requests in flight; the supervisor gives the node 1.4 s in all."""


def main(arguments: list[str]) -> int:
    """Exit code 0 after SIGTERM, 1 if the node failed, 2 for wrong arguments."""
    link = SupervisorLink.from_environment()
    log = Log.start(LogOptions())
    if not 1 <= len(arguments) <= 3:
        _say("usage: python -m littoral.node.process <site file> [<host:port> [<copy>]]")
        return 2

    def read() -> Site:
        site = parse_site(read_text(Path(arguments[-1] if len(arguments) == 3 else arguments[0])), Path(arguments[0]))
        return site.listening_at(parse_address(arguments[1])) if len(arguments) > 1 else site

    try:
        site = read()
        log = Log.start(log_options(site))
        _hear_zenoh(site)
        local = _begin_updates(site)
        while not _has_served(site, link, log, read, local):  # each time with a deployment less to go back to
            pass
    except (LittoralError, OSError) as error:
        link.failed(str(error))
        return 1
    finally:
        log.stop()
    return 0


def _has_served(site: Site, link: SupervisorLink, log: Log, read: Callable[[], Site], local: "Local | None") -> bool:
    """Until SIGTERM; False where the node can be opened with a deployment before."""
    try:
        uvloop.run(serve(site, link, log, read, local))
    except LittoralError as error:
        if local is None or not local.failed_to_open(site, str(error)):
            raise
        _say(f"{error}; the node goes back to the deployment before")
        return False
    except OSError:
        if local is not None:
            local.excuse()
        raise
    return True


async def serve(
    site: Site, link: SupervisorLink, log: Log, read: Callable[[], Site], local: "Local | None" = None
) -> None:
    """Until SIGTERM. read: the site file as it is to be now. local: what of a fleet lies here, if it is in one."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with link, open_node(site, link, say=_say) as node:
        node.log = log
        limits = Limits(**msgspec.structs.asdict(site.limits))
        host, port = site.listen
        observed = Observed(node)
        inference = Inference(node, observed)
        access, certificates = open_access(site, node.clock, node.tenants), open_certificates(site, node.clock)
        handler = application(node, observed, inference, access, is_secure=certificates is not None)
        async with (
            serving(handler, host=host, port=port, limits=limits, grace_s=GRACE_S, certificates=certificates) as server,
            grpc_interface(site, inference, _say, access) as grpc,
            mqtt_routes(without_undelivered(site), node, observed),
            reloading(hot := Hot(node, observed, server, read, _say, _brought(local)), link),
            _updating(local, site, hot, observed, stopped.set),
            signs_of_life(link),
        ):
            observed.served_by(server, grpc)
            node.tell_ready(is_ready=True, listen=server.address)
            link.ready(node.listen)
            await stopped.wait()
            node.tell_ready(is_ready=False)


@contextlib.asynccontextmanager
async def signs_of_life(link: SupervisorLink) -> AsyncIterator[None]:
    """From this loop, which serves every request, as often as a service manager asks for them."""
    if (limit_s := watchdog_s()) is None:
        yield
        return

    async def go_on() -> None:
        while True:
            link.alive()
            await asyncio.sleep(SHARE * limit_s)

    telling = asyncio.create_task(go_on())
    try:
        yield
    finally:
        telling.cancel()


def _begin_updates(site: Site) -> "Local | None":
    if site.updates is None:
        return None
    from littoral.node.updates.folder import begin

    return begin(site, SYSTEM)


def _brought(local: "Local | None") -> Collection[str]:
    """Roles of the deployment that runs."""
    running = None if local is None else local.deployments.running
    return () if running is None else running.items.keys()


@contextlib.asynccontextmanager
async def _updating(
    local: "Local | None", site: Site, hot: Hot, observed: Observed, restart: Callable[[], None]
) -> AsyncIterator[None]:
    if local is None:
        yield
        return
    if find_spec("tuf") is None:
        raise SetupError(f"{site.file}: `updates` needs an extra", hint='pip install "littoral[fleet]"')
    from littoral.node.updates.service import updating

    async with updating(local, site, hot, observed, say=_say, restart=restart):
        yield


def _hear_zenoh(site: Site) -> None:
    # Without the extra the node says so when it opens the mesh.
    if site.mesh is not None and find_spec("zenoh") is not None:
        from littoral.mesh.zenoh_log import ZenohLog

        ZenohLog.start()


def _say(line: str) -> None:
    _log.info("%s", line, extra={"suppressed": 0})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
