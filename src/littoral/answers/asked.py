"""A question as the cache knows it: who may be told its answer again, and for which other questions."""

from typing import Literal, NamedTuple

__all__ = ["Asked", "Reach"]

Reach = Literal["nothing", "exact", "semantic"]
"""How far an answer may be told again: not at all, to the same request, or to one that asks the same."""


class Asked(NamedTuple):
    """exact: SHA-256 of the normalised request, its partition among it. partition: 16 bytes, of all that must be equal
    before a question can be similar: tenant, route, model, system prompt, tools, response format, temperature class,
    policy version, earlier turns. question: the text that is embedded, the last turn. reason: why it reaches no
    further, for people; empty where it does. author: digest of whose token asked, for limits on one author.
    """

    tenant: str
    model: str
    exact: bytes
    partition: bytes
    question: str
    reach: Reach
    reason: str = ""
    author: bytes = b""
