"""Answers of one tenant that are told again: looked up, decided about, kept, judged beside requests."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from littoral.answers.asked import Asked
from littoral.answers.author_limits import HourlyLimit
from littoral.answers.decision import Decision
from littoral.answers.entries import ANSWER_BYTES_MAX, Entry, Near
from littoral.answers.feedback import Feedback, ToldAnswer
from littoral.answers.hot import HotAnswer
from littoral.answers.judges import Embed
from littoral.answers.judging import Case, Judging
from littoral.answers.keys import Rules, asked_of, shape_of, unkept
from littoral.answers.normal import text_of
from littoral.answers.standing import Standing, Trust, standing
from littoral.answers.store import AnswerStore
from littoral.answers.watch import Watch
from littoral.clock import Clock
from littoral.errors import LittoralError, NotFoundError
from littoral.gateway.budgets import Prices
from littoral.gateway.control import Control
from littoral.gateway.near_misses import NearMiss, NearMisses
from littoral.gateway.question import Question
from littoral.gateway.tally import Tally
from littoral.gateway.unplaced import Unplaced
from littoral.telemetry import span

if TYPE_CHECKING:
    from littoral.gateway.keeping import Keeping

__all__ = ["Beside", "Remembered", "RememberedOptions"]

Vector = NDArray[np.float32]
_T = TypeVar("_T")

NEAREST = 3
PARTITIONS_MAX = 4096
MISSES_EXPECT = 20
"""So many questions in a row of a partition of which none could be told: another miss is expected. At any share p of
hits so many are asked for nothing: p (1 - p)^20, 1.8 % of requests where it is most."""

AskAhead = Literal["never", "unlikely", "always"]
ENDS = frozenset({"stop", "tool_calls", "function_call"})


class RememberedOptions(NamedTuple):
    """judge_name: for people; judge_of: with all that its verdicts depend on. embedder: the pipeline's name, '' where
    only the same request is known; embedder_models: digests of what makes its vectors, '' where nobody knows them.
    ask_ahead: an upstream while a question is compared.
    """

    ttl_s: int = 86_400
    stale_if_error_s: int = 3600
    similarity_min: float = 0.6
    judge_name: str = ""
    judge_of: str = ""
    embedder: str = ""
    embedder_models: str = ""
    ask_ahead: AskAhead = "unlikely"


class Beside(NamedTuple):
    """What was found beside a request. vector: of its question; None: there is nothing to compare it with, it is made
    when there is. near: the entry that was decided about. may: it may be told to this author.
    """

    vector: Vector | None
    near: Near | None = None
    decision: Decision | None = None
    may: bool = False

    @property
    def is_told(self) -> bool:
        return self.near is not None and self.decision is not None and self.may and self.decision.serve

    @property
    def could_be_told(self) -> bool:
        return self.decision is not None and self.may and self.decision.could_serve


class Remembered:
    """Of one tenant. embed: None where only the same request is known; size: of a
    vector; entries that are found by their request alone have one of no direction that a text has.

    keeping: of what it finds beside the store, where that is kept.
    failed_count: looks into the store, and vectors, that failed; the upstream was asked then.
    """

    def __init__(
        self,
        tenant: str,
        store: AnswerStore,
        watch: Watch,
        *,
        rules: Rules,
        trust: Trust,
        options: RememberedOptions,
        prices: Prices,
        judging: Judging,
        embed: Embed | None,
        size: int,
        tally: Tally,
        misses: NearMisses,
        rng: random.Random,
        clock: Clock,
        feedback: Feedback | None = None,
    ) -> None:
        self.tenant = tenant
        self.store = store
        self.watch = watch
        self.rules = rules
        self.trust = trust
        self.options = options
        self.judging = judging
        self.embed = embed
        self.misses = misses
        self.unplaced = Unplaced(store, clock)
        self.keeping: Keeping | None = None
        self.feedback = feedback or Feedback(clock)
        self.entry_limit = HourlyLimit(trust.entries_of_one_per_hour, clock)
        self.judgement_limit = HourlyLimit(trust.judgements_of_one_per_hour, clock)
        self.failed_count = 0
        self._missed: OrderedDict[bytes, int] = OrderedDict()
        self._prices = prices
        self._tally = tally
        self._size = size
        self._rng = rng
        self._clock = clock

    @property
    def judge_name(self) -> str:
        return self.options.judge_name

    @property
    def embedder(self) -> str:
        return self.options.embedder

    @property
    def ttl_s(self) -> int:
        return self.options.ttl_s

    def cost_micro(self, model: str, prompt_tokens: int, completion_tokens: int) -> int:
        return self._prices.micro(model, prompt_tokens, completion_tokens)

    def standing(self, near: Near, asked: Asked) -> Standing:
        """Whether this entry may be told to this author at all, and what was observed of it that counts."""
        return standing(near, asked, self.trust)

    def again(self, kind: str, data: bytes) -> HotAnswer | None:
        """What these bytes were told a moment ago."""
        return self.store.hot.find_body(f"{self.tenant}/{kind}", data)

    def keep_again(self, question: Question, entry: Entry, told: bytes) -> None:
        """For `again`. told: as it goes to the caller."""
        if not question.cache_control:
            self.store.hot.keep_body(f"{self.tenant}/{question.kind}", question.data, entry, told)

    def asked(self, question: Question) -> Asked:
        """Raises InputError for what is no request."""
        return asked_of(
            question.body,
            question.kind,
            tenant=self.tenant,
            author=question.author,
            rules=self.rules,
            cache_control=question.cache_control,
        )

    async def exact(self, asked: Asked, control: Control) -> Entry | None:
        """The answer to the same request, no older than the caller takes."""
        with span("gateway: exact") as spanned:
            found = await self._looked(self.store.exact(asked))
            spanned.note("littoral.found", found is not None)
        return found if found is not None and control.takes_age(self._clock.wall() - found.made_at_s) else None

    async def stale(self, asked: Asked, control: Control) -> Entry | None:
        """The answer to the same request after its time, where no upstream answers."""
        most_s = self.options.stale_if_error_s if control.stale_s is None else control.stale_s
        if (most_s := min(most_s, self.options.stale_if_error_s)) <= 0:
            return None
        return await self._looked(self.store.stale(asked, most_s))

    def is_miss_expected(self, asked: Asked, control: Control) -> bool:
        """Whether an upstream is asked while `beside` looks: nothing is told that is remembered, or hardly anything.

        So it is for the first question of a partition that is heard of, as each turn of a conversation is.
        """
        if self.embed is None or asked.reach != "semantic":
            return False
        if self.options.ask_ahead != "unlikely":
            return self.options.ask_ahead == "always"
        missed = self._missed.get(asked.partition, MISSES_EXPECT)
        return missed >= MISSES_EXPECT or not control.find or not self.watch.may_tell

    async def beside(
        self, asked: Asked, control: Control, *, is_late: Callable[[], bool] = lambda: False
    ) -> Beside | None:
        """The nearest remembered question, and whether its answer may be told. None: there is no vector.

        is_late: whether an upstream's answer is being told by now, which is none of those that are told again.
        """
        if self.embed is None or asked.reach != "semantic":
            return None
        with span("gateway: semantic") as spanned:
            if not await self._is_known(asked):
                self.watch.decide(None, 0.0, self._rng.random())
                return Beside(None)
            vector, _ = await asyncio.gather(self._embedded(asked), self._placed(asked))
            if vector is None:
                return None
            nears = await self._looked(self.store.nearest(asked, vector, NEAREST)) or []
            takes = [near for near in nears if control.takes_age(self._clock.wall() - near.entry.made_at_s)]
            found = self._decided(vector, asked, takes, is_late=is_late() or not control.find)
            self._heard(asked, 0 if found.could_be_told else self._missed.get(asked.partition, 0) + 1)
            if found.could_be_told and is_late():
                self._tally.outrun()
            if found.near is not None:
                spanned.note("littoral.similarity", found.near.similarity)
                spanned.note("littoral.told", found.is_told)
        return found

    async def _is_known(self, asked: Asked) -> bool:
        if asked.partition in self._missed:
            return True
        is_known = bool(await self._looked(self.store.holds(asked)))
        # where it holds nothing it will, before another question has its vector
        self._heard(asked, 0 if is_known else MISSES_EXPECT)
        return is_known

    def _heard(self, asked: Asked, missed: int) -> None:
        self._missed[asked.partition] = missed
        self._missed.move_to_end(asked.partition)
        if len(self._missed) > PARTITIONS_MAX:
            self._missed.popitem(last=False)

    async def _embedded(self, asked: Asked) -> Vector | None:
        assert self.embed is not None, "there is an embedder"
        try:
            return await self.embed(asked.question)
        except LittoralError:
            self.failed_count += 1
            return None

    async def _placed(self, asked: Asked) -> None:
        """What was kept of its partition without a vector has one, where it can be made."""
        assert self.embed is not None, "there is an embedder"
        await self._looked(self.unplaced.place(asked, self.embed))

    def _decided(self, vector: Vector, asked: Asked, nears: list[Near], *, is_late: bool) -> Beside:
        self.watch.asked(vector)
        if nears:
            self._tally.nearest(nears[0].similarity)
        found = [(near, self.standing(near, asked)) for near in nears if near.similarity >= self.options.similarity_min]
        found = [(near, one) for near, one in found if not one.is_apart]
        if not found:
            self.watch.decide(None, 0.0, self._rng.random())
            return Beside(vector)
        near, one = next(((near, one) for near, one in found if one.may), found[0])
        u = self._rng.random()
        decision = self.watch.decide(one.observations, near.similarity, u, is_late=is_late and one.may)
        return Beside(vector, near, decision if one.may else decision._replace(serve=False), may=one.may)

    def told(self, near: Near, asked: Asked) -> str:
        """The id under which the caller may say whether it was right."""
        return self.feedback.told(ToldAnswer(near.entry.id, near.similarity, self.tenant, asked.author))

    async def labelled(self, answer_id: str, author: bytes, *, is_correct: bool) -> None:
        """What somebody says of what they were told: durable when it returns.

        Raises as `Feedback.labelled` and `AnswerStore.observe`; NotFoundError where the answer is no longer kept.
        """
        found = self.feedback.labelled(answer_id, tenant=self.tenant, author=author)
        try:
            is_kept = await self.store.observe(found.entry_id, found.similarity, is_correct, author=found.author)
        except LittoralError:
            self.feedback.unkept(answer_id)
            raise
        if not is_kept:
            raise NotFoundError(
                "the answer that was told is no longer remembered", hint="nothing is to be learned of it"
            )
        self.watch.labelled(is_correct=is_correct)

    async def forget_purged(self, entry: bytes | None, model: str | None, *, is_all: bool) -> None:
        """Near misses of entries that are gone, of this entry, of this model; is_all: all. On disk, too, when it
        returns.
        """
        gone = frozenset[bytes]() if is_all else await self.store.missing(self.misses.entries)
        self.misses.forget(lambda one: is_all or one.model == model or entry in one.answers or one.entry in gone)
        if self.keeping is not None:
            await self.keeping.now()

    async def judged_by_hand(self, miss: NearMiss, author: bytes, *, is_correct: bool) -> None:
        """The entry learns from it, and so does the bound where the judge could not tell. Durable when it returns.

        Raises as `AnswerStore.observe`; NotFoundError where the answer is no longer kept.
        """
        try:
            is_kept = await self.store.observe(miss.entry, miss.similarity, is_correct, author=author)
        except LittoralError:
            self.misses.add(miss)
            raise
        if not is_kept:
            raise NotFoundError("the answer of this near miss is no longer remembered")
        if miss.decision is not None:
            self.watch.judged(miss.decision, is_correct)

    async def keep(
        self,
        question: Question,
        asked: Asked,
        answer: Mapping[str, Any],
        body: bytes,
        *,
        beside: Callable[[], Awaitable[Beside | None]],
        tokens: tuple[int, int],
        cost_micro: int,
        mark: int,
    ) -> None:
        """An upstream's answer: kept, or held against the one that is remembered beside it. Raises nothing that the
        store does. beside: what was found there, or will be; nobody waits for it where nothing is kept.
        """
        if len(body) > ANSWER_BYTES_MAX or not _is_whole(answer) or unkept(text_of(body) or "", self.rules):
            return
        now_s = int(self._clock.wall())
        if question.cache_control:
            self.store.hot.drop(lambda one: one.exact == asked.exact)
        found = await beside()
        vector = None if found is None else found.vector
        entry = Entry(
            tenant=self.tenant,
            model=question.model,
            exact=asked.exact,
            partition=asked.partition,
            question=asked.question,
            answer=body,
            made_at_s=now_s,
            expires_at_s=now_s + self.options.ttl_s,
            author=asked.author,
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
            cost_micro=cost_micro,
            policy_version=self.rules.policy_version,
            kind=question.kind,
            shape=shape_of(question.body, question.kind, self.rules),
            is_unplaced=found is not None and vector is None,
        )
        if found is None or found.near is None:
            await self._kept(entry, vector, mark)
            return
        self.store.hot.keep_exact(entry)
        near, decision = found.near, found.decision

        async def judged(is_correct: bool | None) -> None:
            if is_correct is not None:
                await self.store.observe(near.entry.id, near.similarity, is_correct, author=asked.author)
                if decision is not None:
                    is_of_many = not self.judgement_limit.take(self.tenant, asked.author)
                    self.watch.judged(decision, is_correct, is_of_many=is_of_many)
            self._near_miss(near, entry, is_correct, decision)
            if not is_correct:
                await self._kept(entry, vector, mark)

        if not self.judging.offer(Case(asked.question, near.entry.answer, body, judged)):
            await judged(None)

    async def _kept(self, entry: Entry, vector: Vector | None, mark: int) -> None:
        if not self.entry_limit.take(self.tenant, entry.author):
            return
        if vector is not None:
            await self.store.keep(entry, vector, mark=mark)
            return
        await self.store.keep(entry, _nowhere(entry.exact, self._size), mark=mark)
        if entry.is_unplaced:
            self.unplaced.kept(entry.partition)

    def _near_miss(self, near: Near, entry: Entry, verdict: bool | None, decision: Decision | None) -> None:
        miss = NearMiss(
            id=NearMiss.id_of(entry.id, near.entry.id),
            entry=near.entry.id,
            model=entry.model,
            at_s=self._clock.wall(),
            similarity=near.similarity,
            question=entry.question,
            cached_question=near.entry.question,
            fresh=text_of(entry.answer) or "",
            cached=text_of(near.entry.answer) or "",
            judged=verdict,
            decision=decision if verdict is None else None,
        )
        self.misses.add(miss)

    async def _looked(self, look: Awaitable[_T]) -> _T | None:
        """What the store says; None where it fails: the upstream is asked then."""
        try:
            return await look
        except LittoralError:
            self.failed_count += 1
            return None


def _nowhere(exact: bytes, size: int) -> Vector:
    """A direction of its own, which is far from those of texts where vectors are long."""
    found = np.random.default_rng(int.from_bytes(exact[:8])).normal(size=size)
    return np.asarray(found / np.linalg.norm(found), np.float32)


def _is_whole(answer: Mapping[str, Any]) -> bool:
    """Whether it has said all it had to say."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return False
    return choices[0].get("finish_reason") in ENDS
