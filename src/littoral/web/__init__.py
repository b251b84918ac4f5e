"""What node and orchestrator share over HTTP: server, routes, limits, errors, events, the files of the pages."""

from littoral.web.encodings import compressed, wanted_encoding
from littoral.web.events import Events
from littoral.web.failures import failure_of
from littoral.web.hosts import Hosts
from littoral.web.messages import (
    Answer,
    Handler,
    Leave,
    Request,
    Socket,
    Stream,
    Upgrade,
    decode_json,
    json_answer,
)
from littoral.web.origins import Origins, check_origin_text
from littoral.web.page_assets import PageAssets
from littoral.web.relay import RELAY_DROPS, Relay, RelayLimits, relaying
from littoral.web.router import Protocol, Route, Router, Seen, plain_error
from littoral.web.server import Limits, Server, serving
from littoral.web.shared import DROPS
from littoral.web.tls import Certificates

__all__ = [
    "DROPS",
    "RELAY_DROPS",
    "Answer",
    "Certificates",
    "Events",
    "Handler",
    "Hosts",
    "Leave",
    "Limits",
    "Origins",
    "PageAssets",
    "Protocol",
    "Relay",
    "RelayLimits",
    "Request",
    "Route",
    "Router",
    "Seen",
    "Server",
    "Socket",
    "Stream",
    "Upgrade",
    "check_origin_text",
    "compressed",
    "decode_json",
    "failure_of",
    "json_answer",
    "plain_error",
    "relaying",
    "serving",
    "wanted_encoding",
]
