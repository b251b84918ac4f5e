"""A shard host: `python -m littoral.vectors.shard_process <shard folder>`.

Owns one shard, serves its socket, and lives by the supervisor's pipe. SIGTERM: flush, close, exit 0. Exit 1: the shard
cannot be opened, or its flush failed; the reason goes to stderr and to the supervisor.
"""

import signal
import sys
from pathlib import Path

from littoral.clock import SYSTEM
from littoral.errors import LittoralError
from littoral.lifeline import Lifeline
from littoral.settings import number
from littoral.vectors import layout
from littoral.vectors.clients import Clients
from littoral.vectors.shard import Shard
from littoral.vectors.shard_server import ShardServer

__all__ = ["main"]

OWNER_WAIT_S = 10.0


def main(arguments: list[str]) -> int:
    """Exit code 0 after SIGTERM, 1 if the shard failed, 2 for wrong arguments."""
    lifeline = Lifeline.attach()
    if len(arguments) != 1:
        print("usage: python -m littoral.vectors.shard_process <shard folder>", file=sys.stderr)  # noqa: T201
        return 2
    try:
        serve(Path(arguments[0]), lifeline)
    except (LittoralError, OSError) as error:
        lifeline.failed(str(error))
        print(f"littoral: shard host `{arguments[0]}`: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def serve(folder: Path, lifeline: Lifeline) -> None:
    """Makes the shard if its folder has none, and serves it until SIGTERM."""
    config = layout.read_collection_file(folder.parent).config_of(folder.name)
    shard = Shard.open(
        folder,
        config,
        create=True,
        wait_s=OWNER_WAIT_S,
        disk_reserve_bytes=number("LITTORAL_DISK_RESERVE_MB") << 20,
    )
    with shard, layout.listen(folder) as listener:
        clients = Clients(listener, SYSTEM)
        server = ShardServer(shard, clients, SYSTEM, optimize_point_count=number("LITTORAL_OPTIMIZE_POINTS"))
        signal.set_wakeup_fd(clients.wake_handle, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        lifeline.ready()
        server.run()
        clients.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
