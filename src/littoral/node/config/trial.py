"""Another site file for a running node: tried, and kept if the node serves with it, taken back if not.

One at a time. The supervisor calls this with what it hears, and does what `asks` says: the node looks again at what it
may take while it serves, or is started anew. Until the trial is over, the file that people see is as it was.
"""

import contextlib
import enum
from collections.abc import Callable
from typing import Literal

import msgspec

from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.node.config.changes import changes, check_changes, is_hot
from littoral.node.config.texts import SiteTexts, read_text
from littoral.node.site import Address, Site, parse_site

__all__ = ["NODE_MODULE", "Ask", "Outcome", "Settle", "Trial"]

NODE_MODULE = "littoral.node.process"
DEADLINE_S = 120.0


class Ask(enum.Enum):
    """Of the supervisor. look: the node reads its text again. refresh: it looks for new versions of its models.
    restart: it is ended, and started again."""

    LOOK = "look"
    REFRESH = "refresh"
    RESTART = "restart"


class Outcome(msgspec.Struct, frozen=True):
    """How a trial ended. same: nothing differs. hot, restarted: it counts. refused: it was not tried. taken back: the
    node did not serve with it, and runs with the one before."""

    how: Literal["same", "hot", "restarted", "refused", "taken back", "busy"]
    why: str = ""


Settle = Callable[[Outcome], None]


class _Attempt:
    """before: to go back to. is_begun: a node was started with the new one."""

    def __init__(self, before: tuple[Site, bytes], until: float, settle: Settle, *, is_hot: bool) -> None:
        self.before = before
        self.until = until
        self.settle = settle
        self.is_hot = is_hot
        self.is_begun = is_hot


class Trial:
    """site: as read from `text`. listen: where the command line says otherwise than the file; None = as it says.

    falls_back: where the first node cannot start, to the text that served last.
    """

    def __init__(
        self,
        site: Site,
        text: bytes,
        texts: SiteTexts,
        clock: Clock,
        *,
        listen: Address | None = None,
        falls_back: bool = False,
    ) -> None:
        self._now = (site, text)
        self._texts = texts
        self._clock = clock
        self._listen = listen
        self._falls_back = falls_back
        self._attempt: _Attempt | None = None
        self._asks: list[Ask] = []
        self._has_copy = False

    @property
    def site(self) -> Site:
        return self._now[0]

    def open(self) -> None:
        """Where no copy can be written, as on a full disk, the node reads the file itself, and no other is tried."""
        with contextlib.suppress(LittoralError, OSError):
            self._texts.make()
            self._texts.run(self._now[1])
            self._has_copy = True

    def arguments(self) -> list[str]:
        """Of the node's process."""
        site = self.site
        copy = [str(self._texts.running)] if self._has_copy else []
        return ["-m", NODE_MODULE, str(site.file.absolute()), str(site.listen), *copy]

    def begin(self, text: bytes, settle: Settle, *, is_ready: bool, deadline_s: float = DEADLINE_S) -> None:
        """settle: called once, when it is over. is_ready: the node serves now."""
        if self._attempt is not None:
            settle(Outcome("busy", "another site file is being tried"))
            return
        try:
            site = self._read(text)
            found = changes(self.site, site)
            check_changes(found, site.file)
            self._texts.run(text)
            self._has_copy = True
        except (LittoralError, OSError) as error:
            settle(Outcome("refused", str(error)))
            return
        before, self._now = self._now, (site, text)
        if not found:
            self._texts.keep_served(text)
            settle(Outcome("same"))
            return
        can_stay = is_ready and is_hot(found)
        self._attempt = _Attempt(before, self._clock.monotonic() + deadline_s, settle, is_hot=can_stay)
        self._asks.append(Ask.LOOK if can_stay else Ask.RESTART)

    def look(self, settle: Settle, *, is_ready: bool) -> None:
        """The file as it is now, if it is another than what runs; the node looks at its models in any case."""
        try:
            text = read_text(self.site.file)
        except LittoralError as error:
            settle(Outcome("refused", str(error)))
            text = self._now[1]
        if text != self._now[1]:
            self.begin(text, settle, is_ready=is_ready)
        self._asks.append(Ask.REFRESH)

    def fall_back(self) -> bool:
        """To the text that served last, before any node did; False if there is none, or that is the one."""
        text = self._texts.served()
        if not self._falls_back or text is None or text == self._now[1]:
            return False
        try:
            self._now = (self._read(text), text)
            self._texts.run(text)
        except (LittoralError, OSError):
            return False
        return True

    def asks(self) -> list[Ask]:
        """What is to be done now; each is handed out once."""
        if self._attempt is not None and self._clock.monotonic() >= self._attempt.until:
            self._take_back("it did not serve in time")
            self._asks.append(Ask.RESTART)
        taken, self._asks = self._asks, []
        return taken

    def wake_at(self) -> float | None:
        """When `asks` has something to say, if nothing happens before."""
        return None if self._attempt is None else self._attempt.until

    def started(self) -> None:
        """A node was started, with the text of now."""
        if self._attempt is not None:
            self._attempt.is_begun = True

    def ready(self) -> None:
        """The node serves."""
        if self._attempt is None:
            self._texts.keep_served(self._now[1])
        elif self._attempt.is_begun:
            self._keep("restarted")

    def looked(self, problem: str) -> None:
        """The node has looked at its text. problem: why it goes on as it was, or ''."""
        if self._attempt is None or not self._attempt.is_hot:
            return
        if problem:
            self._take_back(problem)
        else:
            self._keep("hot")

    def ended(self, why: str) -> None:
        """The node says why it ends, or has ended; it will be started again by the supervisor."""
        if self._attempt is not None and self._attempt.is_begun:
            self._take_back(why)

    @property
    def is_under_way(self) -> bool:
        return self._attempt is not None

    def _read(self, text: bytes) -> Site:
        site = parse_site(text, self.site.file)
        return site if self._listen is None else site.listening_at(self._listen)

    def _keep(self, how: Literal["hot", "restarted"]) -> None:
        attempt, self._attempt = self._attempt, None
        self._texts.keep_served(self._now[1])
        assert attempt is not None
        attempt.settle(Outcome(how))

    def _take_back(self, why: str) -> None:
        attempt, self._attempt = self._attempt, None
        assert attempt is not None
        self._now = attempt.before
        try:
            self._texts.run(self._now[1])
        except OSError as error:
            why = f"{why}; the copy of the one before cannot be written: {error.strerror}"
        attempt.settle(Outcome("taken back", why))
