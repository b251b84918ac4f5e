"""The part of a table `mqtt` that says where the broker is and what it is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.errors import InputError
from littoral.mqtt.broker import Broker, Credentials, parse_broker
from littoral.tables.problems import NAME_PATTERN, Place

__all__ = ["BrokerTable", "broker_of", "check_broker"]

_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class BrokerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The broker."""

    broker: Annotated[_Text, Meta(description="`mqtt://HOST[:1883]`, or with TLS `mqtts://HOST[:8883]`")]
    version: Annotated[Literal["5", "3.1.1"], Meta(description="Of the protocol")] = "5"
    client_id: Annotated[_Name | None, Meta(description="Begin of the clients' ids; default: the node's name")] = None
    user: Annotated[str, Meta(max_length=1024, description="User name; empty = none")] = ""
    password_file: Annotated[_Text | None, Meta(description="File whose first line is the password")] = None
    password_env: Annotated[_Text | None, Meta(description="Environment variable that holds the password")] = None
    ca: Annotated[_Text | None, Meta(description="Certificates that are trusted; default: the machine's")] = None
    certificate: Annotated[_Text | None, Meta(description="Certificate to show, PEM")] = None
    key: Annotated[_Text | None, Meta(description="Its key, PEM; default: in the same file")] = None
    keep_alive_s: Annotated[int, Meta(ge=5, le=3600, description="A silent connection is tested this often")] = 30


def check_broker(table: BrokerTable, place: Place) -> None:
    """What can be known from the file alone. Raises SettingError naming the key."""
    try:
        is_secured, _, _ = parse_broker(table.broker)
    except InputError as error:
        raise (place / "broker").about(error.message, hint=error.hint) from error
    for key in ("ca", "certificate", "key"):
        if getattr(table, key) is not None and not is_secured:
            raise (place / key).about("has no meaning without TLS", hint="`broker` begins with `mqtts://`")
    if table.key is not None and table.certificate is None:
        raise (place / "key").about("has no meaning without `certificate`")
    if table.password_file is not None and table.password_env is not None:
        raise (place / "password_env").about("and `password_file` are given, needs one of them")


def broker_of(table: BrokerTable, path_of: Callable[[str], Path]) -> Broker:
    """path_of: from a path of the file to where it is."""

    def path(text: str | None) -> Path | None:
        return None if text is None else path_of(text)

    is_secured, host, port = parse_broker(table.broker)
    credentials = Credentials(table.user, path(table.password_file), table.password_env or "")
    return Broker(
        host,
        port,
        is_secured,
        5 if table.version == "5" else 3,
        table.keep_alive_s,
        credentials,
        path(table.ca),
        path(table.certificate),
        path(table.key),
    )
