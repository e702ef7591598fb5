"""Winner and runners-up of one target, among what was evaluated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.results import Predicted
from optimizer.answer import Answer, Ranked, Search
from optimizer.entries import Entries, joined
from optimizer.evaluation import evaluate
from optimizer.exact import Candidates, Choice, choose
from optimizer.lattice import Lattice
from optimizer.problem import Problem
from optimizer.slowed import slowed
from optimizer.value import at_bill, bill_of, charged, copies_of, serves, value_of

RUNNERS_UP = 4
"""How many other structures an answer names. [1]"""

NONE = joined([])
"""No deployments."""

EQUAL = 1e-9
"""Relative difference of two ratios within which neither is better. [1]"""

THROUGHPUT_SCALE = 1000.0
"""Integers of the exact choice count thousandths of a token per second. [1]"""


def is_met(problem: Problem) -> bool:
    """Whether a search finds a deployment within the limits."""
    limits = problem.limits
    # One user waits least and is served fastest, though maybe not as far as can be promised.
    alone = problem.within(replace(limits, concurrency=1))
    if problem.objective.rate is None and limits.concurrency is None and is_met(alone):
        return True
    lattice = evaluate(problem, problem.limits.target)
    found = Ranking(problem, lattice)
    if len(found.fast(lattice.front, lattice.throttled)):
        return True
    (more,) = slowed(problem, lattice, [problem.limits.target], [found.serves])
    return len(found.fast(more)) > 0


Key = tuple[int, int, int]
"""State, column and users of one deployment of the lattice."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Winner and runners-up of one target, as places in the lattice."""

    problem: Problem
    lattice: Lattice
    known: Entries = NONE  # the best of the best structures in the lattice
    slowed: Entries = NONE  # with just as many users as the target allows
    runners_up: int = RUNNERS_UP

    def beats(self, entries: Entries) -> BoolArray:
        """Tell which entries could be the answer or a runner-up: the best of their structure.

        Those of a structure that is not among the answers must be better than the last of these.
        """
        throughput, weight = self.ratio(entries)
        # Equally many GPUs for a rate may serve more.
        least = 1.0 + (EQUAL if self.problem.objective.rate is None else -EQUAL)
        structure = self.lattice.states.structure[entries.state]
        better = throughput / weight > least * self.standing[structure]
        return np.asarray(better & self.serves(entries))

    @cached_property
    def standing(self) -> FloatArray:
        """Ratio by which each structure must be beaten: its own, or that of the last answer."""
        best = self.best_of_structures(self.known)
        return np.maximum(best, self._last_answer(best))

    @cached_property
    def choice(self) -> Choice:
        """What CP-SAT chooses among those of the front that are fast enough."""
        throughput, weight = self.ratio(self.front)
        gpus = self.copies(self.front) * self.front.gpus
        return choose(Candidates(throughput, weight, gpus), self.problem.limits.max_gpus)

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Winner and runners-up, best first; none where nothing meets the limits."""
        if self.choice.index is None:
            return ()
        entries = self.leading(joined([self.known, self.fast(self.slowed)]))
        throughput, weight = self.ratio(entries)
        ties = (entries.column, entries.state, self.tie(entries))
        order = np.lexsort((*ties, -(throughput / weight)))
        ranked = [_key(self.front, self.choice.index)]
        ranked += [_key(entries, place) for place in order.tolist()]
        structure = self.lattice.states.structure
        found: dict[int, Key] = {}
        for key in ranked:
            found.setdefault(int(structure[key[0]]), key)
        return tuple(found.values())[: self.runners_up + 1]

    def leading(self, entries: Entries) -> Entries:
        """Best entries of the best structures: all that can be among the answers."""
        throughput, weight = self.ratio(entries)
        merit, best = throughput / weight, self.best_of_structures(entries)
        best_of_own = best[self.lattice.states.structure[entries.state]]
        return entries.take((merit == best_of_own) & (merit >= self._last_answer(best)))

    def best_of_structures(self, entries: Entries) -> FloatArray:
        """Best ratio of each structure; 0 where none meets the limits."""
        throughput, weight = self.ratio(entries)
        structure = self.lattice.states.structure
        best = np.zeros(int(structure.max()) + 1)
        np.maximum.at(best, structure[entries.state], throughput / weight)
        return best

    def _last_answer(self, best: FloatArray) -> float:
        """Ratio of the last runner-up, given the best of each structure."""
        return float(np.sort(best)[-min(self.runners_up + 1, len(best))])

    @cached_property
    def front(self) -> Entries:
        """What can be best and meets the target; of equals the first is chosen."""
        entries = self.fast(self.lattice.front, self.lattice.throttled, self.slowed)
        return entries.take(np.argsort(self.tie(entries), kind="stable"))

    def fast(self, *parts: Entries) -> Entries:
        """Entries that meet the target, and the rate where one is asked for."""
        target = self.problem.limits.target
        entries = joined([part.take(part.speed >= target) for part in parts])
        return entries.take(self.serves(entries))

    def serves(self, entries: Entries) -> BoolArray:
        """Whether replicas serve the rate within the GPU budget; all do without a rate."""
        if self.problem.objective.rate is None:
            return np.ones(len(entries), dtype=np.bool_)
        fleets = self.lattice.fleets(entries)
        return serves(self.problem, entries.throughput, fleets.decode, fleets.prefill)

    def copies(self, entries: Entries) -> IntArray:
        """Count the copies that serve the rate; one without a rate."""
        return copies_of(self.problem, entries.throughput)

    def ratio(self, entries: Entries) -> tuple[IntArray, IntArray]:
        """Integers whose ratio is made largest."""
        if self.problem.objective.rate is not None:
            fleets = self.lattice.fleets(entries)
            paid = charged(self.problem, fleets.decode, fleets.prefill, self.copies(entries))
            return np.ones(len(entries), dtype=np.int64), paid
        scaled: FloatArray = np.rint(THROUGHPUT_SCALE * entries.throughput)
        return scaled.astype(np.int64), entries.weight

    def tie(self, entries: Entries) -> FloatArray:
        """Tell equals apart, the less the better: by GPUs, for a rate by what is served beyond."""
        if self.problem.objective.rate is None:
            return entries.gpus.astype(np.float64)
        return np.asarray(-entries.throughput * self.copies(entries))

    def answer(self, predicted: Sequence[Predicted], started: float) -> Answer:
        """Put what was found into words, given the predictions of `keys`."""
        fast = self.lattice.states.speed >= self.problem.limits.target
        throttled = self.fast(self.lattice.throttled, self.slowed)
        feasible = int(self.lattice.feasible[fast].sum()) + len(throttled)
        ranked = [self.ranked(each) for each in predicted]
        # The bound is one of the cost.
        proven = ranked and self.problem.objective.name == "cost"
        search = Search(
            candidates=self.lattice.candidates,
            feasible=feasible,
            pruned=feasible - self.choice.seen,
            status=self.choice.status,
            bound=_bound(ranked[0].predicted, self.choice) if proven else None,
            gap=self.choice.gap if predicted else None,
            seconds=round(time.perf_counter() - started, 3),
        )
        if not ranked:
            return Answer(self.problem, None, (), search)
        return Answer(self.problem, ranked[0], tuple(ranked[1:]), search)

    def ranked(self, predicted: Predicted) -> Ranked:
        """Charge a deployment as the objective says, and tell what the objective makes of it."""
        problem = self.problem
        bill = bill_of(problem, predicted)
        charged = at_bill(predicted, bill, problem.resources)
        return Ranked(charged, value_of(problem, charged, bill), bill)


def ranking_of(problem: Problem, lattice: Lattice, runners_up: int = RUNNERS_UP) -> Ranking:
    """Find what can be among the answers to one target before users are solved for."""
    found = Ranking(problem, lattice, runners_up=runners_up)
    known = found.leading(found.fast(lattice.by_structure, lattice.throttled))
    return replace(found, known=known)


def _key(entries: Entries, place: int) -> Key:
    return int(entries.state[place]), int(entries.column[place]), int(entries.users[place])


def _bound(winner: Predicted, choice: Choice) -> float:
    """Price below which no candidate is, as proven [USD per million tokens]."""
    return winner.prediction.usd_per_m_total_tokens / (1.0 + choice.gap)
