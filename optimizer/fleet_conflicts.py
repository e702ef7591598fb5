"""Why no plan serves a demand: the smallest set of limits that conflict, and what would do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from optimizer.fleet import FleetObjective, FleetProblem
    from optimizer.fleet_points import FleetPoints
    from optimizer.fleet_search import FleetAnswer

    Search = Callable[[FleetProblem, float], FleetAnswer]

AMPLE = 65_536
"""GPUs of each machine where their number is no limit. [GPU]"""


class LimitKind(NamedTuple):
    """A limit of a whole fleet."""

    name: str
    objective: FleetObjective | None  # that says how much of it a plan takes, if one does
    written: str  # how a value is written


LIMITS = (
    LimitKind("budget", "cost", "{:,.2f} USD/h"),
    LimitKind("max_power", "power", "{:,.0f} W"),
    LimitKind("max_racks", None, "{:,.0f} racks"),
    LimitKind("gpus", "gpus", "{:,.0f} GPUs"),
)


def conflict_sentence(problem: FleetProblem, search: Search, seconds: float) -> str:
    """Say which limits conflict, and what each would have to be with the others kept.

    Parameters
    ----------
    problem : FleetProblem
        That no plan solves, though each tier could be served alone.
    search : callable
        Finds a plan within some time.
    seconds : float
        For all that is tried. [s]
    """
    end = time.perf_counter() + seconds
    given = [limit for limit in LIMITS if _value(problem, limit.name) is not None]

    def solved(kept: set[str], objective: FleetObjective | None) -> FleetAnswer:
        asked = replace(_with(problem, kept), objective=objective or problem.objective)
        return search(asked, max(1.0, end - time.perf_counter()))

    conflict = next(
        (
            chosen
            for size in range(1, len(given) + 1)
            for chosen in combinations(given, size)
            if solved({each.name for each in chosen}, chosen[0].objective).status == "INFEASIBLE"
        ),
        tuple(given),
    )
    said = " and ".join(_written(problem, each) for each in conflict)
    remedies = []
    for limit in conflict:
        others = {each.name for each in given} - {limit.name}
        if (plan := solved(others, limit.objective).plan) is not None:
            if limit.objective is None:
                remedies.append(f"{limit.name} would do at {limit.written.format(plan.domains)}")
                continue
            least = plan.weight * replace(problem, objective=limit.objective).unit
            remedies.append(f"{limit.name} would have to be {limit.written.format(least)}")
    text = f"no plan serves all tiers within {said}"
    return f"{text}; {', or '.join(remedies)}" if remedies else text


def _value(problem: FleetProblem, name: str) -> float | None:
    if name == "gpus":
        return float(problem.usable_gpus)
    value: float | None = getattr(problem, name)
    return value


def _written(problem: FleetProblem, limit: LimitKind) -> str:
    value = _value(problem, limit.name)
    assert value is not None
    if limit.name == "gpus":
        return f"the {limit.written.format(value)} of the machines"
    return f"{limit.name} {limit.written.format(value)}"


def _with(problem: FleetProblem, kept: set[str]) -> FleetProblem:
    """Drop limits that are not kept."""
    changed = replace(
        problem,
        budget=problem.budget if "budget" in kept else None,
        max_power=problem.max_power if "max_power" in kept else None,
        max_racks=problem.max_racks if "max_racks" in kept else None,
    )
    if "gpus" in kept:
        return changed
    ample = tuple(each.resized(AMPLE) for each in problem.machines)
    return replace(changed, machines=ample, lost=())


def missing(points: FleetPoints) -> str | None:
    """Name a tier that no machine can serve alone, and why."""
    problem = points.problem
    fed = {(tier, pool.way) for pool in points.pools for tier in pool.needs}
    for number, tier in enumerate(problem.tiers):
        reasons = []
        allowed = [each for each in enumerate(problem.ways) if each[1].serving in tier.servings]
        for place, way in allowed:
            where = f"on {problem.machines[way.machine].sku}"
            if way.is_aggregated:
                where += " in one pool"
            if (number, place) in points.refused:
                reasons.append(f"{where} {points.refused[number, place]}")
            elif (number, place) not in fed:
                reasons.append(f"{where} no prefill worker meets max_ttft {tier.max_ttft:g} s")
        if len(reasons) == len(allowed):
            return f"tier {tier.name!r} cannot be served: {'; '.join(reasons)}"
    return None
