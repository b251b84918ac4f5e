"""A service of language models for tests: a real HTTP server, in a thread of its own or as a process of its own.

It speaks OpenAI's chat completions, completions, embeddings and models, streamed too. What it answers is scripted, one
after the other; without a script it says the last message again (as a process of its own: the text that it was started
with, if there is one). It keeps what it was sent, headers and all.
"""

import asyncio
import contextlib
import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import uvloop
from aiohttp import web

KEPT_MAX = 10_000
MODELS = ("large", "small")
ADDED = 1_700_000_000
TOKENS = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


class Gate:
    """Something waits at it until it is opened."""

    def __init__(self) -> None:
        self._is_open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    async def wait(self) -> None:
        event = asyncio.Event()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()

    def open(self) -> None:
        with self._lock:
            self._is_open, waiting = True, self._waiting
            self._waiting = []
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    @property
    def waiting_count(self) -> int:
        with self._lock:
            return len(self._waiting)


class Received(NamedTuple):
    """body: its JSON; data: the same as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any
    data: bytes = b""


class Scripted(NamedTuple):
    """One answer. text: what the model says; None: the last message again. body: instead, as it is, with `status`; JSON
    unless `headers` name another `content-type`.

    gate: nothing comes before it is opened; of a stream only what follows `gate_after` of its events. cut_after: the
    connection is cut after so many events (whole answers: in the middle of the body). words: of a stream, how many
    pieces; default: the text's words.
    """

    text: str | None = None
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    gate: Gate | None = None
    gate_after: int = 0
    cut_after: int | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    words: int | None = None
    usage: Mapping[str, int] | None = TOKENS
    finish: str = "stop"


class FakeUpstream:
    """asked: what it was sent, in order. left_count: requests whose caller went away before the end of the answer.

    scripted_for: of a body, what it is told before any script; None: as the scripts say.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.scripts: deque[Scripted] = deque()
        self.otherwise = Scripted()
        self.scripted_for: Callable[[Any], Scripted | None] = lambda _: None
        self.asked: deque[Received] = deque(maxlen=KEPT_MAX)
        self.asked_count = self.left_count = self.busy_count = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *answers: Scripted) -> None:
        self.scripts.extend(answers)

    def bodies(self, path: str = "") -> list[Any]:
        """Of what it was sent at paths that end so."""
        return [one.body for one in list(self.asked) if one.path.endswith(path)]

    async def start(self) -> None:
        app = web.Application(client_max_size=64 << 20, handler_args={"access_log": None})
        app.router.add_post("/v1/chat/completions", self._completions)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            for connection in list(self._runner.server.connections if self._runner.server else ()):
                if connection.transport is not None:
                    connection.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    async def _received(self, request: web.Request) -> Any:
        data = await request.read()
        body = json.loads(data) if data else None
        self.asked_count += 1
        self.asked.append(Received(request.path, {k.lower(): v for k, v in request.headers.items()}, body, data))
        return body

    async def _models(self, request: web.Request) -> web.StreamResponse:
        await self._received(request)
        found = [{"id": name, "object": "model", "created": ADDED, "owned_by": "fake"} for name in MODELS]
        return web.json_response({"object": "list", "data": found})

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await self._received(request)
        scripted = self._next()
        if (failed := await self._failed(request, scripted)) is not None:
            return failed
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [{"object": "embedding", "index": at, "embedding": [float(at), 1.0]} for at in range(len(texts))]
        told = {"object": "list", "data": data, "model": body["model"]}
        return web.json_response(told | {"usage": {"prompt_tokens": 3, "total_tokens": 3}})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await self._received(request)
        scripted = self.scripted_for(body) or self._next()
        self.busy_count += 1
        is_over = False
        try:
            if (failed := await self._failed(request, scripted)) is not None:
                is_over = True
                return failed
            answer = await (self._streamed if body.get("stream") else self._whole)(request, body, scripted)
            is_over = True
            return answer
        except ConnectionResetError:
            return web.Response()
        finally:
            self.busy_count -= 1
            self.left_count += not is_over

    def _next(self) -> Scripted:
        return self.scripts.popleft() if self.scripts else self.otherwise

    async def _failed(self, request: web.Request, scripted: Scripted) -> web.StreamResponse | None:
        if scripted.gate is not None and not scripted.gate_after:
            await scripted.gate.wait()
        if scripted.cut_after == 0:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        if scripted.body is None and scripted.status == 200:
            return None
        told = (
            scripted.body
            or json.dumps(
                {"error": {"message": f"scripted {scripted.status}", "type": "x", "param": None, "code": "scripted"}}
            ).encode()
        )
        headers = {"content-type": "application/json", **scripted.headers}
        return web.Response(body=told, status=scripted.status, headers=headers)

    async def _whole(self, request: web.Request, body: Any, scripted: Scripted) -> web.StreamResponse:
        data = json.dumps(whole(body, scripted)).encode()
        if scripted.cut_after is None:
            return web.Response(body=data, headers=dict(scripted.headers), content_type="application/json")
        told = web.StreamResponse(headers={"content-length": str(len(data)), "content-type": "application/json"})
        await told.prepare(request)
        await told.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.close()
        raise ConnectionResetError

    async def _streamed(self, request: web.Request, body: Any, scripted: Scripted) -> web.StreamResponse:
        told = web.StreamResponse(headers={"content-type": "text/event-stream", **scripted.headers})
        await told.prepare(request)
        for at, chunk in enumerate(chunks(body, scripted)):
            if scripted.gate is not None and at == scripted.gate_after:
                await scripted.gate.wait()
            if at == scripted.cut_after:
                assert request.transport is not None
                request.transport.close()
                raise ConnectionResetError
            await told.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await told.write(b"data: [DONE]\n\n")
        return told


def said(body: Any, scripted: Scripted) -> str:
    if scripted.text is not None:
        return scripted.text
    if "messages" not in body:
        return f"again: {body['prompt']}"
    content = body["messages"][-1]["content"]
    return f"again: {content if isinstance(content, str) else content[0].get('text', '')}"


def whole(body: Any, scripted: Scripted) -> dict[str, Any]:
    """The answer of one request as JSON."""
    is_chat, text = "messages" in body, said(body, scripted)
    message: dict[str, Any] = {"role": "assistant", "content": None if scripted.tool_calls else text}
    if scripted.tool_calls:
        message["tool_calls"] = list(scripted.tool_calls)
    finish = "tool_calls" if scripted.tool_calls else scripted.finish
    choice = {"message": message} if is_chat else {"text": text}
    return {
        "id": "chatcmpl-1" if is_chat else "cmpl-1",
        "object": "chat.completion" if is_chat else "text_completion",
        "created": ADDED,
        "model": body["model"],
        "choices": [{"index": 0, **choice, "logprobs": None, "finish_reason": finish}],
    } | ({} if scripted.usage is None else {"usage": dict(scripted.usage)})


def chunks(body: Any, scripted: Scripted) -> Iterator[dict[str, Any]]:
    """The same as a stream."""
    is_chat, text = "messages" in body, said(body, scripted)
    has_usage = bool((body.get("stream_options") or {}).get("include_usage")) and scripted.usage is not None
    head: dict[str, Any] = {
        "id": "chatcmpl-1" if is_chat else "cmpl-1",
        "object": "chat.completion.chunk" if is_chat else "text_completion",
        "created": ADDED,
        "model": body["model"],
    }
    more = {"usage": None} if has_usage else {}

    def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        one = {"delta": delta} if is_chat else {"text": delta.get("content", "")}
        return head | {"choices": [{"index": 0, **one, "logprobs": None, "finish_reason": finish}]} | more

    if is_chat:
        yield choice({"role": "assistant", "content": ""})
    for at, call in enumerate(scripted.tool_calls):
        arguments = call["function"]["arguments"]
        yield choice({"tool_calls": [{"index": at, **call, "function": {**call["function"], "arguments": ""}}]})
        for start in range(0, len(arguments), 5):
            part = {"index": at, "function": {"arguments": arguments[start : start + 5]}}
            yield choice({"tool_calls": [part]})
    if not scripted.tool_calls:
        words = [word + " " for word in text.split(" ")]
        words[-1] = words[-1][:-1]
        for word in words if scripted.words is None else [f"w{at} " for at in range(scripted.words)]:
            yield choice({"content": word})
    yield choice({}, "tool_calls" if scripted.tool_calls else scripted.finish)
    if has_usage:
        assert scripted.usage is not None
        yield head | {"choices": [], "usage": dict(scripted.usage)}


@contextlib.contextmanager
def fake_upstream(port: int = 0) -> Iterator[FakeUpstream]:
    """In a thread of its own until the block ends. `stopped` and `started` of the module end it before, and again."""
    fake = FakeUpstream(port)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake upstream")
    thread.start()
    _LOOPS[id(fake)] = loop
    try:
        started(fake)
        yield fake
    finally:
        stopped(fake)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        _LOOPS.pop(id(fake))
        loop.close()


_LOOPS: dict[int, asyncio.AbstractEventLoop] = {}


def stopped(fake: FakeUpstream) -> None:
    """Nobody listens at its port any more, and every connection is cut."""
    asyncio.run_coroutine_threadsafe(fake.stop(), _LOOPS[id(fake)]).result(60)


def started(fake: FakeUpstream) -> None:
    """It listens (again), at its port."""
    asyncio.run_coroutine_threadsafe(fake.start(), _LOOPS[id(fake)]).result(60)


async def _alone(text: str | None) -> None:
    fake = FakeUpstream()
    fake.otherwise = Scripted(text)
    await fake.start()
    print(fake.url, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    await fake.stop()


if __name__ == "__main__":
    uvloop.run(_alone(sys.argv[1] if sys.argv[1:] else None))
