"""What one tenant's gateway remembers: its collection, made where it is missing, and who decides and judges."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from littoral.answers.decision import Policy
from littoral.answers.feedback import Feedback
from littoral.answers.judges import Chain, Embed, Embedding, Exact, Judge, Normalised
from littoral.answers.judging import Judging
from littoral.answers.keys import Rules
from littoral.answers.model_judge import JudgeBudget, ModelJudge, Reply
from littoral.answers.standing import Trust
from littoral.answers.store import StoreBounds
from littoral.answers.watch import Watch
from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import UpstreamError
from littoral.gateway.budgets import Prices, texts_of, tokens_of
from littoral.gateway.keeping import FILE_MODE, Keeping, Part, read_part
from littoral.gateway.near_misses import NearMisses
from littoral.gateway.remembered import Remembered, RememberedOptions
from littoral.gateway.tally import Tally
from littoral.gateway.upstreams import Outgoing, Upstreams
from littoral.node.gateway.answers_collection import NO_EMBEDDER, AnswersEmbedder, open_store
from littoral.node.gateway.embedding import QuestionEmbedder
from littoral.node.gateway.kept_files import GATEWAY, IDS, LABELLED, MISSES, WATCH
from littoral.node.gateway.sealing import Seal
from littoral.node.gateway_tables import AnswersTable, GatewayTable, RulesTable, TrustTable
from littoral.node.node import Node
from littoral.vault import KEY_BYTES, Key, KeyRing

__all__ = ["open_answers", "rules_of"]

WATCH_S, MISSES_S = 5.0, 10.0

Say = Callable[[str], None]


@contextlib.asynccontextmanager
async def open_answers(
    node: Node,
    table: GatewayTable,
    upstreams: Upstreams,
    prices: Prices,
    embedder: QuestionEmbedder | None,
    tally: Tally,
    clock: Clock,
    say: Say,
    seal: Seal,
) -> AsyncIterator[Remembered]:
    """node: as the tenant sees it. seal: for texts beside the collection. Raises SettingError for a collection of
    another kind.
    """
    cache, folder = table.cache, node.data / GATEWAY
    folder.mkdir(parents=True, exist_ok=True)
    embed = None if embedder is None else embedder.of(node)
    own = NO_EMBEDDER
    if embedder is not None and embed is not None:
        own = AnswersEmbedder(embedder.size, embedder.models, embed)
    opening = open_store(node.collections, folder, cache.collection, own, _bounds(cache), clock, say)
    watch, misses = await asyncio.to_thread(_found, folder, _policy(cache), seal)
    feedback = await asyncio.to_thread(_feedback, folder, node, clock)
    keeping = Keeping(_parts(folder, watch, misses, feedback, seal), clock)
    judging = Judging(_judge(cache, upstreams, prices, embed, clock), cases_max=cache.judge_waiting_max)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(opening)
        await stack.enter_async_context(keeping)
        await stack.enter_async_context(judging)
        found = Remembered(
            node.tenant,
            store,
            watch,
            rules=rules_of(table.rules),
            trust=_trust(table.trust),
            options=RememberedOptions(
                ttl_s=cache.ttl_s,
                stale_if_error_s=cache.stale_if_error_s,
                similarity_min=cache.similarity_min,
                judge_name=cache.judge,
                judge_of=_judge_of(cache),
                embedder="" if embedder is None else embedder.name,
                ask_ahead=cache.ask_ahead,
                embedder_models=" ".join(model.digest for model in own.models),
            ),
            prices=prices,
            judging=judging,
            embed=embed,
            size=1 if embedder is None else embedder.size,
            tally=tally,
            misses=misses,
            rng=random.SystemRandom(),
            clock=clock,
            feedback=feedback,
        )
        found.keeping = keeping
        yield found


def rules_of(table: RulesTable) -> Rules:
    """Raises SettingError for a pattern that is none."""
    given: dict[str, Any] = msgspec.structs.asdict(table)
    return Rules(**(given | {name: tuple(given[name]) for name in ("private_markers", "words")}))


def _trust(table: TrustTable) -> Trust:
    given: dict[str, Any] = msgspec.structs.asdict(table)
    return Trust(**(given | {"scripts": ("LATIN", *table.scripts)}))


def _policy(cache: AnswersTable) -> Policy:
    return Policy(
        target=cache.target,
        delta=cache.delta,
        fit=cache.fit,
        explore_share=cache.explore_share,
        observations_min=cache.observations_min,
    )


def _bounds(cache: AnswersTable) -> StoreBounds:
    return StoreBounds(
        entries_max=cache.entries_max,
        bytes_max=cache.disk_mb << 20,
        hot_bytes_max=cache.hot_mb << 20,
        stale_s=cache.stale_if_error_s,
    )


def _judge(cache: AnswersTable, upstreams: Upstreams, prices: Prices, embed: Embed | None, clock: Clock) -> Judge:
    if cache.judge == "exact":
        return Exact()
    if cache.judge == "embedding" and embed is not None:
        return Chain([Normalised(), Embedding(embed, cache.judge_similarity)])
    if cache.judge == "model":
        assert cache.judge_model is not None, "the site file was checked"
        ask = _asking(cache.judge_model, upstreams, prices, clock)
        return Chain([Normalised(), ModelJudge(ask, JudgeBudget(), clock)])
    return _People() if cache.judge == "feedback" else Normalised()


def _judge_of(cache: AnswersTable) -> str:
    more = {"embedding": f" {cache.judge_similarity:g}", "model": f" {cache.judge_model}"}
    return cache.judge + more.get(cache.judge, "")


class _People:
    """Nobody here can tell: those who are told answers do."""

    name = "feedback"

    async def same(self, _question: str, _cached: bytes, _fresh: bytes, /) -> bool | None:
        return None


def _asking(model: str, upstreams: Upstreams, prices: Prices, clock: Clock) -> Any:
    async def ask(system: str, user: str, tokens_max: int) -> Reply:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": tokens_max}
        data = msgspec.json.encode(body)
        until_s = clock.monotonic() + JudgeBudget().timeout_s
        outgoing = Outgoing("/chat/completions", body, data, model, is_stream=False, until_s=until_s)
        async with upstreams.ask(outgoing) as begun:
            name, status, answer = begun.upstream.name_of(model), begun.status, begun.first
        if status != 200:
            raise UpstreamError(f"judge `{model}`: status {status}", kind="status", status=status)
        told = msgspec.json.decode(answer, type=dict[str, Any])
        prompt, completion = tokens_of(told, len(data))
        return Reply("".join(texts_of(told)), prompt + completion, prices.micro(name, prompt, completion))

    return ask


def _found(folder: Path, policy: Policy, seal: Seal) -> tuple[Watch, NearMisses]:
    watch = Watch(policy)
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        watch = Watch.of(policy, msgspec.json.decode(read_part(folder / WATCH) or b"{}", type=dict[str, Any]))
    return watch, NearMisses.of(read_part(folder / MISSES, seal.unpack))


def _feedback(folder: Path, node: Node, clock: Clock) -> Feedback:
    found = Feedback(clock, node.keys or KeyRing([_own_key(folder / IDS)]))
    found.keep_on(read_part(folder / LABELLED))
    return found


def _own_key(file: Path) -> Key:
    """Of this process alone where the disk does not take it."""
    data = read_part(file)
    if data is None or len(data) != KEY_BYTES:
        data = secrets.token_bytes(KEY_BYTES)
        with contextlib.suppress(OSError):
            write_atomically(file, data, FILE_MODE)
    return Key(data)


def _parts(folder: Path, watch: Watch, misses: NearMisses, feedback: Feedback, seal: Seal) -> list[Part]:
    def told() -> bytes:
        return msgspec.json.encode(watch.told())

    def mark() -> object:
        return watch.statistics(), watch.state

    return [
        Part(folder / WATCH, told, mark, WATCH_S),
        Part(folder / LABELLED, feedback.kept, lambda: feedback.change_count, WATCH_S),
        Part(folder / MISSES, misses.told, lambda: misses.change_count, MISSES_S, seal.pack),
    ]
