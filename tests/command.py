"""The command `littoral` as a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from littoral import settings

INSTALLATION = ("LITTORAL_STATE", "LITTORAL_CACHE")


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code in (0, 1), self.err
        return json.loads(self.out)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "littoral", *map(str, arguments)]


def environment() -> dict[str, str]:
    """With the installation of the test that asks."""
    return settings.environment(**{name: settings.text(name) for name in INSTALLATION})


def littoral(*arguments: object, folder: Path | None = None, timeout_s: float = 120) -> Done:
    """Runs to its end; without a terminal."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout_s, env=environment(), cwd=folder
    )
    return Done(done.returncode, done.stdout, done.stderr)
