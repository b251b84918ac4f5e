"""Who may ask for what: each request's token, or a page's session, held against the table of roles."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from littoral.clock import Clock
from littoral.errors import ForbiddenError, LittoralError, TooOftenError, UnauthorizedError
from littoral.telemetry import Reading
from littoral.web import Leave, Request, Route
from littoral.web.access.guessing import Guesses
from littoral.web.access.rights import Needed, Rights
from littoral.web.access.sessions import Sessions, cookie_in
from littoral.web.access.tokens import Token, TokenFile, TokensChanged, claimed_id
from littoral.web.caller import ANYBODY, CALLER, DEMAND

__all__ = ["REASONS", "Access", "Caller"]

REASONS = ("missing", "unknown", "expired", "role", "guessing", "page", "ended")
"""`ended`: a stream or WebSocket was under way."""
KNOWN_COUNT_MAX = 4096
SAFE = ("GET", "HEAD")
HINT = "`Authorization: Bearer …` or `api-key: …` with a token that `littoral tokens new` made"


_E = TypeVar("_E", bound=Exception)


class Caller(NamedTuple):
    """Who asks: the name of the token, and what it is good for. tenant: whose it is; '' = the operator's."""

    name: str
    roles: Sequence[str]
    tenant: str = ""


class Access:
    """Of one server. tokens: None: it asks for none. opened: of `probes` and `metrics`, those that need no token.
    tenants: that it has now; tokens of others are good for nothing. what: it is called in messages.

    For one event loop.
    """

    def __init__(
        self,
        tokens: TokenFile | None,
        opened: frozenset[str],
        clock: Clock,
        tenants: Collection[str] = (),
        *,
        rights: Rights,
        what: str = "node",
    ) -> None:
        self._tokens = tokens
        self._rights = rights
        self._what = what
        self._tenants = tenants
        self._opened = opened | {"open"}
        self._guesses = Guesses(clock)
        self._refused: Counter[str] = Counter()
        self._known: dict[tuple[str, str], None] = {}
        self.sessions = Sessions(clock)

    @property
    def is_needed(self) -> bool:
        """Whether tokens are asked for."""
        return self._tokens is not None

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        for reason in REASONS:
            yield Reading("littoral_access_refused_total", (reason,), self._refused[reason])

    def watch_tokens(self, changed: TokensChanged) -> None:
        """Told of the tokens before and after each change of their file."""
        if self._tokens is not None:
            self._tokens.changed = changed

    def check(self, request: Request, route: Route, tenant: str = "") -> Leave | None:
        """What raises once the token or the session is no longer what it was; None where none was needed.

        tenant: whose things the route answers for; '' = the operator's. Raises UnauthorizedError, ForbiddenError,
        TooOftenError for a request that may not be answered.
        """
        needed = self._rights.needed_by_http(route.method, route.label or route.pattern)
        if self._tokens is None or needed in self._opened:
            CALLER.set(ANYBODY)
            DEMAND.set(None)
            return None
        token, session = self._caller(request)
        self._of(token, tenant)
        self._allow(token, needed, f"{route.method} {route.pattern}")
        return partial(self._stays, self._tokens, token, session)

    def holds(self, text: str, address: str, tenant: str) -> Token:
        """As `judge`, for a token of that tenant alone; '' = the operator's."""
        return self._of(self.judge(text, address), tenant)

    def _of(self, token: Token, tenant: str) -> Token:
        if token.tenant != tenant:
            raise self._strange()
        return token

    def check_grpc(self, method: str, metadata: Mapping[str, str], address: str) -> tuple[str, Leave | None]:
        """As `check`, for a method of the gRPC service: the tenant who asks, too. metadata: names in lower case."""
        needed = self._rights.needed_by_grpc(method)
        if self._tokens is None or needed in self._opened:
            CALLER.set(ANYBODY)
            DEMAND.set(None)
            return "", None
        token = self.judge(self._shown(metadata), address)
        self._allow(token, needed, method)
        return token.tenant, partial(self._stays, self._tokens, token, "")

    def claimed_tenant(self, request: Request) -> str:
        """Whose things a request is about, if what it shows is true, which `check` finds out; '' = the operator's."""
        if self._tokens is None:
            return ""
        get = request.headers.get
        scheme, _, bearer = str(get("authorization", "")).partition(" ")
        text = bearer.strip() if scheme.lower() == "bearer" else str(get("api-key", ""))
        if text or get("authorization") is not None:
            return self._tokens.claimed_tenant(text)
        token = self._in_session(request)
        return token.tenant if token is not None and self._is_here(token) else ""

    def is_from(self, request: Request, tenant: str) -> bool:
        """Whether this one asks, or nobody else can: names of things may be told. tenant: '' = the operator."""
        if self._tokens is None or not self._tenants:
            return True
        get = request.headers.get
        if get("authorization") is None and get("api-key") is None and self._in_session(request) is None:
            return False
        try:
            return self._caller(request)[0].tenant == tenant
        except LittoralError:
            return False

    def judge(self, text: str, address: str) -> Token:
        """Whose token this is. Raises UnauthorizedError for nobody's, TooOftenError after guesses from there."""
        assert self._tokens is not None, "asked only where tokens are needed"
        known = (address, claimed_id(text))
        if known not in self._known and (wait_s := self._guesses.wait_s(address)):
            raise self._refusal(
                "guessing", TooOftenError("too many wrong tokens came from this address", retry_after_s=wait_s)
            )
        if (token := self._tokens.find(text)) is None:
            self._guesses.count(address)
            raise self._strange()
        self._keep_known(known)
        if not self._is_here(token):
            raise self._strange()
        return self._unless_expired(token)

    def session(self, request: Request) -> Caller | None:
        """Who is logged in at the page that asks; None for nobody."""
        token = self._in_session(request)
        if token is None or self._tokens is None or self._tokens.has_expired(token):
            return None
        return Caller(token.name, token.roles, token.tenant)

    def _is_here(self, token: Token) -> bool:
        return not token.tenant or token.tenant in self._tenants

    def _stays(self, tokens: TokenFile, token: Token, session: str) -> None:
        """Raises UnauthorizedError. session: the cookie that was shown, or ''."""
        is_open = not session or self.sessions.token_id(session) == token.id
        is_good = tokens.held(token.id) == token and not tokens.has_expired(token) and self._is_here(token)
        if not (is_good and is_open):
            raise self._refusal("ended", UnauthorizedError("the token or session that began this is no longer good"))

    def _caller(self, request: Request) -> tuple[Token, str]:
        """The token, and the session's cookie where it came by one."""
        headers = request.headers
        if headers.get("authorization") is not None or headers.get("api-key") is not None:
            shown = {name: str(headers.get(name, "")) for name in ("authorization", "api-key")}
            return self.judge(self._shown(shown), request.peer), ""
        token = self._in_session(request)
        if token is None:
            raise self._missing()
        self._check_page(request)
        return self._unless_expired(token), cookie_in(str(request.headers.get("cookie", "")))

    def _in_session(self, request: Request) -> Token | None:
        value = cookie_in(str(request.headers.get("cookie", "")))
        if not value or self._tokens is None or not (token_id := self.sessions.token_id(value)):
            return None
        return self._tokens.held(token_id)

    def _shown(self, headers: Mapping[str, str]) -> str:
        """The token in `authorization` or `api-key`. Raises UnauthorizedError for none, and for two that differ."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        found = {
            text for text in (bearer.strip() if scheme.lower() == "bearer" else "", headers.get("api-key")) if text
        }
        if not found:
            raise self._missing()
        if len(found) > 1:
            raise self._refusal("unknown", UnauthorizedError("two different tokens are shown", hint="show one"))
        return found.pop()

    def _check_page(self, request: Request) -> None:
        """A cookie goes with whatever a browser sends: what writes must come from a page of this node itself."""
        if request.method in SAFE and not request.is_upgrade:
            return
        get = request.headers.get
        if get("sec-fetch-site") == "same-origin":
            return
        origin = get("origin")
        if origin is None or origin.partition("://")[2] != get("host"):
            raise self._refusal(
                "page", ForbiddenError(f"requests that write need a page of this {self._what}, or a token")
            )

    def _allow(self, token: Token, needed: Needed, what: str) -> None:
        roles = self._rights.any_role if isinstance(needed, str) else needed
        if not self._rights.has_role(token.roles, roles):
            wanted = " or ".join(f"`{role}`" for role in self._rights.included if role in roles)
            raise self._refusal(
                "role",
                ForbiddenError(
                    f"`{what}` needs the role {wanted}, this token has {', '.join(f'`{role}`' for role in token.roles)}"
                ),
            )
        CALLER.set(f"{f'{token.tenant}/' if token.tenant else ''}{token.name}#{token.id}")
        DEMAND.set(partial(self._demand, token))

    def _demand(self, token: Token, role: str, what: str) -> None:
        self._allow(token, frozenset({role}), what)

    def _unless_expired(self, token: Token) -> Token:
        assert self._tokens is not None
        if self._tokens.has_expired(token):
            raise self._refusal(
                "expired",
                UnauthorizedError(f"token `{token.name}` has expired", hint="make another"),
            )
        return token

    def _keep_known(self, known: tuple[str, str]) -> None:
        self._known[known] = None
        while len(self._known) > KNOWN_COUNT_MAX:
            del self._known[next(iter(self._known))]

    def _strange(self) -> UnauthorizedError:
        return self._refusal("unknown", UnauthorizedError(f"the token is none of this {self._what}'s", hint=HINT))

    def _missing(self) -> UnauthorizedError:
        return self._refusal("missing", UnauthorizedError(f"this {self._what} asks for a token", hint=HINT))

    def _refusal(self, reason: str, error: _E) -> _E:
        self._refused[reason] += 1
        return error
