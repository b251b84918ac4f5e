"""Every environment variable Littoral reads, once: name, default, unit, sentence.

The same name serves as variable and, in tests, as context manager (`override`). Nothing else reads the environment.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.errors import SettingError

__all__ = [
    "SETTINGS",
    "Setting",
    "boolean",
    "cache_folder",
    "default_for_library",
    "environment",
    "from_environment",
    "number",
    "override",
    "state_folder",
    "text",
]


class Setting(NamedTuple):
    """One environment variable. `unit` is empty for text and switches."""

    name: str
    default: str
    unit: str
    sentence: str


SETTINGS = {
    s.name: s
    for s in (
        Setting("LITTORAL_CACHE", "", "", "Folder for machine code; default: the user's cache folder"),
        Setting(
            "LITTORAL_STATE", "", "", "Folder for this installation's key and store; default: the user's state folder"
        ),
        Setting(
            "LITTORAL_CA", "", "", "File of authorities (PEM) beside the machine's, for nodes that are asked by https"
        ),
        Setting("LITTORAL_CODE_CACHE_MB", "2048", "MB", "Most that the machine code in the cache folder may take"),
        Setting(
            "LITTORAL_DEBUG",
            "0",
            "level",
            "What the compiler tells: 1 times; 2 changes; 3 choices; 4 values before and after; 5 files",
        ),
        Setting("LITTORAL_DEBUG_FOLDER", "littoral-debug", "", "Folder for the files of `LITTORAL_DEBUG=5`"),
        Setting("LITTORAL_DISK_RESERVE_MB", "128", "MB", "A vector shard refuses writes when its disk has less free"),
        Setting("LITTORAL_FLEET", "", "", "Address of the orchestrator that `littoral fleet` asks"),
        Setting("LITTORAL_LIFELINE_FD", "", "", "Set by the supervisor: pipe whose closing ends the child"),
        Setting("LITTORAL_LINK_FD", "", "", "Set by the supervisor: socket on which the node asks for shard hosts"),
        Setting("LITTORAL_PIN", "", "", "PIN of the token that an `hsm:` URI names; default: it is asked for"),
        Setting("LITTORAL_PIN_FILE", "", "", "File with that PIN, for signers that nobody is beside"),
        Setting("PYKCS11LIB", "", "", "The PKCS#11 module of that token, a shared library"),
        Setting("LITTORAL_STATUS_FD", "", "", "Set by the supervisor: pipe on which a child says that it is ready"),
        Setting(
            "LITTORAL_OPTIMIZE_POINTS",
            "20000",
            "points",
            "So many points written make a shard host build its search graph anew; 0: only when asked",
        ),
        Setting("LITTORAL_PERF", "", "", "perfmap or jitdump: Linux perf is told the names of models' functions"),
        Setting("LITTORAL_REQUIRE_ALL", "0", "", "1: a test that would be skipped fails"),
        Setting(
            "OPENBLAS_NUM_THREADS", "1", "threads", "Of numpy's products in a node; more would wait for each other"
        ),
        Setting("LITTORAL_SWEEP", "0", "", "1: the tests that take minutes are collected too"),
        Setting("LITTORAL_TOKEN", "", "", "Token that verbs show to a node that asks for one"),
        Setting("CREDENTIALS_DIRECTORY", "", "", "Set by systemd: folder of the credentials of a service"),
        Setting("NOTIFY_SOCKET", "", "", "Set by systemd: where it wants to hear that a node serves, or stops"),
        Setting("WATCHDOG_PID", "", "", "Set by systemd: whose signs of life it wants"),
        Setting("WATCHDOG_USEC", "", "µs", "Set by systemd: so long without a sign of life, and it starts a node anew"),
        Setting("NO_COLOR", "", "", "Set to anything: no colour on the terminal"),
        Setting("XDG_CACHE_HOME", "", "", "The user's cache folder; default `~/.cache`"),
        Setting("XDG_STATE_HOME", "", "", "The user's state folder; default `~/.local/state`"),
    )
}

_overrides: dict[str, str] = {}


def text(name: str) -> str:
    """Value of a declared variable; raises KeyError for one that is not in the table."""
    setting = SETTINGS[name]
    return _overrides.get(name, os.environ.get(name, setting.default))  # noqa: TID251


def number(name: str) -> int:
    """Value as a whole number; raises SettingError for anything else."""
    value = text(name)
    try:
        return int(value)
    except ValueError:
        raise SettingError(f"environment variable `{name}` is `{value}`, must be a whole number") from None


def boolean(name: str) -> bool:
    """Value as a switch: 0 or 1; raises SettingError for anything else."""
    value = text(name)
    if value not in ("", "0", "1"):
        raise SettingError(f"environment variable `{name}` is `{value}`, must be 0 or 1")
    return value == "1"


def from_environment(name: str) -> str | None:
    """A variable that the user's own configuration names, such as one that holds a password; None if it is not set."""
    return os.environ.get(name)  # noqa: TID251


def environment(**values: str) -> dict[str, str]:
    """For a child process: this one's environment, with declared variables set; KeyError for others."""
    return dict(os.environ) | {SETTINGS[name].name: value for name, value in values.items()}  # noqa: TID251


def default_for_library(name: str, value: str) -> None:
    """A variable that a library reads for itself; what the user has set stays."""
    os.environ.setdefault(name, value)  # noqa: TID251


@contextlib.contextmanager
def override(**values: str) -> Iterator[None]:
    """Replaces declared variables inside a `with` block; raises KeyError for one that is not in the table."""
    before = {name: _overrides.get(name) for name in values}
    for name, value in values.items():
        _overrides[SETTINGS[name].name] = value
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                _overrides.pop(name, None)
            else:
                _overrides[name] = old


def _folder(own: str, base: str, fallback: str) -> Path:
    if chosen := text(own):
        return Path(chosen)
    return Path(text(base) or Path.home() / fallback) / "littoral"


def cache_folder() -> Path:
    """What can be made again: machine code, downloads."""
    return _folder("LITTORAL_CACHE", "XDG_CACHE_HOME", ".cache")


def state_folder() -> Path:
    """What belongs to this installation: its key, the digests of what it compiled."""
    return _folder("LITTORAL_STATE", "XDG_STATE_HOME", ".local/state")
