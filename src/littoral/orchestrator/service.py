"""From an orchestrator's file to what serves: store, objects, keys, routes; until SIGTERM."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from littoral.audit.disk import FolderDisk
from littoral.audit.witness import Witness
from littoral.clock import SYSTEM, Clock
from littoral.errors import SettingError
from littoral.making.builds import Builds
from littoral.orchestrator.acts import Acts, audit_protocol, kept_key, opened_acts
from littoral.orchestrator.api.artifacts import artifacts_protocol
from littoral.orchestrator.api.claims import claims_protocol
from littoral.orchestrator.api.export import export_protocol
from littoral.orchestrator.api.groups import groups_protocol
from littoral.orchestrator.api.nodes import nodes_protocol
from littoral.orchestrator.api.overview import overview_protocol
from littoral.orchestrator.api.rollouts import rollouts_protocol
from littoral.orchestrator.api.signing import signing_protocol
from littoral.orchestrator.asks import Asks
from littoral.orchestrator.conductor import Conductor
from littoral.orchestrator.downloads import caps_of, downloads_protocol
from littoral.orchestrator.enrolment import Enrolment
from littoral.orchestrator.file import File
from littoral.orchestrator.fits import Fits
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.inference import Inference, inferring
from littoral.orchestrator.metrics import Observed, metrics_protocol
from littoral.orchestrator.mqtt_signal import MqttSignal
from littoral.orchestrator.node_api import NodeSide, node_protocol
from littoral.orchestrator.objects import Objects
from littoral.orchestrator.openapi import document
from littoral.orchestrator.pacing import FLEET, Cap, Pacer
from littoral.orchestrator.pages import page_protocol
from littoral.orchestrator.places import open_objects, open_store, refuse_moved
from littoral.orchestrator.registry import Registry
from littoral.orchestrator.rights import RIGHTS
from littoral.orchestrator.signing import KEYS, Signing
from littoral.orchestrator.steps_api import steps_protocol
from littoral.orchestrator.telling import Telling
from littoral.orchestrator.uploads import uploads_protocol
from littoral.tables.problems import Place
from littoral.tables.tracing import Traces, open_traces
from littoral.vectors.owner_lock import OwnerLock
from littoral.web import (
    Answer,
    Certificates,
    Hosts,
    Limits,
    Protocol,
    Request,
    Route,
    Router,
    Server,
    json_answer,
    serving,
)
from littoral.web.access.access import Access
from littoral.web.access.session_api import session_protocol
from littoral.web.access.tokens import TokenFile
from littoral.web.add_checkpoint import witness_protocol
from littoral.web.openapi import openapi_protocol

__all__ = ["Orchestrator", "opened", "run", "serving_fleet"]

GRACE_S = 1.0
WAIT_FOR_OWNER_S = 5.0
REQUEST_COUNT_MAX = 256
CA_BYTES_MAX = 1 << 20
NODES = "/fleet/v1"


class Orchestrator(NamedTuple):
    """Everything that is open."""

    file: File
    fleet: Fleet
    objects: Objects
    signing: Signing
    registry: Registry
    enrolment: Enrolment
    asks: Asks
    side: NodeSide
    conductor: Conductor
    acts: Acts
    witness: Witness
    mqtt: MqttSignal | None
    access: Access
    builds: Builds
    pacer: Pacer
    inference: Inference | None
    traces: Traces | None


@contextlib.asynccontextmanager
async def opened(file: File, clock: Clock = SYSTEM) -> AsyncIterator[Orchestrator]:
    """Raises SettingError, SetupError, UnavailableError for what is in use elsewhere."""
    await asyncio.to_thread(file.data.mkdir, parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        lock = await asyncio.to_thread(OwnerLock.take, file.data, clock, wait_s=WAIT_FOR_OWNER_S)
        stack.callback(lock.release)
        store = await asyncio.to_thread(open_store, file)
        stack.callback(store.close)
        objects = await asyncio.to_thread(open_objects, file)
        await asyncio.to_thread(refuse_moved, store, objects)
        table, limits = file.orchestrator, file.limits
        fleet = await stack.enter_async_context(
            Fleet.open(store, clock, offline_s=table.offline_s, event_count_max=limits.event_count_max)
        )
        signing = Signing(objects, file.data / KEYS, clock)
        registry = Registry(fleet, objects, signing, file.data / "coming", limits.artifact_bytes_max)
        await registry.sync()
        telling, asks = Telling(), Asks(fleet)
        await asks.load()
        enrolment = Enrolment(fleet, signing.told, table.poll_s, limits.node_count_max)
        side = NodeSide(fleet, enrolment, telling, asks, poll_s=table.poll_s, signal_count_max=limits.signal_count_max)
        conductor = Conductor(fleet, signing, telling)
        acts = await stack.enter_async_context(opened_acts(file.data, table.name, clock))
        witness = await asyncio.to_thread(_witness, file, clock)
        ring = None if file.mqtt is None else MqttSignal(file.mqtt, file.path_of, table.name, clock)
        if ring is not None:
            await stack.enter_async_context(ring.signalling(telling))
        await stack.enter_async_context(conductor.conducting())
        access = _access(file, clock)
        builds = Builds(file.data / "builds")
        stack.push_async_callback(builds.close)
        inference = await stack.enter_async_context(inferring(file, clock))
        traces = stack.enter_context(_traces(file))
        yield Orchestrator(
            file,
            fleet,
            objects,
            signing,
            registry,
            enrolment,
            asks,
            side,
            conductor,
            acts,
            witness,
            ring,
            access,
            builds,
            _pacer(fleet, limits.download_bytes_per_s_max),
            inference,
            traces,
        )


@contextlib.asynccontextmanager
async def serving_fleet(found: Orchestrator) -> AsyncIterator[Server]:
    """Over HTTP, as the file says."""
    file, clock = found.file, found.fleet.clock
    tls = file.tls
    certificates = None
    if tls is not None:
        clients = None if tls.clients is None else file.path_of(tls.clients)
        certificates = Certificates(file.path_of(tls.certificate), file.path_of(tls.key), clients, clock)
    observed = Observed(
        found.fleet,
        found.side,
        found.conductor,
        found.acts,
        found.witness,
        found.pacer,
        found.mqtt,
        found.inference,
        found.traces,
    )
    router = Router(
        protocols(found, observed, is_secure=certificates is not None),
        observe=observed.answered,
        hosts=Hosts((file.orchestrator.name, *file.orchestrator.hosts)),
        admit=found.access.check,
        request_count_max=REQUEST_COUNT_MAX,
        spans=None if found.traces is None else found.traces.spans,
        clock=clock,
    )
    limits = Limits(body_bytes_max=file.limits.body_bytes_max, connection_count_max=file.limits.connection_count_max)
    host, port = file.listen
    async with serving(
        router, host=host, port=port, limits=limits, grace_s=GRACE_S, clock=clock, certificates=certificates
    ) as server:
        yield server


def protocols(found: Orchestrator, observed: Observed, *, is_secure: bool) -> list[Protocol]:
    """Everything that it answers."""
    file, fleet, signing, registry = found.file, found.fleet, found.signing, found.registry
    url = file.orchestrator.url or f"{file.scheme}://{file.listen}"
    return found.acts.protocols(
        [
            _probes(),
            metrics_protocol(fleet, observed.metrics.text),
            session_protocol(found.access, is_secure=is_secure),
            overview_protocol(fleet, file.orchestrator.name, found.pacer, found.inference),
            nodes_protocol(fleet, found.asks, found.conductor),
            groups_protocol(fleet),
            claims_protocol(fleet, found.enrolment),
            artifacts_protocol(fleet, registry),
            signing_protocol(fleet, signing, registry, url, _authority(file)),
            export_protocol(fleet, signing, found.objects, file.data / "coming"),
            rollouts_protocol(fleet, found.conductor, found.pacer),
            uploads_protocol(fleet, registry, found.builds, Fits(fleet, found.objects)),
            page_protocol(),
            openapi_protocol(document),
            audit_protocol(found.acts),
            node_protocol(found.side),
            steps_protocol(found.side, found.inference),
            downloads_protocol(found.side, registry, signing, found.pacer),
            witness_protocol(found.witness, lambda request: found.side.caller(request).name, NODES),
        ]
    )


async def run(file: File, tell: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT. tell: called with the address when it serves."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with opened(file) as found, serving_fleet(found) as server:
        tell(server.url)
        await stopped.wait()


def _pacer(fleet: Fleet, bytes_per_s_max: int | None) -> Pacer:
    return Pacer(fleet.clock, caps_of(fleet, bytes_per_s_max), [Cap(FLEET, bytes_per_s_max)])


def _witness(file: File, clock: Clock) -> Witness:
    """Of the nodes' audit logs."""
    name = f"littoral/{file.orchestrator.name}/witness"
    return Witness(FolderDisk(file.data / "witnessed"), name, kept_key(file.data / "witness.key"), clock.wall)


def _traces(file: File) -> AbstractContextManager[Traces | None]:
    resource = {"service.name": "littoral-orchestrator", "service.instance.id": file.orchestrator.name}
    return open_traces(file.traces, Place(str(file.path)) / "traces", file.path_of, resource)


def _probes() -> Protocol:
    async def alive(_: Request) -> Answer:
        return json_answer({"alive": True})

    routes = (Route("GET", "/livez", alive, is_always_taken=True), Route("GET", "/readyz", alive, is_always_taken=True))
    return Protocol((), routes)


def _authority(file: File) -> str | None:
    """PEM that nodes trust the orchestrator by, beside the machine's authorities."""
    named = file.orchestrator.ca
    if named is None:
        return None
    try:
        with file.path_of(named).open("rb") as stream:
            return stream.read(CA_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{file.path}: `orchestrator.ca`: `{named}`: {error}") from error


def _access(file: File, clock: Clock) -> Access:
    if file.auth is None:
        return Access(None, frozenset(), clock, rights=RIGHTS, what="orchestrator")
    needs = {"probes": file.auth.probes, "metrics": file.auth.metrics}
    opened_words = frozenset(what for what, is_needed in needs.items() if not is_needed)
    tokens = TokenFile(file.path_of(file.auth.tokens), clock, [*RIGHTS.included])
    return Access(tokens, opened_words, clock, rights=RIGHTS, what="orchestrator")
