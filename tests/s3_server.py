"""A server that speaks S3 over real HTTP, of moto, with the bucket `fleet`."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ports import free_port

__all__ = ["KEYS", "s3_server"]

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def _one_put_at_a_time(app: Callable[..., Any]) -> Callable[..., Any]:
    """moto looks at a condition and then writes; storage does both in one."""
    putting = threading.Lock()

    def serve(environ: dict[str, Any], respond: Callable[..., Any]) -> Any:
        with putting if environ["REQUEST_METHOD"] == "PUT" else contextlib.nullcontext():
            return app(environ, respond)

    return serve


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Gives its address; its keys are in the environment meanwhile."""
    import boto3
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
        server.start()
        server._server.app = _one_put_at_a_time(server._server.app)  # type: ignore[union-attr]
        server._server.block_on_close = False  # type: ignore[attr-defined]  # connections are kept open, nobody waits for them
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket="fleet")
        try:
            yield url
        finally:
            server.stop()
