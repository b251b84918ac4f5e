"""`POST /api/mesh/changes`: another layout for a spread collection, planned or begun."""

import msgspec

from littoral.errors import InputError, NotFoundError
from littoral.node.federation.moving.wishes import Asked
from littoral.node.node import Node
from littoral.web import Answer, Protocol, Request, Route, json_answer

__all__ = ["mesh_changes_protocol"]

BODY_BYTES_MAX = 1 << 16


def mesh_changes_protocol(node: Node) -> Protocol:
    """For `littoral mesh spread` and its kind. The body is `moving.wishes.Asked` in JSON, the answer a `Plan`."""

    async def change(request: Request) -> Answer:
        if node.federation is None:
            raise NotFoundError("this node is in no mesh", hint="the table `mesh` of its site file makes it one")
        body = await request.body.read()
        try:
            asked = msgspec.json.decode(body[: BODY_BYTES_MAX + 1], type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"change of a layout: {error}") from error
        return json_answer(msgspec.to_builtins(await node.federation.changes.ask(asked), str_keys=True))

    return Protocol((), [Route("POST", "/api/mesh/changes", change)])
