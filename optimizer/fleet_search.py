"""The search for a plan of a fleet, and what it has found and proven."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from optimizer.audit import audit
from optimizer.fleet import FleetProblem
from optimizer.fleet_conflicts import conflict_sentence, missing
from optimizer.fleet_placement import placed
from optimizer.fleet_points import FleetPoints, fleet_points
from optimizer.fleet_rounds import Plan, Search, improve
from optimizer.integer_model import integer_model

MOST_SECONDS = 60.0
"""Time that a search takes unless told otherwise. [s]"""

MOST_SECONDS_OF_REASONS = 10.0
"""Time that it may take besides to find out why there is no plan. [s]"""

SECONDS_OF_OTHER = 1.0
"""Time to bound what the other serving mode of a tier would give. [s]"""

Status = Literal["OPTIMAL", "FEASIBLE", "INFEASIBLE", "UNKNOWN"]


@dataclass(frozen=True, eq=False)
class FleetAnswer:
    """What a search for a plan found and proved.

    Attributes
    ----------
    points : FleetPoints
    plan : Plan or None
    status : {"OPTIMAL", "FEASIBLE", "INFEASIBLE", "UNKNOWN"}
        "OPTIMAL" where no plan is better, "FEASIBLE" where time ran out first.
    bound : int or None
        No plan weighs less, in units of the objective.
    rounds, cuts : int
        Programs solved, and cuts added to them. [1]
    variables, constraints : int
        Of the program, before any cut. [1]
    seconds : float
        [s]
    reason : str or None
        Why there is no plan.
    others : dict
        From the place of a tier that may be served in either mode to the least weight of plans
        that serve it in the other; None where there is none.
    """

    points: FleetPoints
    plan: Plan | None
    status: Status
    bound: int | None
    rounds: int
    cuts: int
    variables: int
    constraints: int
    seconds: float
    reason: str | None = None
    others: Mapping[int, int | None] = field(default_factory=dict)

    @property
    def gap(self) -> float | None:
        """Share of the plan's weight by which another may be lighter; None without a plan [1]."""
        if self.plan is None or self.bound is None:
            return None
        return 1.0 - self.bound / self.plan.weight


def plan_fleet(
    problem: FleetProblem,
    seconds: float = MOST_SECONDS,
    progress: Callable[[], None] | None = None,
) -> FleetAnswer:
    """Find the plan of least cost, GPUs or power that serves all tiers.

    Parameters
    ----------
    problem : FleetProblem
        What is asked.
    seconds : float
        Time after which the best plan so far is given, with its gap. [s]
    progress : callable, optional
        Called once for each round.
    """
    end = time.perf_counter() + seconds
    answer, search = _searched(problem, seconds, progress)
    if answer.plan is not None or answer.reason is not None:
        return answer
    return replace(answer, reason=_reason(search, end))


def plan_only(problem: FleetProblem, seconds: float) -> FleetAnswer:
    """Do as `plan_fleet`, but look for no reason where there is no plan."""
    return _searched(problem, seconds, None)[0]


def _searched(
    problem: FleetProblem, seconds: float, progress: Callable[[], None] | None
) -> tuple[FleetAnswer, Search]:
    """Search for a plan; why there is none is said only where a tier cannot be served alone."""
    started = time.perf_counter()
    points = fleet_points(problem)
    model = integer_model(points)
    size = len(model.program.variables), len(model.program.rows)
    search = Search(points, model, partial(placed, points))
    reason = missing(points)
    if reason is None:
        try:
            improve(search, started + seconds, progress)
        except KeyboardInterrupt:  # what was found so far is an answer, with its gap
            if search.best is None:
                raise
    else:
        search.bound = None
    if search.best is not None and (faults := audit(problem, search.best)):
        raise RuntimeError(f"a plan does not hold: {'; '.join(faults)}")
    answer = FleetAnswer(
        points=points,
        plan=search.best,
        status=_status(search),
        bound=search.best.weight if search.best and search.is_proven else search.bound,
        rounds=search.rounds,
        cuts=model.cuts,
        variables=size[0],
        constraints=size[1],
        seconds=time.perf_counter() - started,
        reason=reason,
        others=_others(search),
    )
    return answer, search


def _others(search: Search) -> dict[int, int | None]:
    """Bound the plans that serve a tier in the mode that was not chosen."""
    points, best = search.points, search.best
    if best is None:
        return {}
    tiers = points.problem.tiers
    chosen = {
        tier: points.problem.ways[pool.way].serving
        for tier, pool in best.pools.items()
        if len(tiers[tier].servings) > 1
    }
    return {
        tier: search.model.least_without(tier, serving, SECONDS_OF_OTHER)
        for tier, serving in chosen.items()
    }


def _status(search: Search) -> Status:
    if search.best is not None:
        return "OPTIMAL" if search.is_proven else "FEASIBLE"
    return "INFEASIBLE" if search.is_proven else "UNKNOWN"


def _reason(search: Search, end: float) -> str:
    """Say why no plan was found."""
    if not search.is_proven:
        return "the time was over before a plan was found; give it more"
    left = max(MOST_SECONDS_OF_REASONS, end - time.perf_counter())
    return conflict_sentence(search.points.problem, plan_only, left)
