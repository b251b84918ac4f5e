"""Routes as a table: method and path to handler, each protocol with its own shape of an error.

The router is itself a handler. It never raises: what a handler raises becomes an answer in its protocol's shape.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import InputError, NotFoundError, UnavailableError
from littoral.telemetry import Kind, Recording, Spans, Trace, incoming_trace, tracing
from littoral.web.failures import failure_of
from littoral.web.hosts import Hosts
from littoral.web.messages import Answer, Handler, Leave, Request, Stream, Upgrade, json_answer
from littoral.web.origins import Origins

__all__ = ["Protocol", "Route", "Router", "Seen", "plain_error"]

REQUEST_COUNT_MAX = 64
PATH_CHARACTERS_MAX = 4096
KNOWN_PATHS_MAX = 256
UNKNOWN = "unknown"
SAME_ORIGIN = Origins()
ANY_ADDRESS = Hosts()


class Route(NamedTuple):
    """pattern: `/models/{name}`. is_always_taken: also when the node is full, for probes.

    label: what `Seen.route` says instead of the pattern, for routes that are told together. after: called when the
    handler has answered, not where it raised; what it gives is awaited before the answer goes out.
    """

    method: str
    pattern: str
    handler: Handler
    is_always_taken: bool = False
    label: str = ""
    after: Callable[[Request], Awaitable[None] | None] | None = None


ErrorShape = Callable[[str, int, float], object]
"""JSON of an error, from its message, its status and the seconds since the request came."""


def plain_error(message: str, _status: int = 0, _time_s: float = 0.0) -> object:
    """The shape where no protocol has one of its own."""
    return {"error": message}


def _admit_all(_request: Request, _route: Route) -> Leave | None:
    return None


def _nowhere(_request: Request) -> Handler | None:
    return None


class Protocol(NamedTuple):
    """Routes that share a shape of errors. prefixes: what else below these paths goes wrong has it too."""

    prefixes: Sequence[str]
    routes: Sequence[Route]
    error: ErrorShape = plain_error


class Seen(NamedTuple):
    """A request that was answered. route: its pattern, or `unknown`."""

    method: str
    route: str
    status: int
    seconds: float


class _Found(NamedTuple):
    route: Route
    names: dict[str, str]


class _Candidates(NamedTuple):
    """Routes to one path by their method. pattern: of the first."""

    pattern: str
    by_method: Mapping[str, _Found]


class Router:
    """observe: called after each request. request_count_max: more at a time are refused with 503. admit: raises for a
    request that is not for this caller, before its route sees it; what it gives is looked at while a stream goes on.
    spans: of requests that are traced; None: none is. elsewhere: the handler of a request that is for another router;
    None: it is for this one.

    Of two patterns that match the one with fewer named places is taken.
    """

    def __init__(
        self,
        protocols: Sequence[Protocol],
        *,
        observe: Callable[[Seen], object] = lambda _: None,
        request_count_max: int = REQUEST_COUNT_MAX,
        origins: Origins = SAME_ORIGIN,
        hosts: Hosts = ANY_ADDRESS,
        admit: Callable[[Request, Route], Leave | None] = _admit_all,
        elsewhere: Callable[[Request], Handler | None] = _nowhere,
        spans: Spans | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._protocols = protocols
        self._observe = observe
        self._request_count_max = request_count_max
        self._origins = origins
        self._hosts = hosts
        self._admit_caller = admit
        self._elsewhere = elsewhere
        self._spans = spans
        self._clock = clock
        self._busy = 0
        self._table: dict[int, dict[str, dict[str, Route]]] = {}
        for route in sorted(_routes(protocols), key=lambda r: r.pattern.count("{")):
            by_pattern = self._table.setdefault(route.pattern.count("/"), {})
            by_pattern.setdefault(route.pattern, {})[route.method] = route
        self._candidates = lru_cache(KNOWN_PATHS_MAX)(self._find_candidates)

    @property
    def routes(self) -> list[Route]:
        """All of them, in the order of the protocols."""
        return _routes(self._protocols)

    @property
    def busy_count(self) -> int:
        """Requests that are being answered, without those that are always taken."""
        return self._busy

    async def __call__(self, request: Request) -> Answer | Stream | Upgrade:
        if (other := self._elsewhere(request)) is not None:
            return await other(request)
        get = request.headers.get
        trace = incoming_trace(get("traceparent"), get("tracestate"), get("x-request-id"))
        if self._spans is not None:
            trace = self._spans.incoming(trace)
        with tracing(trace):
            answer = await self._answer(request, trace)
        if not isinstance(answer, Answer):
            return answer
        headers = (*answer.headers, *trace.headers(), *self._origins.headers(request))
        return Answer(answer.body, answer.status, answer.media_type, headers)

    async def _answer(self, request: Request, trace: Trace) -> Answer | Stream | Upgrade:
        began = self._clock.monotonic()
        label = UNKNOWN
        try:
            self._hosts.check(request)
            if (allowed := self._origins.preflight(request)) is not None:
                return allowed
            candidates = self._candidates(request.path)
            label = candidates.pattern
            found = _choose(request, candidates)
            label = found.route.label or found.route.pattern
            self._origins.check(request)
            leave = self._admit_caller(request, found.route)
            answer = await self._admit(found.route, request.named(found.names))
            if not isinstance(answer, Answer):
                answer = answer._replace(leave=leave)
        except _MethodError as error:
            headers = (("allow", ", ".join(error.allowed)),)
            answer = json_answer(
                self._shape(request.path)(str(error), 405, self._clock.monotonic() - began), 405, *headers
            )
        except Exception as error:  # noqa: BLE001  every request gets an answer
            failure = failure_of(error)
            told = self._shape(request.path)(failure.message, failure.status, self._clock.monotonic() - began)
            answer = json_answer(told, failure.status, *failure.headers)
        status = answer.status if isinstance(answer, Answer) else 101 if isinstance(answer, Upgrade) else 200
        seen = Seen(request.method, label, status, self._clock.monotonic() - began)
        self._observe(seen)
        if trace.recording is not None:
            _record(trace, trace.recording, seen)
        return answer

    async def _admit(self, route: Route, request: Request) -> Answer | Stream | Upgrade:
        if route.is_always_taken:
            return await route.handler(request)
        if self._busy >= self._request_count_max:
            raise UnavailableError(f"{self._busy} requests are being answered, which is the most", hint="try again")
        self._busy += 1
        try:
            answer = await route.handler(request)
            if route.after is not None and (more := route.after(request)) is not None:
                await more
            return answer
        finally:
            self._busy -= 1

    def _find_candidates(self, path: str) -> _Candidates:
        if len(path) > PATH_CHARACTERS_MAX:
            raise InputError(f"path has {len(path)} characters, at most {PATH_CHARACTERS_MAX}")
        segments = path.split("/")
        first, found = UNKNOWN, dict[str, _Found]()
        for pattern, by_method in self._table.get(len(segments) - 1, {}).items():
            if (names := _match(pattern, segments)) is None:
                continue
            first = pattern if first == UNKNOWN else first
            for method, route in by_method.items():
                found.setdefault(method, _Found(route, names))
        return _Candidates(first, found)

    def _shape(self, path: str) -> ErrorShape:
        for protocol in self._protocols:
            if any(path == prefix or path.startswith(f"{prefix}/") for prefix in protocol.prefixes):
                return protocol.error
        return plain_error


class _MethodError(Exception):
    def __init__(self, method: str, path: str, allowed: Iterable[str]) -> None:
        self.allowed = sorted(set(allowed))
        super().__init__(f"`{path}` takes {', '.join(self.allowed)}, not {method}")


def _record(trace: Trace, recording: Recording, seen: Seen) -> None:
    ended = recording.now_s()
    method = seen.method[:20]
    told: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": seen.route,
        "http.response.status_code": seen.status,
        "littoral.request_id": trace.request,
    }
    failure = str(seen.status) if seen.status >= 500 else ""
    name = f"{method} {seen.route}"
    recording.add(trace, name, Kind.SERVER, ended - seen.seconds, ended, told, failure)


def _routes(protocols: Sequence[Protocol]) -> list[Route]:
    return [route for protocol in protocols for route in protocol.routes]


def _match(pattern: str, segments: list[str]) -> dict[str, str] | None:
    names = {}
    for wanted, given in zip(pattern.split("/"), segments, strict=True):
        if wanted.startswith("{") and given:
            names[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return names


def _choose(request: Request, candidates: _Candidates) -> _Found:
    """Raises NotFoundError where no pattern matches, _MethodError where one does, but not its method."""
    method = "GET" if request.method == "HEAD" else request.method
    if (found := candidates.by_method.get(method)) is not None:
        return found
    if not candidates.by_method:
        raise NotFoundError(f"nothing at `{printable_path(request.path)}`")
    raise _MethodError(request.method[:20], printable_path(request.path), candidates.by_method)


def printable_path(path: str) -> str:
    """For messages: cut, and without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path[:200])
