"""Which form of its kernel each layer should take: timed in the whole model, all candidates in turn.

A model is compiled once for each candidate of its problems; a round times every layer of every one of these, in order,
so that each finds in the caches what it finds there in a whole run, and a change of the machine's speed meets all.
Processor time is what counts. What looks faster is compiled once more and held against the compiler's rules again: what
does not hold twice is left.
"""

import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

import littoral
from littoral.artifact import Store
from littoral.artifact.manifest import layer_entry
from littoral.clock import SYSTEM, THREAD, Clock
from littoral.compiler.driver import Planned, Progress, retuned, silent, written
from littoral.compiler.emit import EMPTY_ENTRY
from littoral.compiler.plan import RULES, Tuning
from littoral.compiler.plan.choice import RULE, Choice
from littoral.compiler.plan.problem import Problem
from littoral.compiler.plan.tuning import Entry, Machine
from littoral.quality.candidates import STAGES, gain_min
from littoral.quality.machine_limit import Multiplications
from littoral.tensors import Array

__all__ = ["Tuned", "measured_machine", "tune"]

ROUNDS_MIN, ROUNDS_MAX = 5, 25
WARM_UP_ROUNDS = 1
LIMIT_RUNS = 20
EMPTY_CALLS = 4
SHORT_MS = 0.05  # layers of a problem together: below it there is nothing to gain, and too little to time
LATER_GAIN_MIN = 1.02  # what a candidate with more code must gain over one with less
SESSIONS_BYTES_MAX = 1 << 30  # memory of the models that are timed in turn
QUANTILE = 0.25  # of the rounds: other work, which empties the caches, only ever makes a round longer


class Tuned(NamedTuple):
    """One problem of a model: its layers' time by the rules, and by the choice, in milliseconds."""

    problem: Problem
    layers: int
    rule_ms: float
    choice: Choice
    choice_ms: float

    @property
    def gain(self) -> float:
        return self.rule_ms / self.choice_ms if self.choice_ms else 1.0


def tune(
    found: Planned,
    feeds: Mapping[str, Array],
    *,
    known: Tuning = RULES,
    budget_s: float = 60.0,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
) -> list[Tuned]:
    """What each problem of a model takes best; problems that the table `known` holds are left as they are there.

    The model must be one of which `why_untimed` says nothing; feeds: for its first variant. budget_s: about as long
    as is timed, besides compiling; at least `ROUNDS_MIN` rounds are. Raises as `Session.run`.
    """
    held = {entry.problem for entry in known.entries}
    search = _Search(found, feeds, known, budget_s / (len(STAGES) + 1), progress, clock)
    best = {p: RULE for p in search.problems if p not in held}
    if not best:
        return []
    for stage in STAGES:
        options = {problem: stage.candidates(problem, choice) for problem, choice in best.items()}
        trials = [_trial(options, best, i) for i in range(max(map(len, options.values()), default=0))]
        for problem, gains in search.gains(stage.name, best, trials).items():
            best[problem] = _chosen(best[problem], [(t[problem], gain) for t, gain in zip(trials, gains, strict=True)])
    return search.confirmed(best)


def measured_machine() -> Machine:
    """This one, for a table."""
    with Multiplications() as multiplications:
        limit = max(multiplications.gflops(THREAD) for _ in range(LIMIT_RUNS))
    info = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.*)$", info.read_text() if info.exists() else "", re.MULTILINE)
    return Machine(
        name[1] if name else "unknown", f"wasmtime {importlib.metadata.version('wasmtime')}", round(limit, 1)
    )


Choices = dict[Problem, Choice]


def _trial(options: Mapping[Problem, Sequence[Choice]], best: Choices, index: int) -> Choices:
    """The candidate of that number for every problem; the best so far where there are fewer."""
    return {p: options[p][index] if index < len(options[p]) else choice for p, choice in best.items()}


def _chosen(old: Choice, candidates: Sequence[tuple[Choice, float]]) -> Choice:
    """The candidate that gains most, if it gains enough. gain: over the old choice."""
    choice, most = old, 1.0
    for candidate, gain in candidates:
        if gain >= max(gain_min(old, candidate), most * LATER_GAIN_MIN):
            choice, most = candidate, gain
    return choice


class _Search:
    """One model, timed with one table after the other."""

    def __init__(
        self,
        found: Planned,
        feeds: Mapping[str, Array],
        known: Tuning,
        stage_s: float,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self.found = found
        self.feeds = feeds
        self.known = known
        self.stage_s = stage_s
        self.progress = progress
        self.clock = clock
        calls = found.layouts[0].program.layers()
        self.layers: dict[Problem, list[int]] = {}
        for i, call in enumerate(calls):
            if call.lowered.problem is not None:
                self.layers.setdefault(call.lowered.problem, []).append(i)
        self.problems = tuple(self.layers)

    def gains(self, name: str, best: Choices, trials: Sequence[Choices]) -> dict[Problem, list[float]]:
        """How many times as fast as by the best choices so far each problem is in each trial."""
        gains: dict[Problem, list[float]] = {problem: [] for problem in best}
        together = max(1, SESSIONS_BYTES_MAX // self._memory_bytes() - 1)
        for at in range(0, len(trials), together):
            part = trials[at : at + together]
            stage_s = self.stage_s * len(part) / len(trials)
            base, *others = self._times_ms(f"{name} {at + 1}–{at + len(part)}", [best, *part], stage_s)
            for problem, found in gains.items():
                found += [base[problem] / max(other[problem], 1e-9) for other in others]
        return gains

    def confirmed(self, best: Choices) -> list[Tuned]:
        """The choices that hold against the rules once more; the rules where they do not, and short ones left out."""
        by_rule, by_choice = self._times_ms("confirm", [dict.fromkeys(best, RULE), best], self.stage_s)
        tuned = []
        for problem, choice in best.items():
            rule_ms, choice_ms, layers = by_rule[problem], by_choice[problem], len(self.layers[problem])
            if rule_ms < SHORT_MS:
                continue
            if choice == RULE or rule_ms < gain_min(RULE, choice) * choice_ms:
                tuned.append(Tuned(problem, layers, rule_ms, RULE, rule_ms))
            else:
                tuned.append(Tuned(problem, layers, rule_ms, choice, choice_ms))
        return tuned

    def _memory_bytes(self) -> int:
        return self.found.layouts[0].pages * 65536

    def _times_ms(self, name: str, tables: Sequence[Choices], stage_s: float) -> list[dict[Problem, float]]:
        """By table, what all layers of each problem take together."""
        entries = [*[EMPTY_ENTRY] * EMPTY_CALLS, *(layer_entry(i) for i in range(self._layer_count()))]
        times_ms: list[list[list[float]]] = [[] for _ in tables]
        with ExitStack() as stack:
            self.progress(f"{name}: compile", 0, 0)
            timed = [self._timed(stack, table, entries) for table in tables]
            end, done = self.clock.monotonic() + stage_s, -WARM_UP_ROUNDS
            while done < ROUNDS_MIN or (done < ROUNDS_MAX and self.clock.monotonic() < end):
                for time, into in zip(timed, times_ms, strict=True):
                    round_ms = time()
                    if done >= 0:
                        into.append(round_ms)
                done += 1
                self.progress(name, max(done, 0), ROUNDS_MAX)
        return [self._by_problem(np.array(rounds_ms)) for rounds_ms in times_ms]

    def _layer_count(self) -> int:
        return sum(1 for _ in self.found.layouts[0].program.layers())

    def _timed(self, stack: ExitStack, choices: Choices, entries: Sequence[str]) -> Callable[[], list[float]]:
        """A round of the model with these choices."""
        table = Tuning(
            format=1,
            machine=RULES.machine,
            entries=(*self.known.entries, *(Entry(problem, choice) for problem, choice in choices.items())),
        )
        model = written(retuned(self.found, table), apart=True)
        Store().record(model.digest)
        session = stack.enter_context(littoral.load(model))
        return lambda: session.time_entries(self.feeds, entries, THREAD)

    def _by_problem(self, times_ms: Array) -> dict[Problem, float]:
        """times_ms: f64[round, empty calls and layers]."""
        layers_ms = np.quantile(times_ms, QUANTILE, axis=0)
        layers_ms = np.maximum(layers_ms[EMPTY_CALLS:] - layers_ms[EMPTY_CALLS - 1], 0)
        return {problem: float(layers_ms[found].sum()) for problem, found in self.layers.items()}
