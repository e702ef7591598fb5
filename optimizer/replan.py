"""Plans after a loss: the fewest workers started that serve all tiers again, or what cannot be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from optimizer.audit import audit
from optimizer.fleet import FleetProblem
from optimizer.fleet_conflicts import missing
from optimizer.fleet_points import FleetPoints, TierPoints, fleet_points
from optimizer.fleet_rounds import Plan, Search, improve
from optimizer.fleet_search import MOST_SECONDS, FleetAnswer, Status, plan_only
from optimizer.replan_model import Running, replan_model
from optimizer.space import Shape

PERCENT = 100
"""Shares of a demand are looked for in parts of it. [1]"""


class Unserved(NamedTuple):
    """What of the demand would have to go, with all else served.

    Attributes
    ----------
    tiers : tuple of int
        Places of those that share the loss.
    share : float
        Of their demand that is served; 0 where they are not served at all. [1]
    """

    tiers: tuple[int, ...]
    share: float


@dataclass(frozen=True, eq=False)
class Replanned:
    """What a search for a plan on what is left found.

    Attributes
    ----------
    answer : FleetAnswer
        Its bound and gap are those of plans that start as few workers.
    least_started : int or None
        No plan in which workers that stay keep their shape and slots starts fewer. [1]
    unserved : tuple of Unserved
        Each of them would do; none where there is a plan.
    """

    answer: FleetAnswer
    least_started: int | None
    unserved: tuple[Unserved, ...] = ()


def replan(
    problem: FleetProblem,
    running: Sequence[Running],
    seconds: float = MOST_SECONDS,
    progress: Callable[[], None] | None = None,
) -> Replanned:
    """Find the plan that starts or moves the fewest workers, of those the best.

    Parameters
    ----------
    problem : FleetProblem
        With what is lost.
    running : sequence of Running
        Workers that are left, each on GPUs that are not lost.
    seconds : float
        Time after which the best plan so far is given. [s]
    progress : callable, optional
        Called once for each integer program that is solved.
    """
    end = time.perf_counter() + seconds
    found = _searched(problem, running, end, progress)
    if found.answer.plan is None and found.answer.reason is None:
        # Workers that decode may have to run in another shape, or with other slots.
        others = [each for each in running if not isinstance(each.kind, Shape)]
        found = _searched(problem, others, end, progress)
        found = replace(found, least_started=None)
    if found.answer.plan is not None or found.answer.status == "UNKNOWN":
        return found
    return replace(found, unserved=_unserved(problem, end, progress))


def _searched(
    problem: FleetProblem,
    running: Sequence[Running],
    end: float,
    progress: Callable[[], None] | None,
) -> Replanned:
    """Search twice: for the fewest workers that are started, then for the best plan of so few."""
    started = time.perf_counter()
    points = as_they_run(fleet_points(problem), running)
    model = replan_model(points, running)
    size = len(model.program.variables), len(model.program.rows)
    weight = model.program.objective
    first = Search(points, model, model.place, value=lambda plan: plan.started)
    reason = missing(points)
    second: Search | None = None
    try:
        if reason is None:
            model.program.minimise(model.started)
            improve(first, end, progress)
        if first.best is not None and first.is_proven:
            fewest = first.best.started
            model.settle(fewest, weight)
            second = Search(points, model, model.place, value=lambda plan: _weight(plan, fewest))
            second.best, second.known = first.best, first.known
            improve(second, end, progress)
    except KeyboardInterrupt:  # what was found so far is an answer
        if first.best is None:
            raise
    last = second or first
    if last.best is not None and (faults := audit(problem, last.best)):
        raise RuntimeError(f"a plan does not hold: {'; '.join(faults)}")
    answer = FleetAnswer(
        points=points,
        plan=last.best,
        status=_status(last, first, reason),
        bound=_bound(last, second),
        rounds=first.rounds + (second.rounds if second else 0),
        cuts=model.cuts,
        variables=size[0],
        constraints=size[1],
        seconds=time.perf_counter() - started,
        reason=reason,
    )
    return Replanned(answer, first.bound)


def _weight(plan: Plan, fewest: int) -> int:
    """Weigh a plan that starts no more workers than the fewest; others weigh more than any."""
    return plan.weight if plan.started <= fewest else plan.weight + 2**62


def _status(last: Search, first: Search, reason: str | None) -> Status:
    if last.best is not None:
        return "OPTIMAL" if first.is_proven and last.is_proven and last is not first else "FEASIBLE"
    return "INFEASIBLE" if reason is not None or first.is_proven else "UNKNOWN"


def _bound(last: Search, second: Search | None) -> int | None:
    """Least weight of plans that start as few workers; None where nothing is known of it."""
    if second is None or second.best is None:
        return None
    return last.best.weight if last.best and last.is_proven else second.bound


def as_they_run(points: FleetPoints, running: Sequence[Running]) -> FleetPoints:
    """Give workers of a size that run the shape and the slots that they run with."""
    shapes: dict[tuple[int, int], dict[int, Running]] = {}
    for each in running:
        if isinstance(each.kind, Shape):
            shapes.setdefault((each.tier, each.way), {})[each.gpus] = each
    of = {
        key: _with_shapes(given, shapes[key]) if key in shapes else given
        for key, given in points.of.items()
    }
    return replace(points, of=of)


def _with_shapes(points: TierPoints, running: dict[int, Running]) -> TierPoints:
    kept = [
        shape.gpus not in running or shape._replace(links=0) == running[shape.gpus].kind
        for shape in points.decode.shapes
    ]
    slots = {gpus: each.slots for gpus, each in running.items()}
    return replace(points, decode=points.decode.take(np.flatnonzero(kept)), slots=slots)


def _unserved(
    problem: FleetProblem, end: float, progress: Callable[[], None] | None
) -> tuple[Unserved, ...]:
    """Find by how much one tier would have to be cut, or all alike where one is too little."""
    alone = [
        Unserved((tier,), share)
        for tier in range(len(problem.tiers))
        if (share := _largest_share(problem, (tier,), end, progress)) is not None
    ]
    if alone:
        return tuple(alone)
    every = tuple(range(len(problem.tiers)))
    share = _largest_share(problem, every, end, progress)
    return () if share is None else (Unserved(every, share),)


def _largest_share(
    problem: FleetProblem,
    tiers: tuple[int, ...],
    end: float,
    progress: Callable[[], None] | None,
) -> float | None:
    """Find the largest share of the demand of tiers that is served; None where none would do."""

    def is_served(percent: int) -> bool:
        if progress is not None:
            progress()
        changed = _at_share(problem, tiers, percent / PERCENT)
        if changed is None:
            return True
        left = end - time.perf_counter()
        return left > 0.0 and plan_only(changed, left).plan is not None

    if not is_served(0):
        return None
    low, high = 0, PERCENT
    while high - low > 1:
        middle = math.floor(0.5 * (low + high))
        low, high = (middle, high) if is_served(middle) else (low, middle)
    return low / PERCENT


def _at_share(problem: FleetProblem, tiers: tuple[int, ...], share: float) -> FleetProblem | None:
    """Ask for a share of the demand of tiers; None where nothing is left to ask for."""
    changed = tuple(
        replace(tier, rate=tier.rate * share) if number in tiers else tier
        for number, tier in enumerate(problem.tiers)
        if share > 0.0 or number not in tiers
    )
    return replace(problem, tiers=changed) if changed else None
