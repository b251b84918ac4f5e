"""The rules that keep answers from being told again, as sentences with their reasons and keys in the site file."""

from collections.abc import Iterator

from littoral.answers.keys import Rules
from littoral.answers.markers import Markers
from littoral.node.gateway.shown import RuleTold

__all__ = ["rules_in_words"]

SHOWN_MAX = 8
ALWAYS = (
    ("Requests with `cache-control: no-store`", "Who asks says so"),
    ("Requests for several answers (`n`, `best_of`)", "They ask for variety"),
    ("Requests for sound", "The answer is no text"),
)
APART = (
    "Other tenants, models, system prompts, earlier turns, response formats, classes of temperature: never across. "
    "Only requests that have all of this in common are compared by their question."
)


def rules_in_words(rules: Rules) -> list[RuleTold]:
    """In the order in which they decide: what is told to nobody, then what is told to the same request only."""
    return [*_never(rules), *_no_further(rules)]


def _never(rules: Rules) -> Iterator[RuleTold]:
    for what, why in ALWAYS:
        yield RuleTold(what, why, "nothing", "")
    if not rules.tools:
        yield RuleTold("Requests with tools", "The answer depends on more than the question", "nothing", "tools")
    if not rules.images:
        yield RuleTold("Requests with pictures or sound", "Only text is compared", "nothing", "images")
    yield RuleTold(
        f"A temperature above {rules.temperature_max:g}",
        "Who sets it asks for variety",
        "nothing",
        "temperature_max",
    )
    if not rules.unset_temperature:
        yield RuleTold(
            "Requests that name no temperature", "The service's own may be high", "nothing", "unset_temperature"
        )
    if rules.private_markers:
        yield RuleTold(
            f"Requests and answers with {_listed(rules.private_markers)}",
            "They hold what is private",
            "nothing",
            "private_markers",
        )
    if rules.words:
        yield RuleTold(
            f"Questions with {_listed(rules.words)}",
            "The answer holds for one person or one moment",
            "nothing",
            "words",
        )
    if rules.private_markers:
        searched = min(rules.scan_chars_max, Markers.of(rules.private_markers, rules.words).chars_max)
        yield RuleTold(
            f"Requests and answers over {searched:,} characters",
            "They are not searched for what is private",
            "nothing",
            "scan_chars_max",
        )
    yield RuleTold(
        f"Answers under another policy version than `{rules.policy_version}`",
        "What they were told by has changed",
        "nothing",
        "policy_version",
    )


def _no_further(rules: Rules) -> Iterator[RuleTold]:
    if rules.tools:
        yield RuleTold("Requests with tools", "The answer depends on more than the question", "exact", "tools")
    if rules.images:
        yield RuleTold("Requests with pictures or sound", "Only text is compared", "exact", "images")
    yield RuleTold(
        f"Conversations with more than {rules.turns_max:,} earlier turns",
        "The question says too little of them",
        "exact",
        "turns_max",
    )
    yield RuleTold(
        f"Questions over {rules.question_chars_max:,} characters",
        "A vector says too little of them",
        "exact",
        "question_chars_max",
    )
    yield RuleTold("Requests whose last turn is no text of a user", "There is no question to compare", "exact", "")
    yield RuleTold(
        "Questions with characters that do not show or only look like others",
        "A vector does not see what they hide",
        "exact",
        "",
    )
    yield RuleTold("Whatever differs beside the question", APART, "exact", "")


def _listed(patterns: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{pattern}`" for pattern in patterns[:SHOWN_MAX])
    more = len(patterns) - SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown
