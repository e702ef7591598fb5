"""The exact choice: throughput over dollars on integers, proven by CP-SAT.

The ratio is solved by Dinkelbach's method: with the best ratio so far, p / q, CP-SAT maximises
``q throughput - p cost``; where the proven maximum is 0, no candidate has a better ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from costmodel.inputs import IntArray
from optimizer.solver import LARGEST, new_solver


@dataclass(frozen=True, eq=False)
class Candidates:
    """What is chosen from; one entry each.

    Attributes
    ----------
    throughput : array of int
        Of the whole deployment, scaled; more is better.
    cost : array of int
        Of the whole deployment, scaled; positive.
    gpus : array of int
        [GPU]
    """

    throughput: IntArray
    cost: IntArray
    gpus: IntArray

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.throughput)

    def take(self, index: IntArray) -> Candidates:
        """Keep the chosen entries."""
        return Candidates(self.throughput[index], self.cost[index], self.gpus[index])


@dataclass(frozen=True)
class Choice:
    """What CP-SAT chose and proved.

    Attributes
    ----------
    index : int or None
        The candidate; None where none is within the budget.
    status : str
        "OPTIMAL", proven by the solver, or "INFEASIBLE": none is within the budget.
    ratio : Fraction
        Throughput over cost of the candidate.
    bound : Fraction
        Proven upper bound of that ratio over all candidates.
    seen : int
        Candidates that the solver saw: neither over the budget nor dominated. [1]
    rounds : int
        Problems solved. [1]
    """

    index: int | None
    status: str
    ratio: Fraction
    bound: Fraction
    seen: int
    rounds: int

    @property
    def gap(self) -> float:
        """Relative distance of the bound from the ratio; 0 where the choice is proven [1]."""
        return float(self.bound / self.ratio - 1) if self.ratio else 0.0


def choose(candidates: Candidates, max_gpus: int) -> Choice:
    """Choose the candidate of highest throughput over cost within the GPU budget.

    Where several share the best ratio, the one of fewest GPUs wins, then the first.

    Raises
    ------
    ValueError
        If a throughput or a cost is not positive.
    """
    if len(candidates) and min(candidates.throughput.min(), candidates.cost.min()) <= 0:
        raise ValueError("throughput and cost must be positive")
    kept = undominated(candidates, max_gpus)
    if not len(kept):
        return Choice(None, "INFEASIBLE", Fraction(0), Fraction(0), 0, 0)
    survivors = candidates.take(kept)
    divisor = math.gcd(*survivors.cost.tolist())
    throughput = survivors.throughput.tolist()
    cost = [value // divisor for value in survivors.cost.tolist()]

    # From the cheapest on, every better ratio is one that the solver has chosen.
    ratio, rounds = Fraction(throughput[0], cost[0]), 0
    while True:
        rounds += 1
        p, q = ratio.numerator, ratio.denominator
        surplus = [q * t - p * c for t, c in zip(throughput, cost, strict=True)]
        chosen, bound = _solve(surplus)
        if surplus[chosen] <= 0:
            break
        ratio = Fraction(throughput[chosen], cost[chosen])
    equal = [
        (gpus, index)
        for gpus, index, value in zip(survivors.gpus.tolist(), kept.tolist(), surplus, strict=True)
        if value == 0
    ]
    return Choice(
        index=min(equal)[1],
        status="OPTIMAL",
        ratio=ratio / divisor,
        bound=(ratio + Fraction(max(bound, 0), q * min(cost))) / divisor,
        seen=len(kept),
        rounds=rounds,
    )


def undominated(candidates: Candidates, max_gpus: int) -> IntArray:
    """Candidates within the budget that no other makes needless, cheapest first.

    One makes another needless that costs no more and gives at least its throughput and, where both
    are equal, takes no more GPUs. A cheaper one with at least the throughput has the better ratio;
    so the best ratio, and among equals the fewest GPUs, always survive.

    Examples
    --------
    >>> import numpy as np
    >>> some = Candidates(np.array([5, 7, 6]), np.array([1, 2, 3]), np.array([4, 8, 8]))
    >>> undominated(some, 72)
    array([0, 1])
    """
    within = np.flatnonzero(candidates.gpus <= max_gpus)
    inside = candidates.take(within)
    order = np.lexsort((within, -inside.throughput, inside.gpus, inside.cost))
    throughput = inside.throughput[order]
    if not len(throughput):
        return within
    best_before = np.concatenate([[0], np.maximum.accumulate(throughput)[:-1]])
    return np.asarray(within[order[throughput > best_before]])


def _solve(surplus: list[int]) -> tuple[int, int]:
    """Choose exactly one candidate of largest surplus; also gives the proven bound."""
    solver = new_solver()
    # Variables: whether each candidate is the one.
    chosen = [solver.BoolVar(f"candidate_{index}") for index in range(len(surplus))]
    # Exactly one candidate is chosen.
    one = solver.Constraint(1, 1)
    # Its surplus is largest. Only the sign of a surplus decides when to stop, so it may be capped.
    objective = solver.Objective()
    objective.SetMaximization()
    for variable, value in zip(chosen, surplus, strict=True):
        one.SetCoefficient(variable, 1)
        objective.SetCoefficient(variable, max(-LARGEST, min(value, LARGEST)))
    if (status := solver.Solve()) != solver.OPTIMAL:
        raise RuntimeError(f"CP-SAT stopped without a proof, status {status}")
    index = next(i for i, variable in enumerate(chosen) if variable.solution_value() > 0.5)
    return index, round(objective.BestBound())
