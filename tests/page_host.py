"""The real node as a host of the page's tests: its pictures are in its collection, put there through its own API."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from littoral import settings
from node_fixture import SITE, node_in_thread, write_site
from page_node import Shown, payload_of
from raw_http import send, send_json
from supervised import short_folder


@contextmanager
def node_page(pictures: Sequence[Shown], port: int = 0) -> Iterator[str]:
    """The address of a node with one model, one collection and the pipelines that the page asks."""
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_site(folder, SITE), port=port) as served,
    ):
        points = [
            {"id": i, "vector": embed_picture(served.address, picture.data), "payload": payload_of(picture)}
            for i, picture in enumerate(pictures)
        ]
        reply = send_json(served.address, "PUT", "/collections/frames/points?wait=true", {"points": points})
        assert reply.status == 200, reply
        yield served.url


def embed_picture(address: str, picture: bytes) -> list[float]:
    reply = send(address, "POST", "/pipelines/embed", picture)
    (output,) = json.loads(reply.body)["result"]["outputs"].values()
    return list(output["data"][0])
