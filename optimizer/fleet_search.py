"""The search for a plan: the integer program promises, the exact evaluation says what is true.

What was chosen is evaluated; what falls short is cut off, and the program is solved again, until it
promises nothing better than the best plan that was evaluated. That plan is then proven best.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from optimizer.audit import audit
from optimizer.check import Served, serve_with_spares
from optimizer.fleet import FleetProblem
from optimizer.fleet_conflicts import conflict_sentence, missing
from optimizer.fleet_placement import placed
from optimizer.fleet_points import FleetPoints, fleet_points
from optimizer.integer_model import Counts, IntegerModel, integer_model
from optimizer.placement import PlacedWorker

MOST_SECONDS = 60.0
"""Time that a search takes unless told otherwise. [s]"""

MOST_SECONDS_OF_REASONS = 10.0
"""Time that it may take besides to find out why there is no plan. [s]"""

SECONDS_OF_OTHER = 1.0
"""Time to bound what the other serving mode of a tier would give. [s]"""

MOST_REPAIRS = 4
"""Workers that are added to make a plan of what was refused. [1]"""

Status = Literal["OPTIMAL", "FEASIBLE", "INFEASIBLE", "UNKNOWN"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Workers that serve all tiers, as evaluated.

    Attributes
    ----------
    counts : Counts
    weight : int
        In units of the objective.
    served : tuple of tuple of Served
        Of each tier, one for each size of decode worker.
    pools : dict
        Place of the pool that feeds each tier.
    workers : tuple of PlacedWorker
    """

    counts: Counts
    weight: int
    served: tuple[tuple[Served, ...], ...]
    pools: dict[int, int]
    workers: tuple[PlacedWorker, ...]


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


@dataclass
class _Search:
    """State of one search."""

    points: FleetPoints
    model: IntegerModel
    best: Plan | None = None
    bound: int | None = 0
    rounds: int = 0
    known: dict[object, tuple[Served, ...] | None] = field(default_factory=dict)

    def serve(
        self, tier: int, pool: int, workers: int, decode: Mapping[int, int], *, timed: bool = True
    ) -> tuple[Served, ...] | None:
        """Serve a tier as `serve_with_spares` does, each case once."""
        key = tier, pool, workers, tuple(sorted(decode.items())), timed
        if key not in self.known:
            self.known[key] = serve_with_spares(
                self.points, tier, self.points.pools[pool], workers, decode, is_timed=timed
            )
        return self.known[key]

    @property
    def is_proven(self) -> bool:
        """Whether nothing lighter than the best plan is left."""
        return self.bound is None or (self.best is not None and self.bound >= self.best.weight)

    def offer(self, plan: Plan | None) -> None:
        """Keep a plan if it is the lightest so far."""
        if plan is not None and (self.best is None or plan.weight < self.best.weight):
            self.best = plan


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


def _unexplained(problem: FleetProblem, seconds: float) -> FleetAnswer:
    return _searched(problem, seconds, None)[0]


def _searched(
    problem: FleetProblem, seconds: float, progress: Callable[[], None] | None
) -> tuple[FleetAnswer, _Search]:
    """Search for a plan; why there is none is said only where a tier cannot be served alone."""
    started = time.perf_counter()
    points = fleet_points(problem)
    model = integer_model(points)
    size = len(model.program.variables), len(model.program.rows)
    search = _Search(points, model)
    reason = missing(points)
    if reason is None:
        try:
            _improve(search, started + seconds, progress)
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


def _others(search: _Search) -> dict[int, int | None]:
    """Bound the plans that serve a tier in the mode that was not chosen."""
    points, best = search.points, search.best
    if best is None:
        return {}
    tiers = points.problem.tiers
    chosen = {
        tier: points.problem.ways[points.pools[pool].way].serving
        for tier, pool in best.pools.items()
        if len(tiers[tier].servings) > 1
    }
    return {
        tier: search.model.least_without(tier, serving, SECONDS_OF_OTHER)
        for tier, serving in chosen.items()
    }


def _improve(search: _Search, end: float, progress: Callable[[], None] | None) -> None:
    """Solve, evaluate and cut until nothing better is left, or the time is over."""
    while not search.is_proven:
        left = end - time.perf_counter()
        if left <= 0.0:
            return
        choice = search.model.solve(left)
        search.rounds += 1
        if progress is not None:
            progress()
        if choice.bound is None or search.bound is None:
            search.bound = None
            return
        search.bound = max(search.bound, choice.bound)
        if choice.counts is None or search.is_proven:
            return
        failing = _failing(search, choice.counts)
        if failing:
            for tier in failing:
                _cut(search, choice.counts, tier)
            search.offer(_repaired(search, choice.counts, failing))
            continue
        plan = _evaluated(search, choice.counts)
        if plan is None:  # patterns find room where first fit by falling size does not
            search.model.cut_room(choice.counts)
        search.offer(plan)


def _failing(search: _Search, counts: Counts) -> list[int]:
    """Find the tiers that the chosen workers do not serve."""
    return [
        tier
        for tier, pool in _feeding(search.points, counts).items()
        if search.serve(tier, pool, counts.prefill[pool], _decode(counts, tier)) is None
    ]


def _evaluated(search: _Search, counts: Counts) -> Plan | None:
    """Evaluate counts as a plan; None where a tier is not served or a worker finds no room."""
    pools = _feeding(search.points, counts)
    served = []
    for tier in range(len(search.points.problem.tiers)):
        pool = pools[tier]
        found = search.serve(tier, pool, counts.prefill[pool], _decode(counts, tier))
        if found is None:
            return None
        served.append(found)
    workers = placed(search.points, counts)
    if workers is None:
        return None
    weight = search.model.weight_of(counts)
    return Plan(counts, weight, tuple(served), pools, workers)


def _cut(search: _Search, counts: Counts, tier: int) -> None:
    """Cut off what a tier was refused with, and as much more as is refused as well."""
    points, program = search.points, search.model.program
    pool = _feeding(points, counts)[tier]
    way, workers = points.pools[pool].way, counts.prefill[pool]
    decode = _decode(counts, tier)
    most_workers = program.variables[search.model.prefill[pool]].high
    keys = [key for key in search.model.decode if key[0] == tier]
    here = {key: decode.get(key[2], 0) for key in keys if key[1] == way}
    if search.serve(tier, pool, most_workers, decode, timed=False) is None:
        # Whatever feeds it: its decode workers are too few.
        search.model.cut({key: here.get(key, 0) for key in keys}, {})
        return
    if search.serve(tier, pool, most_workers, decode) is None:
        search.model.cut(here, {pool: most_workers})
        return
    most = {
        key: program.variables[search.model.decode[key]].high if count else 0
        for key, count in here.items()
    }
    if search.serve(tier, pool, workers, {key[2]: n for key, n in most.items() if n}) is None:
        here = most
    search.model.cut(here, {pool: workers})


def _repaired(search: _Search, counts: Counts, failing: list[int]) -> Plan | None:
    """Add workers until the tiers that were refused are served, if few do."""
    decode, prefill = dict(counts.decode), dict(counts.prefill)
    pools = _feeding(search.points, counts)
    for tier in failing:
        pool = pools[tier]
        way, is_own = search.points.pools[pool].way, search.points.pools[pool].is_own
        of_tier = _decode(counts, tier)
        for more in range(1, MOST_REPAIRS + 1):
            grown = {gpus: of_tier[gpus] + more for gpus in of_tier}
            smallest = of_tier | {min(of_tier): of_tier[min(of_tier)] + more}
            tries = [
                (prefill[pool] + more, of_tier),
                (prefill[pool], smallest),
                (prefill[pool] + more, smallest),
                (prefill[pool] + more, grown),
            ]
            if is_own:
                tries = [(prefill[pool], smallest), (prefill[pool], grown)]
            found = next((t for t in tries if search.serve(tier, pool, *t) is not None), None)
            if found is not None:
                prefill[pool] = max(prefill[pool], found[0])
                decode |= {(tier, way, gpus): count for gpus, count in found[1].items()}
                break
        else:
            return None
    return _evaluated(search, Counts(decode, prefill))


def _feeding(points: FleetPoints, counts: Counts) -> dict[int, int]:
    """Pool of each tier."""
    return {tier: pool for pool in counts.prefill for tier in points.pools[pool].tiers}


def _decode(counts: Counts, tier: int) -> dict[int, int]:
    return {gpus: count for (each, _, gpus), count in counts.decode.items() if each == tier}


def _status(search: _Search) -> Status:
    if search.best is not None:
        return "OPTIMAL" if search.is_proven else "FEASIBLE"
    return "INFEASIBLE" if search.is_proven else "UNKNOWN"


def _reason(search: _Search, end: float) -> str:
    """Say why no plan was found."""
    if not search.is_proven:
        return "the time was over before a plan was found; give it more"
    left = max(MOST_SECONDS_OF_REASONS, end - time.perf_counter())
    return conflict_sentence(search.points.problem, _unexplained, left)
