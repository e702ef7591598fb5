"""Why nothing meets the limits, and what would."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import combinations

import numpy as np

from optimizer.answer import Conflict, Infeasibility, LimitName, rounded
from optimizer.candidates import Candidates, candidates_of
from optimizer.objective import Objective
from optimizer.problem import Problem
from optimizer.ranking import is_met
from optimizer.spans import Spans
from presets import ClusterSpec
from presets.scale_out import MAX_GPUS

STEP = 1.0005
"""Ratio within which a TTFT, a target and a rate are found by bisection. [1]"""

EXACT = 1e-9
"""Within which a speed that was evaluated is found again. [1]"""

LOWEST_RATE = 1e-6
"""A rate that asks for nothing. [1/s]"""

SLOWEST, LONGEST = 0.1, 1e6
"""A target that asks for nothing [token/s], and a TTFT that does [s]."""

LEFT_OUT: tuple[LimitName, ...] = ("max_ttft", "concurrency", "rate", "max_gpus", "target")
"""Which of several limits is left out, where no change of one would do."""


def find_infeasibility(problem: Problem) -> Infeasibility:
    """Find the smallest set of limits that conflict, what each would have to be, and a way out.

    Sets are tried by size, each by a search with its limits alone.

    Parameters
    ----------
    problem : Problem
        Whose limits nothing in the space meets.
    """
    return find_infeasibilities(problem, [problem.limits.target])[0]


def find_infeasibilities(problem: Problem, targets: Sequence[float]) -> list[Infeasibility]:
    """Find as `find_infeasibility` does for each of several targets that nothing meets."""
    known = _Known()
    return [_infeasibility(_Relaxed(problem.at(target), known)) for target in targets]


def _infeasibility(relaxed: _Relaxed) -> Infeasibility:
    problem, spans = relaxed.problem, relaxed.spans
    highest = relaxed.needed("target")
    conflicts = _conflicts(relaxed, highest)
    every = np.arange(len(spans))
    rate = spans.rate(every, spans.least.astype(np.float64))
    speed = spans.promised / rate.tpot_at(problem.limits.target_percentile)
    fastest = int(np.argmax(speed))
    step_parts = {name: np.broadcast_to(part, len(spans)) for name, part in rate.step.parts.items()}
    parts = {name: float(seconds[fastest]) for name, seconds in step_parts.items()}
    largest = max(parts, key=lambda name: parts[name])
    step = sum(parts.values())
    return Infeasibility(
        conflicts=conflicts,
        limits=problem.limits,
        highest_target=highest,
        step_ms=1e3 * step,
        tokens_per_step=step / float(rate.tpot[fastest]),
        tok_s_per_user=float(speed[fastest]),
        largest_part=largest,
        largest_part_ms=1e3 * parts[largest],
    )


def _conflicts(
    relaxed: _Relaxed, highest: float | None, without: tuple[LimitName, ...] = ()
) -> tuple[Conflict, ...]:
    """Find the smallest set of limits that conflict; with no way out, those without one of it.

    `highest` is the highest target; `without` names limits that were left out.
    """
    asked = {name: value for name, value in relaxed.asked().items() if name not in without}
    sets = (chosen for size in range(1, len(asked)) for chosen in combinations(asked, size))
    # That all together are not met is what the search has found.
    names = next((chosen for chosen in sets if not relaxed.is_met(chosen)), tuple(asked))
    ways = {name: highest if name == "target" else relaxed.needed(name) for name in names}
    found = tuple(
        Conflict(limit=name, asked=asked[name], needed=needed, without=without)
        for name, needed in ways.items()
    )
    if highest is not None or any(ways.values()) or len(asked) == 1:
        return found
    left_out = next(name for name in LEFT_OUT if name in names)
    fewer = relaxed.leaving_out(left_out)
    highest = None if "target" in (*without, left_out) else fewer.needed("target")
    return found + _conflicts(fewer, highest, (*without, left_out))


class _Known:
    """What was found once: workers of the space, and which problems are met."""

    def __init__(self) -> None:
        self.candidates: dict[tuple[object, ...], Candidates] = {}
        self.met: dict[tuple[object, ...], bool] = {}

    def gathered(self, problem: Problem) -> Candidates:
        """Gather the candidates of a problem, which other targets, TTFT and users share."""
        limits = replace(problem.limits, target=SLOWEST, max_ttft=None, concurrency=None)
        goal = problem.objective.name, problem.objective.billing
        key = limits, goal, problem.cluster, problem.prefill_cluster
        if key not in self.candidates:
            self.candidates[key] = candidates_of(problem)
        return self.candidates[key].asked(problem)

    def is_met(self, problem: Problem) -> bool:
        """Whether a search finds anything."""
        key = problem.limits, problem.objective, problem.cluster, problem.prefill_cluster
        if key not in self.met:
            self.met[key] = is_met(problem, self.gathered)
        return self.met[key]


class _Relaxed:
    """The problem with some of its limits."""

    def __init__(self, problem: Problem, known: _Known) -> None:
        self.problem, self.limits, self.known = problem, problem.limits, known

    @cached_property
    def spans(self) -> Spans:
        """Decode workers of the space, on all GPUs that there are."""
        return self.known.gathered(self.posed(())).spans

    def leaving_out(self, name: LimitName) -> _Relaxed:
        """Leave out one limit; of the target ask for nothing, of the budget for all GPUs."""
        if name == "rate":
            return _Relaxed(replace(self.problem, objective=Objective("throughput")), self.known)
        nothing = {"target": SLOWEST, "max_gpus": self.problem.resources.gpus}
        limits = replace(self.limits, **{name: nothing.get(name)})  # type: ignore[arg-type]
        return _Relaxed(self.problem.within(limits), self.known)

    def asked(self) -> dict[LimitName, float]:
        """Limits that are set, with their values."""
        values: dict[LimitName, float | None] = {
            "target": self.limits.target,
            "max_ttft": self.limits.max_ttft,
            "concurrency": self.limits.concurrency,
            "rate": self.problem.objective.rate,
            "max_gpus": self.problem.budget,
        }
        return {name: float(value) for name, value in values.items() if value is not None}

    def posed(self, kept: Sequence[LimitName]) -> Problem:
        """Ask for the kept limits alone.

        Without a budget there are always enough replicas to serve a rate.
        """
        problem, limits = self.problem, self.limits
        if not {"rate", "max_gpus"} <= {*kept}:
            problem = replace(problem, objective=Objective("throughput"))
        return problem.within(
            replace(
                limits,
                target=limits.target if "target" in kept else SLOWEST,
                max_ttft=limits.max_ttft if "max_ttft" in kept else None,
                concurrency=limits.concurrency if "concurrency" in kept else None,
                max_gpus=self.problem.budget if "max_gpus" in kept else problem.resources.gpus,
            )
        )

    def is_met(self, kept: Sequence[LimitName]) -> bool:
        """Whether anything meets the kept limits."""
        return self.known.is_met(self.posed(kept))

    def works(self, name: LimitName, value: float) -> bool:
        """Try what a limit would have to be, with all others kept: whether a search finds any."""
        problem, limits = self.problem, self.limits
        if name == "rate":
            problem = replace(problem, objective=replace(problem.objective, rate=value))
        elif name == "max_gpus":
            limits = replace(limits, max_gpus=int(value))
            problem = _of_size(problem, int(value))
        elif name == "concurrency":
            limits = replace(limits, concurrency=int(value))
        elif name == "target":
            limits = replace(limits, target=value)
        else:
            limits = replace(limits, max_ttft=value)
        return self.known.is_met(problem.within(limits))

    def needed(self, name: LimitName) -> float | None:
        """Find what a limit would have to be, all others kept; None: nothing does."""
        ways: dict[LimitName, Callable[[], float | None]] = {
            "target": self.highest_target,
            "max_ttft": partial(self.nearest, "max_ttft", LONGEST),
            "concurrency": partial(self.nearest_count, "concurrency", 1),
            "rate": partial(self.nearest, "rate", LOWEST_RATE),
            "max_gpus": self.fewest_gpus,
        }
        found = ways[name]()
        value = 0.0 if found is None else rounded(name, found)
        return found if value > 0.0 and self.works(name, value) else None

    def highest_target(self) -> float | None:
        """Highest target; none is beyond what one request alone on a worker has [token/s]."""
        fastest = float(self.spans.speed(np.arange(len(self.spans)), 1.0 / self.spans.ranks).max())
        if self.works("target", fastest * (1.0 - EXACT)):
            return fastest
        return self.nearest("target", SLOWEST)

    def fewest_gpus(self) -> int | None:
        """Fewest GPUs: of one deployment on those there are, or of the copies that serve a rate."""
        asked, there = self.problem.budget, self.problem.resources.gpus
        if self.problem.objective.rate is None:
            return self.nearest_count("max_gpus", there) if there > asked else None
        enough = min(2 * asked, MAX_GPUS)
        while enough < MAX_GPUS and not self.works("max_gpus", enough):
            enough = min(2 * enough, MAX_GPUS)
        return self.nearest_count("max_gpus", enough)

    def nearest(self, name: LimitName, works: float) -> float | None:
        """Value nearest to what was asked that works, to a ratio, by bisection; None: none does."""
        fails = self.asked()[name]
        if not self.works(name, works):
            return None
        while max(works, fails) > STEP * min(works, fails):
            middle = math.sqrt(works * fails)
            works, fails = (middle, fails) if self.works(name, middle) else (works, middle)
        return works

    def nearest_count(self, name: LimitName, works: int) -> int | None:
        """As `nearest`, of whole numbers."""
        fails = int(self.asked()[name])
        if not self.works(name, works):
            return None
        while abs(works - fails) > 1:
            middle = (works + fails) // 2
            works, fails = (middle, fails) if self.works(name, middle) else (works, middle)
        return works


def _of_size(problem: Problem, gpus: int) -> Problem:
    """Give clusters at least some GPUs."""

    def sized(cluster: ClusterSpec) -> ClusterSpec:
        return cluster if cluster.gpus >= gpus else cluster.resized(gpus)

    there = problem.prefill_cluster
    prefill_cluster = None if there is None else sized(there)
    return replace(problem, cluster=sized(problem.cluster), prefill_cluster=prefill_cluster)
