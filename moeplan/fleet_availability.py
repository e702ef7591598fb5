"""From a plan and failure rates to how often each of its tiers is served."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray, IntArray
from costmodel.serving import MOST_LOAD
from moeplan.answers.availability import Availability, PartRates, TierAvailability
from moeplan.answers.build import version
from moeplan.answers.fleet import FleetPlan
from moeplan.plan_file import PlacedPart, parts_of_plan, problem_of, read_plan, running_of
from optimizer.availability import (
    YEAR,
    Outages,
    PartClass,
    Timeline,
    draw_outages,
    timeline,
    with_spare_gpus,
)
from optimizer.check import serve_tier
from optimizer.fleet import FleetProblem
from optimizer.fleet_points import OWN, FleetPoints, Pool, PrefillKind, fleet_points
from optimizer.replan import as_they_run
from presets import ClusterSpec, InputError
from presets.errors import shown
from presets.facts import Fact
from presets.failures import PART_KINDS, Failures, PartKind
from topology.cluster import read_layout, servers_of
from topology.placement import unusable

HOUR = 3600.0


class Spares(NamedTuple):
    """What stands by for workers that fail.

    Attributes
    ----------
    name : str
    domains : int or None
        Domains besides those in use; None where workers wait for repair. [1]
    """

    name: str
    domains: int | None


def availability_of(
    path: Path,
    failures: Failures,
    *,
    years: int,
    seed: int,
    spare_domains: int,
    progress: Callable[[], None] | None = None,
) -> Availability:
    """Draw years of failures and count how long each tier of a plan is served.

    Raises
    ------
    InputError
        Where the file is no plan, or too much would fail.
    """
    plan = read_plan(path)
    problem = problem_of(plan.question, plan.calibration)
    workers = parts_of_plan(plan)
    seconds = years * YEAR
    yards = {
        machine: _yard(problem, machine, workers, spare_domains)
        for machine in sorted({each.machine for each in workers})
    }
    spared = [Spares("none", None), Spares("free GPUs", 0)]
    if any(yard[-1] > yard[0] for yard in yards.values()):  # domains are there to stand by
        several = "domain" if spare_domains == 1 else "domains"
        spared.append(Spares(f"free GPUs and {spare_domains} {several}", spare_domains))
    random = np.random.default_rng(seed)
    outages: dict[int, Outages] = {}
    classes: dict[int, dict[PartKind, PartClass]] = {}
    for machine, yard in yards.items():
        classes[machine] = part_classes(problem.machines[machine], yard[-1], failures)
        try:
            outages[machine] = draw_outages(list(classes[machine].values()), seconds, random)
        except ValueError as error:
            raise InputError(f"--years {years}: {error}; give fewer years") from None
    judge = _Judge(plan, problem)
    tiers: list[TierAvailability] = []
    for spares in spared:
        lines = {}
        for machine in yards:
            here = [each for each in workers if each.machine == machine]
            lines[machine] = _line(
                spares,
                problem,
                machine,
                here,
                yards[machine],
                outages[machine],
                seconds,
                failures.restart.value,
                progress,
            )
        tiers += _availabilities(plan, judge, spares.name, workers, lines, years, progress)
    drawn = sum(int((each.start >= 0.0).sum()) for each in outages.values())
    return Availability(
        years=years,
        seed=seed,
        failures_per_year=drawn / years,
        restart_s=failures.restart.value,
        parts={kind: _part_rates(failures, kind, classes) for kind in PART_KINDS},
        tiers=tuple(tiers),
        calibration=plan.calibration,
        version=version(),
    )


def stated(
    failures: Failures, rates: Mapping[str, float], repairs: Mapping[str, float]
) -> Failures:
    """Take rates [1/year] and mean repairs [s] of parts as said.

    Raises
    ------
    InputError
        Where there is no such part.
    """
    parts = dict(failures.parts)
    for option, field, said in (("--rate", "rate", rates), ("--repair", "repair", repairs)):
        for name, value in said.items():
            if name not in PART_KINDS:
                raise InputError(f"{option}: unknown part {name!r}; give {', '.join(PART_KINDS)}")
            if not 0.0 <= value < math.inf:
                raise InputError(f"{option}: {shown(value)} is not valid; give 0 or more")
            part = parts[name]
            before: Fact = getattr(part, field)
            fact = before.model_copy(
                update={"value": value, "source": f"as said by {option}", "kind": "assumed"}
            )
            parts[name] = part.model_copy(update={field: fact})
    return failures.model_copy(update={"parts": parts})


def part_classes(
    cluster: ClusterSpec, gpus: frozenset[int], failures: Failures
) -> dict[PartKind, PartClass]:
    """List the parts of a machine that some GPUs depend on, by kind."""
    layout = read_layout(cluster)
    domains = [layout.gpus_of(number) for number in range(len(layout.domain_sizes))]
    servers = servers_of(layout)
    if layout.gpus_per_domain > layout.server:
        racks = domains
    else:
        step = max(1, round(failures.servers_per_rack.value))
        racks = [
            range(servers[first].start, servers[min(first + step, len(servers)) - 1].stop)
            for first in range(0, len(servers), step)
        ]
    below = layout.gpus_per_leaf
    spans: dict[PartKind, Sequence[range]] = {
        "gpu": [range(gpu, gpu + 1) for gpu in sorted(gpus)],
        "server": servers,
        "switch": [
            range(first, min(first + below, layout.gpus)) for first in range(0, layout.gpus, below)
        ],
        "rack": racks,
    }
    return {
        kind: PartClass(
            tuple(span for span in spans[kind] if not gpus.isdisjoint(span)),
            failures.parts[kind].rate.value / YEAR,
            failures.parts[kind].repair.value,
        )
        for kind in PART_KINDS
    }


def _yard(
    problem: FleetProblem, machine: int, workers: Sequence[PlacedPart], spare_domains: int
) -> list[frozenset[int]]:
    """GPUs that workers may have with 0, 1, ... domains standing by."""
    cluster = problem.machines[machine]
    layout, away = read_layout(cluster), unusable(cluster) | problem.lost_of(machine)
    used = {d for each in workers if each.machine == machine for d in each.placement.domains}
    others = [number for number in range(len(layout.domain_sizes)) if number not in used]
    found = []
    for more in range(spare_domains + 1):
        domains = [*sorted(used), *others[:more]]
        gpus = {gpu for number in domains for gpu in layout.gpus_of(number)}
        found.append(frozenset(gpus - away))
    return found


def _line(
    spares: Spares,
    problem: FleetProblem,
    machine: int,
    workers: Sequence[PlacedPart],
    yard: Sequence[frozenset[int]],
    outages: Outages,
    seconds: float,
    restart: float,
    progress: Callable[[], None] | None,
) -> Timeline:
    """Find when which worker of a machine is away."""
    gpus = [each.placement.gpus for each in workers]
    if spares.domains is None:
        return timeline(outages, gpus, seconds, restart)
    layout = read_layout(problem.machines[machine])
    domains = [layout.gpus_of(number) for number in range(len(layout.domain_sizes))]
    usable = yard[spares.domains]
    near = [domain for domain in domains if not usable.isdisjoint(domain)]
    return with_spare_gpus(outages, gpus, near, usable, seconds, restart, progress)


class _Judge:
    """Says of numbers of workers that are up whether they serve a tier, each case once."""

    def __init__(self, plan: FleetPlan, problem: FleetProblem) -> None:
        self.plan = plan
        self.problem = problem
        self.points: FleetPoints = as_they_run(fleet_points(problem), running_of(plan, problem))
        self.known: dict[tuple[int, tuple[int, ...]], bool] = {}

    def is_served(self, tier: int, up: tuple[int, ...]) -> bool:
        """Whether a tier is served by its pool's workers, and those of each size, that are up."""
        key = tier, up
        if key not in self.known:
            self.known[key] = self._serve(tier, up)
        return self.known[key]

    def _serve(self, tier: int, up: tuple[int, ...]) -> bool:
        planned = self.plan.tiers[tier]
        sizes = [group.config.decode_gpus_per_worker for group in planned.decode]
        decode = {size: count for size, count in zip(sizes, up[1:], strict=True) if count}
        if not decode or (planned.pool is not None and not up[0]):
            return False
        return serve_tier(self.points, tier, self._pool(tier), max(up[0], 1), decode) is not None

    def _pool(self, tier: int) -> Pool:
        planned, ways = self.plan.tiers[tier], self.problem.ways
        way = next(
            place
            for place, each in enumerate(ways)
            if self.problem.machines[each.machine].sku == planned.sku
            and each.serving == planned.serving
        )
        if planned.pool is None:
            return Pool(way, (tier,), OWN)
        pool = next(each for each in self.plan.prefill_pools if each.number == planned.pool)
        names = [each.name for each in self.plan.tiers]
        kind = PrefillKind(pool.gpus_per_worker, pool.attention)
        return Pool(way, tuple(sorted(names.index(name) for name in pool.feeds)), kind)


def _availabilities(
    plan: FleetPlan,
    judge: _Judge,
    name: str,
    workers: Sequence[PlacedPart],
    lines: Mapping[int, Timeline],
    years: int,
    progress: Callable[[], None] | None,
) -> list[TierAvailability]:
    """Count the time in which each tier is served."""
    found = []
    for number, tier in enumerate(plan.tiers):
        machine = next(
            each.machine for each in workers if each.role != "prefill" and each.owner == tier.number
        )
        line = lines[machine]
        up = _up(plan, number, [each for each in workers if each.machine == machine], line)
        states, place = np.unique(up, axis=1, return_inverse=True)
        served = []
        for state in states.T.tolist():
            served.append(judge.is_served(number, tuple(state)))
            if progress is not None:
                progress()
        is_served = np.array(served)[place.ravel()]
        share = _by_year(line, is_served.astype(np.float64), years)
        capacity = np.array([_capacity(plan, number, state) for state in states.T.tolist()])
        mean = float(share.mean())
        found.append(
            TierAvailability(
                tier=tier.name,
                spares=name,
                availability=mean,
                worst_year=float(share.min()),
                hours_per_year=(1.0 - mean) * YEAR / HOUR,
                capacity=float(_by_year(line, capacity[place.ravel()], years).mean()),
            )
        )
    return found


def _up(plan: FleetPlan, number: int, workers: Sequence[PlacedPart], line: Timeline) -> IntArray:
    """Workers that are up in each span: those of the pool, then those of each size of a tier."""
    tier = plan.tiers[number]
    rows = [
        [each.role == "prefill" and each.owner == tier.pool for each in workers],
        *(
            [
                each.role != "prefill"
                and each.owner == tier.number
                and len(each.placement.gpus) == group.config.decode_gpus_per_worker
                for each in workers
            ]
            for group in tier.decode
        ),
    ]
    return np.array([(~line.away[np.array(row)]).sum(axis=0) for row in rows], dtype=np.int64)


def _capacity(plan: FleetPlan, number: int, up: Sequence[int]) -> float:
    """Share of a tier's demand that workers could take, by full batches and full pools [1]."""
    tier = plan.tiers[number]
    rate = sum(
        group.most_requests_per_s * count / group.config.decode_workers
        for group, count in zip(tier.decode, up[1:], strict=True)
    )
    share = rate / tier.requests_per_s
    if tier.pool is not None:
        pool = next(each for each in plan.prefill_pools if each.number == tier.pool)
        share = min(share, MOST_LOAD * up[0] / (pool.load * pool.workers))
    return min(share, 1.0)


def _by_year(line: Timeline, value: FloatArray, years: int) -> FloatArray:
    """Mean of a value over each year, given for each span."""
    ends = line.start + line.seconds
    total = np.concatenate([[0.0], np.cumsum(value * line.seconds)])
    edges = np.arange(years + 1) * YEAR
    at = np.interp(edges, np.concatenate([[0.0], ends]), total)
    return np.asarray(np.diff(at) / YEAR)


def _part_rates(
    failures: Failures, kind: PartKind, classes: Mapping[int, Mapping[PartKind, PartClass]]
) -> PartRates:
    part = failures.parts[kind]
    return PartRates(
        rate_per_year=part.rate.value,
        repair_s=part.repair.value,
        rate_kind=part.rate.kind,
        repair_kind=part.repair.kind,
        source=part.rate.source,
        parts=sum(len(each[kind].gpus) for each in classes.values()),
    )
