"""gRPC where the site file asks for it: imported only then, since a node need not have it installed."""

import contextlib
from collections.abc import AsyncIterator, Callable

from littoral.errors import SetupError
from littoral.node.oip.inference import Inference
from littoral.node.opened_access import open_certificates
from littoral.node.site import Site, parse_address
from littoral.web import Relay
from littoral.web.access.access import Access

__all__ = ["grpc_interface"]

FOLDER = ".grpc"


@contextlib.asynccontextmanager
async def grpc_interface(
    site: Site, inference: Inference, say: Callable[[str], None], access: Access | None = None
) -> AsyncIterator[Relay | None]:
    """The port, None where there is none. access: who may ask; None: anybody.

    Raises SetupError without the extra, SettingError for an address in use and for certificates that do not fit.
    """
    if site.node.grpc is None:
        yield None
        return
    try:
        from littoral.node.oip.grpc_server import serving_grpc
    except ImportError as error:
        raise SetupError(
            f"{site.file}: `node.grpc`: gRPC is not installed: {error}", hint="pip install 'littoral[grpc]'"
        ) from error
    host, port = parse_address(site.node.grpc)
    bytes_max = site.limits.body_bytes_max
    async with serving_grpc(
        inference,
        host=host,
        port=port,
        folder=site.data / FOLDER,
        message_bytes_max=bytes_max,
        access=access,
        certificates=open_certificates(site, inference.node.clock, protocol="h2"),
    ) as relay:
        say(f"gRPC at {relay.address}")
        yield relay
