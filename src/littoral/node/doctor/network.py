"""Addresses of a site: its own ports, the broker, the collector of traces."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

from littoral.errors import ForbiddenError, LittoralError, UnauthorizedError
from littoral.mqtt.broker import parse_broker
from littoral.node.client import NodeClient
from littoral.node.serving_address import noted_address
from littoral.node.site import Address, Site, parse_address
from littoral.telemetry.exporting import parse_endpoint
from littoral.telemetry.findings import Finding, Status

__all__ = ["Running", "examine_ports", "examine_services", "running_node"]

WAIT_S = 3.0
ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (told, not bound)


class Running(NamedTuple):
    """A node that answers. told: what it says of its collections, by name; nothing where it asks for a token that is
    not in `LITTORAL_TOKEN`."""

    address: Address
    told: dict[str, dict[str, Any]]


def running_node(site: Site) -> Running | None:
    """None where no node of this name answers: at the address that its supervisor noted, or at the site file's."""
    wanted = dict.fromkeys(one for one in (noted_address(site.data), site.listen) if one is not None and one.port)
    found = ((address, _told_at(address, site)) for address in wanted)
    return next((Running(address, told) for address, told in found if told is not None), None)


def _told_at(address: Address, site: Site) -> dict[str, dict[str, Any]] | None:
    host = ANY_HOSTS.get(address.host, address.host)
    url = f"{site.scheme}://{Address(host, address.port)}"
    with contextlib.closing(NodeClient(url, timeout_s=WAIT_S, try_count_max=1)) as client:
        try:
            if client.call("GET", "/api/node")["name"] != site.node.name:
                return None
            return {found["name"]: found for found in client.call("GET", "/api/collections")}
        except (UnauthorizedError, ForbiddenError):
            return {}
        except (LittoralError, KeyError, TypeError):
            return None


def examine_ports(site: Site, running: Address | None) -> Iterator[Finding]:
    """Those that the node listens at. running: where it answers; None if it does not run."""
    wanted = {"http": site.listen}
    if site.node.grpc is not None:
        wanted["grpc"] = parse_address(site.node.grpc)
    for name, address in wanted.items():
        yield _port(name, address, running)


def _port(name: str, address: Address, running: Address | None) -> Finding:
    subject = f"{name} {address}"
    if running is not None:
        is_other = name == "http" and address.port != 0 and running != address
        words = f"the node answers at {running}, as `littoral up --listen` said" if is_other else "the node answers"
        return Finding("port", subject, Status.OK, "any that is free" if address.port == 0 else words)
    if address.port == 0:
        return Finding("port", subject, Status.OK, "any that is free")
    try:
        family, _, _, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server(place[:2], family=family).close()
    except OSError as error:
        words = f"cannot be listened at: {error.strerror or error}, and no node of this site answers there"
        return Finding("port", subject, Status.FAIL, words, "end what uses it, or listen at another port")
    return Finding("port", subject, Status.OK, "is free")


def examine_services(site: Site) -> Iterator[Finding]:
    """What the node speaks to beside other nodes."""
    if site.mqtt is not None:
        yield _broker(site)
    if site.telemetry.traces.endpoint is not None:
        yield _collector(site)


def _broker(site: Site) -> Finding:
    assert site.mqtt is not None
    table = site.mqtt
    is_secured, host, port = parse_broker(table.broker)
    subject, hint = f"{host}:{port}", "does it run, and is `mqtt.broker` its address?"
    try:
        context = None
        if is_secured:
            context = ssl.create_default_context(cafile=None if table.ca is None else site.path_of(table.ca))
            if table.certificate is not None:
                key = None if table.key is None else site.path_of(table.key)
                context.load_cert_chain(site.path_of(table.certificate), key)
    except OSError as error:
        words = f"its certificates cannot be read: {error.strerror or error}"
        return Finding("broker", subject, Status.FAIL, words, "`mqtt.ca`, `mqtt.certificate`, `mqtt.key`")
    return _reached("broker", subject, host, port, context, hint)


def _collector(site: Site) -> Finding:
    table = site.telemetry.traces
    assert table.endpoint is not None
    endpoint = parse_endpoint(table.endpoint)
    if find_spec("opentelemetry") is None:
        words = "traces need an extra"
        return Finding("traces", str(endpoint), Status.FAIL, words, 'pip install "littoral[otel]"')
    try:
        ca = None if table.ca is None else site.path_of(table.ca)
        context = ssl.create_default_context(cafile=ca) if endpoint.is_secured else None
    except OSError as error:
        words = f"its certificates cannot be read: {error.strerror or error}"
        return Finding("traces", str(endpoint), Status.FAIL, words, "`telemetry.traces.ca`")
    hint = "does the collector run? Spans that wait are dropped when there are too many"
    return _reached("traces", str(endpoint), endpoint.host, endpoint.port, context, hint, Status.WARN)


def _reached(
    check: str,
    subject: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    hint: str,
    otherwise: Status = Status.FAIL,
) -> Finding:
    try:
        with socket.create_connection((host, port), WAIT_S) as connection:
            if context is not None:
                context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        return Finding(check, subject, otherwise, f"TLS fails: {error.reason or error}", "certificates, and the name")
    except OSError as error:
        return Finding(check, subject, otherwise, f"cannot be reached: {error.strerror or error}", hint)
    return Finding(check, subject, Status.OK, "is reached")
