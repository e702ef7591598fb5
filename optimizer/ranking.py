"""Winner and runners-up of one target: what promises most is evaluated first.

It ends where nothing that is left promises more than what was found: then that is the best, proven
by the promises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from costmodel.inputs import BoolArray, IntArray
from optimizer.candidates import Candidates, Merit, candidates_of
from optimizer.evaluation import Chosen, Evaluated, evaluate, joined
from optimizer.problem import Problem
from optimizer.promises import Promised, fed, promised
from optimizer.spans import Points, points_at

RUNNERS_UP = 4
"""How many other structures an answer names. [1]"""

EQUAL = 1e-9
"""Relative difference of two ratios within which neither is better. [1]"""

OF_EACH = 2
"""Deployments of each decode worker that are evaluated first: those that promise most. [1]"""

AT_ONCE = 4096
"""Most deployments that are evaluated before it is looked again which may still be best. [1]"""

Key = tuple[int, int, int, int]
"""Row, fleet, slots and users of one deployment."""


@dataclass(eq=False)
class Ranking:
    """What was found at one target, best first, and what is left.

    Attributes
    ----------
    candidates : Candidates
    points : Points
        Operating points at the target.
    left : Promised
        What was not evaluated, and may be among the answers.
    runners_up : int
        How many other structures are named. [1]
    feasible, evaluated : int
        Deployments that promise to meet the limits, and those of them that were evaluated. [1]
    found : Evaluated or None
        The best of each structure.
    """

    candidates: Candidates
    points: Points
    left: Promised
    runners_up: int = RUNNERS_UP
    feasible: int = 0
    evaluated: int = 0
    found: Evaluated | None = None
    merit: Merit = field(default_factory=lambda: Merit(np.zeros(0), np.zeros(0)))

    def __post_init__(self) -> None:
        """Count what promises to meet the limits."""
        self.feasible = len(self.left)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Winner and runners-up, best first; none where nothing meets the limits."""
        if self.found is None:
            return ()
        fields = (self.found.row, self.found.fleet, self.found.slots, self.found.users)
        rows = zip(*(values.tolist() for values in fields), strict=True)
        return tuple(rows)[: self.runners_up + 1]

    def next(self, *, is_first: bool) -> Chosen:
        """Choose what is evaluated next: what promises most, at first of each decode worker."""
        merit = self.left.merit
        order = merit.order
        if is_first:
            order = order[_rank_in_group(self.left.point[order]) < OF_EACH]
        order = order[:AT_ONCE]
        chosen = self.left.take(order)
        is_left = np.ones(len(self.left), dtype=np.bool_)
        is_left[order] = False
        self.left, self.evaluated = self.left.take(is_left), self.evaluated + len(order)
        points = self.points
        return Chosen(
            points.row[chosen.point],
            chosen.fleet,
            points.full[chosen.point],
            points.more[chosen.point],
            np.full(len(order), points.target),
        )

    def add(self, evaluated: Evaluated) -> None:
        """Take in what was evaluated, and leave out what promises too little beside it."""
        good = evaluated.take(evaluated.throughput > 0.0)
        every = good if self.found is None else joined([self.found, good])
        merit = self.candidates.merit(every.fleet, every.throughput)
        order = merit.order[np.isfinite(merit.first[merit.order])]
        structure = self.candidates.spans.structure[every.row[order]]
        first = np.sort(np.unique(structure, return_index=True)[1])
        best = order[first]
        if not len(best):
            return
        self.found = every.take(best)
        self.merit = Merit(merit.first[best], merit.second[best])
        self.left = self.left.take(self._may_be_named())

    def _may_be_named(self) -> BoolArray:
        """Whether what is left may be the best of its structure, and that among the answers."""
        assert self.found is not None
        structure = self.candidates.spans.structure
        number = int(structure.max()) + 1
        first, second = np.full(number, -np.inf), np.full(number, -np.inf)
        if len(self.found) > self.runners_up:
            last = self.runners_up
            first[:], second[:] = self.merit.first[last], self.merit.second[last]
        else:
            last = len(self.found)
        named = structure[self.found.row[: last + 1]]
        first[named], second[named] = self.merit.first[: last + 1], self.merit.second[: last + 1]
        own = structure[self.points.row[self.left.point]]
        merit = self.left.merit
        equal = np.abs(merit.first - first[own]) <= EQUAL * np.abs(first[own])
        return np.asarray(
            ((merit.first > first[own]) & ~equal) | (equal & (merit.second >= second[own]))
        )


def rankings(
    candidates: Candidates,
    targets: Sequence[float],
    runners_up: int = RUNNERS_UP,
    *,
    any_will_do: bool = False,
) -> list[Ranking]:
    """Rank deployments by target; all targets are evaluated together.

    Parameters
    ----------
    candidates : Candidates
    targets : sequence of float
        [token/s]
    runners_up : int
        How many other structures are named. [1]
    any_will_do : bool
        Whether to stop at the first that meets the limits.
    """
    most_fed = fed(candidates)
    found = [
        Ranking(candidates, points, promised(candidates, points, most_fed), runners_up)
        for points in points_at(candidates.spans, np.asarray(targets, dtype=np.float64))
    ]
    is_first = True
    while asked := [each for each in found if len(each.left) and not (any_will_do and each.found)]:
        chosen = [each.next(is_first=is_first) for each in asked]
        every = Chosen(
            *(
                np.concatenate([getattr(part, name) for part in chosen])
                for name in Chosen.__dataclass_fields__
            )
        )
        evaluated, start = evaluate(candidates, every), 0
        for each, part in zip(asked, chosen, strict=True):
            each.add(evaluated.take(np.arange(start, start + len(part))))
            start += len(part)
        is_first = False
    return found


def is_met(problem: Problem, gathered: Callable[[Problem], Candidates] = candidates_of) -> bool:
    """Whether a search finds a deployment within the limits; `gathered` gives its candidates."""
    limits = problem.limits
    # One user waits least and is served fastest, though maybe not as far as can be promised.
    alone = problem.within(replace(limits, concurrency=1))
    if problem.objective.rate is None and limits.concurrency is None and is_met(alone, gathered):
        return True
    (found,) = rankings(gathered(problem), [limits.target], runners_up=0, any_will_do=True)
    return found.found is not None


def _rank_in_group(groups: IntArray) -> IntArray:
    """Give the number of each entry among those of its group, from 0, in order.

    >>> _rank_in_group(np.array([3, 1, 3, 3, 1])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_groups[1:] != sorted_groups[:-1]]))
    lengths = np.diff(np.append(starts, len(groups)))
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return rank
