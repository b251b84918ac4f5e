"""Whether an entry that one author made may be told to another of the same tenant, and whose questions count for it."""

from typing import Literal, NamedTuple

import msgspec

from littoral.answers.asked import Asked
from littoral.answers.entries import Near
from littoral.answers.facts import differs
from littoral.answers.observations import Observations

__all__ = ["Standing", "Told", "Trust", "standing"]

Told = Literal["tenant", "confirmed", "author"]


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """told: whom a learned answer may be told to, for a similar question. "tenant": everybody of the tenant, whose
    members trust each other. "confirmed": others than its author once that many others (`confirmations_min`) asked
    something similar, were answered by an upstream, and the judge found both answers the same. "author": its author.
    observations_of_one_max: judged questions of one author that count in one entry for others.
    facts: whether differing numbers, negations, names or lengths keep an entry from being told. scripts: first words of
    the Unicode names of letters that the embedder was trained on. entries_of_one_per_hour: new ones of one author.
    judgements_of_one_per_hour: of one author, that decide for all how far answers are told.
    """

    told: Told = "confirmed"
    confirmations_min: int = 1
    observations_of_one_max: int = 16
    facts: bool = True
    scripts: tuple[str, ...] = ("LATIN",)
    entries_of_one_per_hour: int = 20_000
    judgements_of_one_per_hour: int = 2_000


class Standing(NamedTuple):
    """may: the entry may be told, if the decision on `observations` says so too; if not, the upstream is asked, and
    what comes is judged against the entry. reason: why not, for people. is_apart: the questions differ in a fact, so
    what comes says nothing about the entry.
    """

    may: bool
    observations: Observations
    reason: str = ""
    is_apart: bool = False


def standing(near: Near, asked: Asked, trust: Trust) -> Standing:
    """For similar questions; the same request of the same partition has the same answer, whoever asks."""
    entry, labels = near.entry, near.labels
    is_trusted = entry.tier == "curated" or trust.told == "tenant" or entry.author == asked.author
    without = None if is_trusted else entry.author
    heard = labels.heard(without=without, of_one_max=trust.observations_of_one_max, free=asked.author)
    if trust.facts and (reason := differs(asked.question, entry.question, scripts=frozenset(trust.scripts))):
        return Standing(False, heard, reason, is_apart=True)
    if is_trusted:
        return Standing(True, heard)
    if trust.told == "author":
        return Standing(False, heard, "made by another author, and told to its own only")
    count, wanted = labels.confirmed_by(without=entry.author), trust.confirmations_min
    if count < wanted:
        return Standing(False, heard, f"made by another author, confirmed by {count} of {wanted} others")
    return Standing(True, heard)
