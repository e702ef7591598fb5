"""Rounds of a search: the integer program promises, the exact evaluation says what is true.

What was chosen is evaluated; what falls short is cut off, and the program is solved again, until it
promises nothing better than the best plan that was evaluated. That plan is then proven best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from optimizer.check import Served, serve_with_spares
from optimizer.fleet_counts import Counts
from optimizer.fleet_placement import Placed
from optimizer.fleet_points import FleetPoints, Pool
from optimizer.integer_model import IntegerModel
from optimizer.placement import PlacedWorker
from optimizer.prefill_points import MOST_WORKERS

MOST_GAP, LEAST_GAP = 0.01, 0.001
"""Gap of a round's choice: at most the one, and none at all below the other. [1]"""

GROWTH = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares by which workers are added to make a plan of what was refused. [1]"""


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
        Pool that feeds each tier.
    workers : tuple of PlacedWorker
    kept : int
        Workers that stand as they stood before, if anything did: the first ones. [1]
    """

    counts: Counts
    weight: int
    served: tuple[tuple[Served, ...], ...]
    pools: dict[int, Pool]
    workers: tuple[PlacedWorker, ...]
    kept: int = 0

    @property
    def started(self) -> int:
        """Workers that are started, or moved [1]."""
        return len(self.workers) - self.kept

    @property
    def domains(self) -> int:
        """NVLink domains that workers stand in [1]."""
        return len({(each.cluster, d) for each in self.workers for d in each.placement.domains})


@dataclass
class Search:
    """State of one search.

    Attributes
    ----------
    points : FleetPoints
    model : IntegerModel
    place : callable
        Places the workers of a choice; None where one finds no room.
    value : callable
        What is made least of plans: the objective of the model's program.
    best : Plan or None
    bound : int or None
        No plan has less; None where there is none.
    """

    points: FleetPoints
    model: IntegerModel
    place: Callable[[Counts], Placed | None]
    value: Callable[[Plan], int] = lambda plan: plan.weight
    best: Plan | None = None
    bound: int | None = 0
    rounds: int = 0
    known: dict[object, tuple[Served, ...] | None] = field(default_factory=dict)

    def serve(
        self, tier: int, pool: Pool, workers: int, decode: Mapping[int, int], *, timed: bool = True
    ) -> tuple[Served, ...] | None:
        """Serve a tier as `serve_with_spares` does, each case once."""
        key = tier, pool, workers, tuple(sorted(decode.items())), timed
        if key not in self.known:
            self.known[key] = serve_with_spares(
                self.points, tier, pool, workers, decode, is_timed=timed
            )
        return self.known[key]

    @property
    def is_proven(self) -> bool:
        """Whether nothing better than the best plan is left."""
        return self.bound is None or (self.best is not None and self.bound >= self.value(self.best))

    @property
    def next_gap(self) -> float:
        """Gap that the next choice may have [1].

        Plans are wanted soon, and what is refused would have been proven for nothing: a tenth of
        what is left between the best plan and the bound.
        """
        if self.best is None or not self.bound:
            return MOST_GAP
        gap = 0.1 * (1.0 - self.bound / self.value(self.best))
        return 0.0 if gap < LEAST_GAP else min(gap, MOST_GAP)

    def offer(self, plan: Plan | None) -> None:
        """Keep a plan if it is the best so far, or as good in fewer domains."""
        if plan is not None and (self.best is None or self._rank(plan) < self._rank(self.best)):
            self.best = plan

    def _rank(self, plan: Plan) -> tuple[int, int]:
        return self.value(plan), plan.domains


def improve(search: Search, end: float, progress: Callable[[], None] | None) -> None:
    """Solve, evaluate and cut until nothing better is left, or the time is over."""
    while not search.is_proven:
        left = end - time.perf_counter()
        if left <= 0.0:
            return
        choice = search.model.solve(left, search.next_gap)
        search.rounds += 1
        if progress is not None:
            progress()
        if choice.bound is None or search.bound is None:
            search.bound = None
            return
        search.bound = max(search.bound, choice.bound)
        if choice.was_stopped and search.best is not None:  # nobody waits for another
            raise KeyboardInterrupt
        promised = choice.promised or 0
        if choice.counts and (search.best is None or promised <= search.value(search.best)):
            _judge(search, choice.counts, promised)
        if choice.was_stopped:
            raise KeyboardInterrupt
        if choice.counts is None:
            return


def _judge(search: Search, chosen: Counts, promised: int) -> None:
    """Evaluate what was chosen; cut off what falls short, and make a plan of it if a few help."""
    counts = _enlarged(search, chosen)
    if counts is None:
        return
    if failing := _failing(search, counts):
        for tier in failing:
            _cut(search, counts, tier)
        search.offer(_repaired(search, counts, failing))
        return
    plan = _evaluated(search, counts)
    # Patterns find room where first fit by falling size does not, or for more that stays.
    if plan is None or (counts is chosen and promised < search.value(plan)):
        search.model.cut_room(counts)
    search.offer(plan)


def _enlarged(search: Search, counts: Counts) -> Counts | None:
    """Give pools the workers that the tiers which were chosen take together; None where none do."""
    more = dict(counts.prefill)
    for pool, workers in counts.prefill.items():
        fewest = 1 if pool.is_own else search.points.fewest(pool)
        if fewest is None or fewest > workers:
            search.model.enlarge(pool, fewest or MOST_WORKERS)
            more[pool] = fewest or 0
    if more == counts.prefill:
        return counts
    return Counts(counts.decode, more) if all(more.values()) else None


def _failing(search: Search, counts: Counts) -> list[int]:
    """Find the tiers that the chosen workers do not serve."""
    return [
        tier
        for tier, pool in counts.feeding.items()
        if search.serve(tier, pool, counts.prefill[pool], _decode(counts, tier)) is None
    ]


def _evaluated(search: Search, counts: Counts) -> Plan | None:
    """Evaluate counts as a plan; None where a tier is not served or a worker finds no room."""
    pools = counts.feeding
    served = []
    for tier in range(len(search.points.problem.tiers)):
        pool = pools[tier]
        found = search.serve(tier, pool, counts.prefill[pool], _decode(counts, tier))
        if found is None:
            return None
        served.append(found)
    standing = search.place(counts)
    if standing is None:
        return None
    weight = search.model.weight_of(counts)
    return Plan(counts, weight, tuple(served), pools, *standing)


def _cut(search: Search, counts: Counts, tier: int) -> None:
    """Cut off what a tier was refused with, and as much more as is refused as well."""
    program, model = search.model.program, search.model
    pool = counts.feeding[tier]
    workers, decode = counts.prefill[pool], _decode(counts, tier)
    most_workers = workers
    if not pool.is_own:
        most_workers = program.variables[model.prefill[search.points.option(pool)]].high
    keys = [key for key in model.decode if key[0] == tier]
    here = {key: decode.get(key[2], 0) for key in keys if key[1] == pool.way}
    if search.serve(tier, pool, most_workers, decode, timed=False) is None:
        # Whatever feeds it: its decode workers are too few.
        model.cut({key: here.get(key, 0) for key in keys})
        return
    if search.serve(tier, pool, most_workers, decode) is None:
        model.cut(here, pool, most_workers)
        return
    most = {
        key: program.variables[model.decode[key]].high if count else 0
        for key, count in here.items()
    }
    crowd = {key[2]: n for key, n in most.items() if n}
    if search.serve(tier, pool, workers, crowd) is not None:
        model.cut(here, pool, workers)
        return
    low, high = workers, most_workers
    while high - low > 1:
        middle = (low + high) // 2
        is_served = search.serve(tier, pool, middle, crowd) is not None
        low, high = (low, middle) if is_served else (middle, high)
    model.cut(most, pool, low)


def _repaired(search: Search, counts: Counts, failing: list[int]) -> Plan | None:
    """Add workers until the tiers that were refused are served, if that helps."""
    decode, prefill = dict(counts.decode), dict(counts.prefill)
    for tier in failing:
        pool = counts.feeding[tier]
        grown = _grown(search, tier, pool, prefill[pool], _decode(counts, tier))
        if grown is None:
            return None
        prefill[pool], of_tier = grown
        decode |= {(tier, pool.way, gpus): count for gpus, count in of_tier.items()}
    return _evaluated(search, Counts(decode, prefill))


def _grown(
    search: Search, tier: int, pool: Pool, workers: int, decode: Mapping[int, int]
) -> tuple[int, dict[int, int]] | None:
    """Grow a pool, the smallest decode workers or both, by rising shares until it serves a tier."""
    rates, smallest = search.points.of[tier, pool.way].sizes, min(decode)
    rate = sum(count * rates[gpus] for gpus, count in decode.items())
    for share in GROWTH:
        more = math.ceil(share * rate / rates[smallest])
        crowd = {**decode, smallest: decode[smallest] + more}
        large = workers if pool.is_own else math.ceil((1.0 + share) * workers)
        for tried in ((large, dict(decode)), (workers, crowd), (large, crowd)):
            if search.serve(tier, pool, *tried) is not None:
                return tried
    return None


def _decode(counts: Counts, tier: int) -> dict[int, int]:
    return {gpus: count for (each, _, gpus), count in counts.decode.items() if each == tier}
