"""Why nothing meets the limits, and what would."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np

from costmodel.inputs import FloatArray
from optimizer.answer import Conflict, Infeasibility, LimitName, rounded
from optimizer.entries import Entries, joined
from optimizer.evaluation import evaluate
from optimizer.fewest import fewest_gpus, of_size
from optimizer.lattice import Lattice
from optimizer.objective import Objective
from optimizer.problem import Limits, Problem
from optimizer.ranking import is_met
from optimizer.slowed import slowed
from optimizer.states import decode_states
from optimizer.value import most_copies, request_tokens, serves

TTFT_STEP, TARGET_STEP, RATE_STEP = 1.005, 1.005, 1.001
"""Ratios within which a TTFT, a target and a rate are found by bisection. [1]"""

EXACT = 1e-9
"""Within which a speed that was evaluated is found again. [1]"""

SLOWEST, LONGEST = 0.1, 1e6
"""A target that asks for nothing [token/s], and a TTFT that does [s]."""

LEFT_OUT: tuple[LimitName, ...] = ("max_ttft", "concurrency", "rate", "max_gpus", "target")
"""Which of several limits is left out, where no change of one would do."""


def find_infeasibility(problem: Problem) -> Infeasibility:
    """Find the smallest set of limits that conflict, what each would have to be, and a way out.

    Sets are tried by size, each by evaluating the space with its limits alone.

    Parameters
    ----------
    problem : Problem
        Whose limits nothing in the space meets.
    """
    return find_infeasibilities(problem, [problem.limits.target])[0]


def find_infeasibilities(problem: Problem, targets: Sequence[float]) -> list[Infeasibility]:
    """Find as `find_infeasibility` does for each of several targets that nothing meets."""
    seen: dict[tuple[Limits, float, bool], Lattice] = {}
    met: dict[Limits, bool] = {}
    return [_infeasibility(_Relaxed(problem.at(target), seen, met)) for target in targets]


def _infeasibility(relaxed: _Relaxed) -> Infeasibility:
    problem = relaxed.problem
    highest = relaxed.needed("target")
    conflicts = _conflicts(relaxed, highest)
    states = decode_states(problem.within(relaxed.kept_limits(())))
    fastest = int(np.argmax(states.speed))
    step_parts = states.step_of(fastest, problem).parts
    parts = {name: float(seconds) for name, seconds in step_parts.items()}
    largest = max(parts, key=lambda name: parts[name])
    step = sum(parts.values())
    return Infeasibility(
        conflicts=conflicts,
        limits=problem.limits,
        highest_target=highest,
        step_ms=1e3 * step,
        tokens_per_step=step / float(states.rate.tpot[fastest]),
        tok_s_per_user=float(states.speed[fastest]),
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


class _Relaxed:
    """The problem with some of its limits; what was evaluated once is kept, for any target."""

    def __init__(
        self,
        problem: Problem,
        seen: dict[tuple[Limits, float, bool], Lattice],
        met: dict[Limits, bool],
    ) -> None:
        self.problem, self.limits = problem, problem.limits
        self.seen, self.met = seen, met

    def leaving_out(self, name: LimitName) -> _Relaxed:
        """Leave out one limit; of the target ask for nothing, of the budget for all GPUs."""
        if name == "rate":
            return _Relaxed(replace(self.problem, objective=Objective("throughput")), {}, {})
        nothing = {"target": SLOWEST, "max_gpus": self.problem.resources.gpus}
        limits = replace(self.limits, **{name: nothing.get(name)})  # type: ignore[arg-type]
        return _Relaxed(self.problem.within(limits), self.seen, self.met)

    def asked(self) -> dict[LimitName, float]:
        """Limits that are set, with their values."""
        values: dict[LimitName, float | None] = {
            "target": self.limits.target,
            "max_ttft": self.limits.max_ttft,
            "concurrency": self.limits.concurrency,
            "rate": self.problem.objective.rate,
            "max_gpus": self.budget(["max_gpus"]),
        }
        return {name: float(value) for name, value in values.items() if value is not None}

    def lattice(self, kept: Sequence[LimitName], users: int | None = None) -> Lattice:
        """Evaluate the space with the kept limits alone; `users` replace theirs."""
        limits = self.kept_limits(kept)
        users = users or limits.concurrency
        # The fewest domains for a rate are not the deployments that other questions ask for.
        counts = self.problem.objective.counts_domains and {"rate", "max_gpus"} <= {*kept}
        # Of the target no more is looked at than whether it is kept.
        key = replace(limits, concurrency=users, target=SLOWEST), self.slowest(kept), counts
        if key not in self.seen:
            problem = self.problem.within(key[0])
            if self.problem.objective.counts_domains and not counts:
                problem = replace(problem, objective=Objective("throughput"))
            self.seen[key] = evaluate(problem, key[1])
        return self.seen[key]

    def kept_limits(self, kept: Sequence[LimitName]) -> Limits:
        """Limits of which some are kept; the target is that of `slowest`."""
        return replace(
            self.limits,
            max_ttft=self.limits.max_ttft if "max_ttft" in kept else None,
            concurrency=self.limits.concurrency if "concurrency" in kept else None,
            max_gpus=self.budget(kept),
        )

    def slowest(self, kept: Sequence[LimitName]) -> float:
        """Target where it is kept, else 0 [token/s]."""
        return self.limits.target if "target" in kept else 0.0

    def budget(self, kept: Sequence[LimitName]) -> int:
        """GPUs to take: those of the limit where it is kept, else all there are."""
        return self.problem.budget if "max_gpus" in kept else self.problem.resources.gpus

    def fastest(self, kept: Sequence[LimitName]) -> Entries:
        """Deployments that meet the kept limits with the users that wait least: one, if not asked.

        With a confidence more users may be promised more: intervals are wider outside the data.
        """
        if "concurrency" in kept:
            return self.meeting(kept)
        alone = self.meeting(kept, 1)
        return alone if self.limits.min_confidence is None else joined([alone, self.meeting(kept)])

    def meeting(self, kept: Sequence[LimitName], users: int | None = None) -> Entries:
        """Deployments that meet the kept limits, as far as they can be best.

        Without users those with full slots and those that prefill throttles. Without a budget there
        are always enough replicas to serve a rate.
        """
        lattice = self.lattice(kept, users)
        entries = joined([lattice.front, lattice.throttled])
        if "target" in kept:
            entries = entries.take(entries.speed >= self.limits.target)
        if "rate" in kept and "max_gpus" in kept:
            fleets = lattice.fleets(entries)
            within = serves(self.problem, entries.throughput, fleets.decode, fleets.prefill)
            entries = entries.take(within)
        return entries

    def is_met(self, kept: Sequence[LimitName]) -> bool:
        """Whether anything meets the kept limits."""
        if "concurrency" in kept or not {"rate", "max_gpus"} <= {*kept}:
            return len(self.fastest(kept)) > 0
        # How much is served depends on how many users a target and a TTFT leave.
        slowest = self.slowest(kept) or SLOWEST
        return is_met(self.problem.within(replace(self.kept_limits(kept), target=slowest)))

    def works(self, name: LimitName, value: float) -> bool:
        """Try what a limit would have to be, with all others kept: whether a search finds any."""
        problem, limits = self.problem, self.limits
        if name == "target":
            return self.reaches(value)
        if name == "rate":
            problem = replace(problem, objective=replace(problem.objective, rate=value))
        elif name == "max_gpus":
            limits = replace(limits, max_gpus=int(value))
            problem = of_size(problem, int(value))
        elif name == "concurrency":
            limits = replace(limits, concurrency=int(value))
        else:
            limits = replace(limits, max_ttft=value)
        return is_met(problem.within(limits))

    def reaches(self, target: float) -> bool:
        """Whether a search finds anything at another target [token/s]."""
        limits = replace(self.limits, target=target)
        if limits not in self.met:
            self.met[limits] = is_met(self.problem.within(limits))
        return self.met[limits]

    def needed(self, name: LimitName) -> float | None:
        """Find what a limit would have to be, all others kept; None: nothing does."""
        others = [other for other in self.asked() if other != name]
        found = {
            "target": self.highest_target,
            "max_ttft": self.shortest_ttft,
            "concurrency": self.most_users,
            "rate": self.highest_rate,
            "max_gpus": self.fewest_gpus,
        }[name](others)
        value = 0.0 if found is None else rounded(name, found)
        return found if value > 0.0 and self.works(name, value) else None

    def highest_target(self, others: Sequence[LimitName]) -> float | None:
        """Highest target: of the users that are asked for, else of one alone [token/s].

        By bisection with a rate, at which it can be served, and with a confidence: intervals are
        narrower inside the data, where more are served.
        """
        serves_rate = "rate" in others
        by_bisection = serves_rate or self.limits.min_confidence is not None
        entries = self.meeting(others) if serves_rate else self.fastest(others)
        if "concurrency" in others or not by_bisection:
            return float(entries.speed.max()) if len(entries) else None
        start = float(entries.speed.max(initial=SLOWEST)) * (1.0 - EXACT)
        return self.nearest(self.reaches, start, self.limits.target, TARGET_STEP)

    def highest_rate(self, others: Sequence[LimitName]) -> float | None:
        """Highest rate that replicas within the budget serve [1/s]."""
        problem = self.problem
        if problem.objective.counts_domains:
            by_gpu = replace(problem, objective=replace(problem.objective, billing="gpu"))
            beyond = _Relaxed(by_gpu, {}, {}).highest_rate(others)
            works = partial(self.works, "rate")
            served = self._served(others, self.meeting(others)).max(initial=0.0)
            least = float(served) / request_tokens(problem.scenario)
            return self.nearest(works, least, beyond, RATE_STEP) if beyond and least else None
        lattice, limits = self.lattice(others), self.kept_limits(others)
        most = float(self._served(others, self.meeting(others)).max(initial=0.0))
        (more,) = slowed(
            problem.within(limits),
            lattice,
            [limits.target],
            [lambda some: self._served(others, some) > most],
        )
        most = float(self._served(others, more).max(initial=most))
        return most / request_tokens(problem.scenario) if most else None

    def _served(self, others: Sequence[LimitName], entries: Entries) -> FloatArray:
        """Tokens of as many copies as the budget holds [token/s]."""
        fleets = self.lattice(others).fleets(entries)
        kept = self.problem.within(self.kept_limits(others))
        return most_copies(kept, fleets.decode, fleets.prefill) * entries.throughput

    def fewest_gpus(self, others: Sequence[LimitName]) -> float | None:
        """Fewest GPUs: of one deployment, or with a rate of the replicas that serve it [GPU]."""
        rate = self.problem.objective.rate
        if rate is not None:
            kept = self.problem.within(self.kept_limits(others))
            return fewest_gpus(kept.at(self.slowest(others) or SLOWEST), rate)
        free = _Relaxed(replace(self.problem, objective=Objective("throughput")), {}, {})
        gpus = free.fastest(others).gpus
        return float(gpus.min()) if len(gpus) else None

    def shortest_ttft(self, others: Sequence[LimitName]) -> float | None:
        """Shortest TTFT: of the users that are asked for, else of one alone [s].

        By bisection where the highest target is.
        """
        asked, works = float(self.limits.max_ttft or 1.0), partial(self.works, "max_ttft")
        if "rate" in others:
            return self.nearest(works, LONGEST, asked, TTFT_STEP)
        alone = None if "concurrency" in others else 1
        shortest = float(self.lattice(others, alone).shortest_ttft.min(initial=math.inf))
        if alone and self.limits.min_confidence is not None:
            return self.nearest(works, min(shortest * (1 + EXACT), LONGEST), asked, TTFT_STEP)
        return shortest if math.isfinite(shortest) else None

    def most_users(self, others: Sequence[LimitName]) -> float | None:
        """Most users that the other limits allow, by bisection [1]."""
        low, high = 1, int(self.limits.concurrency or 1)
        if not len(self.meeting(others, low)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(self.meeting(others, middle)) else (low, middle)
        return float(low)

    @staticmethod
    def nearest(
        tried: Callable[[float], bool], works: float, fails: float, step: float
    ) -> float | None:
        """Value nearest to one that fails that works, to a ratio, by bisection; None: none does."""
        if not tried(works):
            return None
        while max(works, fails) > step * min(works, fails):
            middle = math.sqrt(works * fails)
            works, fails = (middle, fails) if tried(middle) else (works, middle)
        return works
