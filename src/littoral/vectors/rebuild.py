"""A search graph built beside reads and writes: on a copy of the store, by a process of its own.

Writes pause while the copy is made, and are remembered from then on. When the graph is there, the copy takes them over
and then the place of the store. A crash at any moment leaves the one or the other, with every acknowledged write.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from littoral import lifeline, settings
from littoral.errors import ShardError, UnavailableError
from littoral.vectors.copying import copy_steps
from littoral.vectors.frames import Write
from littoral.vectors.heap import give_back
from littoral.vectors.log_numbers import begin_log
from littoral.vectors.optimize_process import NOTHING_TO_DO
from littoral.vectors.requests import write_steps
from littoral.vectors.shard import Shard

__all__ = ["Rebuild"]

MISSED_BYTES_MAX = 64 << 20
REASON_BYTES = 2048


class Rebuild:
    """One at a time. `begin_steps`, then `note` each write until `has_ended`, then `finish_steps`."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._copy: Path | None = None
        self._builder: _Builder | None = None
        self._missed: list[Write] = []
        self._missed_bytes = 0

    @property
    def is_running(self) -> bool:
        return self._copy is not None

    @property
    def has_ended(self) -> bool:
        """Whether the graph is there, or building it failed."""
        return self._builder is not None and self._builder.has_ended

    def begin_steps(self) -> Iterator[None]:
        """Copies the store and starts to build. Raises ShardError, also for want of disk."""
        self._copy = self._shard.place_for_copy()
        self._shard.is_optimizing = True
        self._missed, self._missed_bytes = [], 0
        self._shard.flush()
        yield from copy_steps(self._shard.store_folder, self._copy)
        begin_log(self._copy)
        self._builder = _Builder(self._copy)

    def note(self, request: Write, size_bytes: int) -> None:
        """A write that the store has and the copy has not. Raises UnavailableError if they become too many."""
        if self._builder is None:
            return
        self._missed.append(request)
        self._missed_bytes += size_bytes
        if self._missed_bytes > MISSED_BYTES_MAX:
            raise UnavailableError(f"writes of {MISSED_BYTES_MAX >> 20} MiB came while the graph was built")

    def finish_steps(self) -> Iterator[None]:
        """Puts the copy in the place of the store; does nothing if there was nothing to build. Raises ShardError."""
        if self._builder is None or self._copy is None:
            raise ShardError("no graph is being built")
        code, reason = self._builder.outcome()
        if code == NOTHING_TO_DO:
            self.stop()
            return
        if code != 0:
            raise ShardError(f"building the graph failed: {reason or f'exit code {code}'}")
        fresh = self._shard.opened_copy(self._copy)
        try:
            for request in self._missed:
                yield from write_steps(request, fresh)
                yield
            fresh.flush()
            self._shard.exchange(fresh)
        except BaseException:
            fresh.abandon()
            raise
        self._forget()
        give_back()

    def stop(self) -> None:
        """Ends what runs, and drops the copy; may be called at any time."""
        if self._builder is not None:
            self._builder.kill()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)
        self._forget()

    def _forget(self) -> None:
        self._builder = self._copy = None
        self._missed = []
        self._shard.is_optimizing = False


class _Builder:
    """The process that builds. It dies with this one."""

    def __init__(self, store: Path) -> None:
        theirs, self._lifeline = os.pipe()
        self._status, status = os.pipe()
        variables = {lifeline.LIFELINE_VARIABLE: theirs, lifeline.STATUS_VARIABLE: status}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "littoral.vectors.optimize_process", str(store)],
                stdin=subprocess.DEVNULL,
                env=settings.environment(**{name: str(handle) for name, handle in variables.items()}),
                pass_fds=tuple(variables.values()),
                process_group=0,
            )
        except OSError as error:
            os.close(self._lifeline)
            os.close(self._status)
            raise ShardError(f"building the graph: {error.strerror}") from error
        finally:
            os.close(theirs)
            os.close(status)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def outcome(self) -> tuple[int, str]:
        """Exit code and the reason it told. Closes everything."""
        code = self._process.wait()
        reason = os.read(self._status, REASON_BYTES).decode(errors="replace").strip()
        self._close()
        return code, reason

    def kill(self) -> None:
        """Ends it, if it runs."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        for handle in (self._lifeline, self._status):
            with contextlib.suppress(OSError):
                os.close(handle)
        self._lifeline = self._status = -1
