"""Hits of pipelines that search for a text: the same text again, and no write since, needs no network and no shard."""

import hashlib
import json
from typing import NamedTuple

import msgspec

from littoral.node.caches import Use
from littoral.node.embedders import HOST_STEPS, made_of, takes_text
from littoral.node.node import Node, ServedPipeline
from littoral.runtime.pipeline import Answer
from littoral.runtime.step import How
from littoral.vectors.records import Hit
from littoral.vectors.result_cache import Scope, question_key

__all__ = ["TextQuestion", "text_question"]

STEPS = frozenset({"agent", "model", "step"})


class _Kept(msgspec.Struct, array_like=True):
    hits: list[Hit]
    searched: dict[str, object] | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class TextQuestion(NamedTuple):
    """A text for a pipeline whose one search comes last. scope: of the collection that it searches."""

    node: Node
    collection: str
    scope: Scope
    key: bytes
    use: Use

    def find(self) -> Answer | None:
        if not self.use.find or (known := self.node.caches.results.find(self.key)) is None:
            return None
        kept = _decode(known)
        return Answer(kept.hits, How(node=self.node.name, cache="exact", search=kept.searched))

    def keep(self, answer: Answer) -> None:
        """Unless something was written meanwhile."""
        if not self.use.keep or not isinstance(answer.value, list):
            return
        if self.node.caches.results.scope(self.node.collections.get(self.collection)) == self.scope:
            kept = _encode(_Kept(answer.value, answer.how.search))
            self.node.caches.results.keep(self.key, kept)


def text_question(node: Node, served: ServedPipeline, data: bytes, use: Use) -> TextQuestion | None:
    """None for a pipeline of another kind. Raises NotFoundError where its collection was deleted."""
    *others, last = served.steps
    if last.kind != "search" or not others or not takes_text(served, node):
        return None
    if any(step.kind not in STEPS or (step.kind == "step" and step.uses not in HOST_STEPS) for step in others):
        return None
    if (scope := node.caches.results.scope(node.collections.get(last.uses))) is None:
        return None
    told = json.dumps([served.name, *(made_of(step, node) for step in others)]).encode()
    key = question_key(scope, b"text" + hashlib.sha256(told).digest() + data)
    return TextQuestion(node, last.uses, scope, key, use)
