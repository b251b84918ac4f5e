"""The one door to Zenoh: requests, messages and liveness of one node, told to callbacks in Zenoh's own threads.

A callback must not wait: those of one kind are called one after another. Zenoh tells of no route, of a denial and of a
dead peer in one way, by an end without a reply.
"""

import json
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self, cast

import zenoh
from zenoh import handlers

from littoral.errors import NodeError, PeerError
from littoral.mesh.zenoh_options import HERE, Keys, ZenohOptions, settings
from littoral.settings import default_for_library

__all__ = ["SMALL_BYTES_MAX", "Answer", "Listener", "Request", "ZenohSession", "log_to_standard_output"]

SMALL_BYTES_MAX = 48 << 10
"""Fits in one batch of Zenoh's: goes before all that is larger, in a queue of its own."""
DEADLINE_SPARE_S = 1.0
MARKED = "#"
"""Before a request's mark; no `traceparent` begins so."""
RUNTIME = "(rx: (worker_threads: 4), tx: (handover: rx), net: (handover: rx), acc: (handover: rx), app: (handover: rx))"
"""One pool of threads for all that Zenoh does, where it has five: a message goes through fewer hands (a third less work
for an echo), and a thread that waits for another's work is not the last one that could do it (zenoh#2581)."""


class Request:
    """One request that arrived. Must be closed, or the caller waits for its deadline. mark: the caller's, by which it
    may ask what became of it, or ''. parent: `traceparent`, or ''.
    """

    __slots__ = ("_query", "body", "caller", "deadline_s", "mark", "parent", "service")

    def __init__(self, query: zenoh.Query) -> None:
        _, _, _, self.service, self.caller = str(query.key_expr).split("/")
        self.body = query.payload.to_bytes() if query.payload is not None else b""
        said = query.attachment.to_bytes().decode("latin-1") if query.attachment is not None else "0"
        deadline_ms, _, rest = said.partition(" ")
        self.deadline_s = int(deadline_ms) / 1000
        mark, _, parent = rest.partition(" ") if rest.startswith(MARKED) else ("", "", rest)
        self.mark, self.parent = mark.removeprefix(MARKED), parent
        self._query = query

    def reply(self, body: bytes) -> None:
        """May wait for as long as the caller takes nothing. Goes as fast as the request came: at its priority."""
        self._query.reply(self._query.key_expr, body, express=True)

    def fail(self, told: bytes) -> None:
        self._query.reply_err(told)

    def close(self) -> None:
        self._query.drop()


class Answer(NamedTuple):
    """What came back. told: of an error; None and None: nothing came."""

    body: bytes | None
    told: bytes | None


class Listener(Protocol):
    """Who is told of what arrives, in threads of Zenoh's."""

    def on_request(self, request: Request) -> None: ...

    def on_message(self, sender: str, topic: str, body: bytes) -> None: ...

    def on_liveness(self, name: str, is_here: bool) -> None: ...

    def on_link(self, name: str) -> None: ...


class ZenohSession:
    """Open until `close`. A method may wait for the network: for an event loop is only what says that it is not so."""

    def __init__(self, options: ZenohOptions, listener: Listener) -> None:
        self._options = options
        self._keys = Keys(options.site)
        self._listener = listener
        self._session = _opened(options)
        self._held: list[object] = []
        try:
            self._declare()
        except zenoh.ZError as error:
            self._session.close()
            raise NodeError(f"mesh: `{options.name}` cannot declare itself: {error}") from error

    def _declare(self) -> None:
        keys, me = self._keys, self._options.name
        liveliness = self._session.liveliness()
        self._held = [
            self._session.declare_queryable(keys.ask(me, "*", "*"), _direct(self._on_query)),
            liveliness.declare_subscriber(keys.here("*"), self._on_token, history=True),
            liveliness.declare_token(keys.here(me)),
            self._session.info.declare_link_events_listener(self._on_link),
        ]

    def ask(
        self,
        peer: str,
        service: str,
        body: bytes,
        *,
        deadline_s: float,
        on_answer: Callable[[Answer], None],
        is_bulk: bool = False,
        parent: str = "",
        mark: str = "",
    ) -> Callable[[], None]:
        """Calls `on_answer` once. Gives what cancels it, after which it may still be called.

        May wait for as long as the peer takes nothing. parent: `traceparent` of who asks. mark: see `Request`.
        """
        is_told = False

        def reply(reply: zenoh.Reply) -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                on_answer(_read(reply))

        def end() -> None:
            if not is_told:
                on_answer(Answer(None, None))

        said = f"{deadline_s * 1000:.0f}" + (f" {MARKED}{mark}" if mark else "") + (f" {parent}" if parent else "")
        cancellation = zenoh.CancellationToken()
        try:
            self._session.get(
                self._keys.ask(peer, service, self._options.name),
                cast("Callable[[zenoh.Reply], None]", handlers.Callback(reply, end, indirect=False)),
                target=zenoh.QueryTarget.ALL,
                consolidation=zenoh.ConsolidationMode.NONE,
                timeout=deadline_s + DEADLINE_SPARE_S,
                payload=body,
                attachment=said.encode(),
                cancellation_token=cancellation,
                congestion_control=zenoh.CongestionControl.BLOCK,
                priority=zenoh.Priority.DATA_LOW if is_bulk else zenoh.Priority.INTERACTIVE_HIGH,
                express=True,
            )
        except zenoh.ZError as error:
            raise PeerError(f"peer `{peer}`: cannot be asked: {error}") from error
        return cancellation.cancel

    def publish(self, topic: str, body: bytes) -> None:
        """To whom it can be sent within a millisecond (a small body), or a few; the others miss it."""
        try:
            self._session.put(
                self._keys.say(self._options.name, topic),
                body,
                congestion_control=zenoh.CongestionControl.DROP,
                priority=zenoh.Priority.DATA,
            )
        except zenoh.ZError as error:
            raise PeerError(f"topic `{topic}`: cannot be published: {error}") from error

    def listen(self, topic: str) -> None:
        """Messages of every other node go to `on_message`."""
        self._held.append(self._session.declare_subscriber(self._keys.say("*", topic), self._on_sample))

    def links(self) -> list[tuple[str, str]]:
        """Name by certificate, and address, of who is linked. Raises PeerError once it is closed."""
        try:
            links = self._session.info.links()
        except zenoh.ZError as error:
            raise PeerError(f"node `{self._options.name}`: its links cannot be told: {error}") from error
        return sorted((_name_of(link), link.dst.partition("/")[2]) for link in links)

    def close(self) -> None:
        """Takes about a second if a peer went without a word."""
        self._held.clear()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_bulk(self, service: str, body_bytes: int) -> bool:
        """Whether all other requests go before such a one."""
        return body_bytes > SMALL_BYTES_MAX or service in self._options.bulk

    def _on_query(self, query: zenoh.Query) -> None:
        self._listener.on_request(Request(query))

    def _on_sample(self, sample: zenoh.Sample) -> None:
        _, _, sender, topic = str(sample.key_expr).split("/", 3)
        if sender != self._options.name:
            self._listener.on_message(sender, topic, sample.payload.to_bytes())

    def _on_link(self, event: zenoh.LinkEvent) -> None:
        self._listener.on_link(_name_of(event.link))

    def _on_token(self, sample: zenoh.Sample) -> None:
        name = str(sample.key_expr).rpartition(f"/{HERE}/")[2]
        if name != self._options.name:
            self._listener.on_liveness(name, sample.kind == zenoh.SampleKind.PUT)


def log_to_standard_output(levels: str) -> None:
    """Once for a process. levels: as `RUST_LOG`, which goes before it."""
    zenoh.init_log_from_env_or(levels)


def _opened(options: ZenohOptions) -> zenoh.Session:
    default_for_library("ZENOH_RUNTIME", RUNTIME)
    config = zenoh.Config()
    for path, value in settings(options).items():
        config.insert_json5(path, json.dumps(value))
    try:
        return zenoh.open(config)
    except zenoh.ZError as error:
        raise NodeError(
            f"mesh: `{options.name}` cannot open `{options.protocol}` on `{options.listen}`: {error}",
            hint="is the port free, and do certificate and key belong together?",
        ) from error


def _direct(callback: Callable[[zenoh.Query], None]) -> Callable[[zenoh.Query], None]:
    """Called in the network's thread, not in one of its own: a hand-over less."""
    return cast(Callable[[zenoh.Query], None], handlers.Callback(callback, indirect=False))


def _name_of(link: zenoh.Link) -> str:
    """By the certificate."""
    return (link.auth_identifier or "").partition(".")[0]


def _read(reply: zenoh.Reply) -> Answer:
    if reply.ok is not None:
        return Answer(reply.ok.payload.to_bytes(), None)
    return Answer(None, reply.err.payload.to_bytes() if reply.err is not None else b"")
