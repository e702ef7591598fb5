"""Fleets: tiers of demand, the machines that may serve them, and what each could run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import FloatArray
from costmodel.prefill import Prefill
from costmodel.results import Scenario
from optimizer.checks import check_count, check_positive
from optimizer.decode_points import DecodePoints, decode_points
from optimizer.prefill import PrefillOptions, every_prefill_option
from optimizer.prefill_points import Feed, fewest_workers
from optimizer.problem import Limits, Problem
from optimizer.resources import MICRO
from optimizer.space import Attention, Space
from presets import ClusterSpec, InputError

FleetObjective = Literal["cost", "gpus", "power"]

MOST_POOLS = 1023
"""Sets of tiers that share a prefill pool which are looked at. [1]"""

MOST_TIERS = 50


@dataclass(frozen=True)
class Tier:
    """A class of traffic.

    Attributes
    ----------
    name : str
    scenarios : tuple of Scenario or str
        What is served, on each machine: model, precision, engine, lengths; or why it cannot be.
    target : float
        Interactivity at or above which every user is served. [token/s]
    rate : float
        Demand. [1/s]
    max_ttft : float or None
        Longest mean time to first token. [s]
    """

    name: str
    scenarios: tuple[Scenario | str, ...]
    target: float
    rate: float
    max_ttft: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no demand."""
        check_positive("target", self.target, "tok/s/user")
        check_positive("rate", self.rate, "requests per second")
        if self.max_ttft is not None:
            check_positive("max_ttft", self.max_ttft, "seconds")

    @property
    def scenario(self) -> Scenario:
        """What is served on the first machine that can.

        Raises
        ------
        InputError
            Where none can.
        """
        found = next((each for each in self.scenarios if isinstance(each, Scenario)), None)
        if found is None:
            raise InputError(f"tier {self.name!r}: {self.scenarios[0]}")
        return found


@dataclass(frozen=True)
class FleetProblem:
    """All that a plan rests on.

    Attributes
    ----------
    tiers : tuple of Tier
    machines : tuple of ClusterSpec
        Clusters of the machines that may be taken; a tier stands on one of them.
    calibration : Calibration
        Constants of the cost model.
    objective : {"cost", "gpus", "power"}
        What is made least: dollars per hour, GPUs, or watts, of the GPUs that serve.
    space : Space
        Shapes that are looked at.
    spares : int
        Workers of each pool that may fail while the demand is served. [1]
    budget, max_power : float or None
        Most that the GPUs that serve may cost [USD/h], and draw [W].
    """

    tiers: tuple[Tier, ...]
    machines: tuple[ClusterSpec, ...]
    calibration: Calibration
    objective: FleetObjective = "cost"
    space: Space = Space()  # noqa: RUF009 - frozen
    spares: int = 0
    budget: float | None = None
    max_power: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no plan can be made of."""
        if not self.tiers:
            raise InputError("tiers: none is given; give at least one")
        if len(self.tiers) > MOST_TIERS:
            raise InputError(f"tiers: {len(self.tiers)} are given; give at most {MOST_TIERS}")
        names = [tier.name for tier in self.tiers]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"tiers: the name {twice!r} stands twice; give each its own")
        if not self.machines:
            raise InputError("machines: none is given; give at least one")
        for tier in self.tiers:
            if len(tier.scenarios) != len(self.machines):
                raise InputError(f"tier {tier.name!r}: give a scenario for each machine")
        if self.spares:
            check_count("spares", self.spares)
        for name, value, unit in (
            ("budget", self.budget, "USD/h"),
            ("max_power", self.max_power, "W"),
        ):
            if value is not None:
                check_positive(name, value, unit)

    def problem(self, tier: int, machine: int) -> Problem:
        """Ask for one tier on one machine, by their places.

        Raises
        ------
        InputError
            Where the machine cannot run it.
        """
        asked, cluster = self.tiers[tier], self.machines[machine]
        scenario = asked.scenarios[machine]
        if isinstance(scenario, str):
            raise InputError(scenario)
        limits = Limits(asked.target, cluster.gpus, asked.max_ttft)
        return Problem(scenario, cluster, limits, self.calibration, self.space)

    def weight(self, machine: ClusterSpec, objective: FleetObjective | None = None) -> int:
        """Weigh one GPU by an objective: millionths of USD/h or W, or a whole GPU.

        None takes that of the problem.
        """
        hardware, objective = machine.hardware(), objective or self.objective
        if objective == "gpus":
            return 1
        fact = hardware.price_usd_per_hour if objective == "cost" else hardware.power_watts
        return max(1, round(fact.value / MICRO))

    @property
    def unit(self) -> float:
        """What one unit of a plan's weight is: GPUs, USD/h or W."""
        divisor = math.gcd(*map(self.weight, self.machines))
        return divisor * (1.0 if self.objective == "gpus" else MICRO)


class PrefillKind(NamedTuple):
    """A shape of prefill worker."""

    gpus: int
    attention: Attention


class Pool(NamedTuple):
    """Prefill workers of one shape on one machine that feed some tiers.

    Attributes
    ----------
    machine : int
        Its place.
    tiers : tuple of int
        Their places, rising.
    kind : PrefillKind
    fewest : int
        Workers below which the load, or a limit on TTFT, is not met. [1]
    """

    machine: int
    tiers: tuple[int, ...]
    kind: PrefillKind
    fewest: int


@dataclass(frozen=True, eq=False)
class TierPoints:
    """What one tier may run on one machine.

    Attributes
    ----------
    problem : Problem
    decode : DecodePoints
        Those that can meet the limits.
    prefill : dict
        Place in `options` of each kind.
    options : PrefillOptions
    """

    problem: Problem
    decode: DecodePoints
    prefill: dict[PrefillKind, int]
    options: PrefillOptions

    @property
    def run_share(self) -> float:
        """Share of the steady rate that a run with its start and its end has [1]."""
        return float(1.0 - 1.0 / (2.0 * self.problem.constants.rounds))

    @cached_property
    def sizes(self) -> dict[int, float]:
        """Highest request rate of one decode worker of each size [1/s]."""
        best: dict[int, float] = {}
        for shape, rate in zip(self.decode.shapes, self.decode.request_rate.tolist(), strict=True):
            best[shape.gpus] = max(best.get(shape.gpus, 0.0), rate)
        return dict(sorted(best.items()))


@dataclass(frozen=True, eq=False)
class FleetPoints:
    """Operating points of every tier on every machine, and the pools that may feed them.

    Attributes
    ----------
    problem : FleetProblem
    of : dict
        From places of a tier and a machine to its points; those that can serve it alone.
    refused : dict
        Why others cannot.
    pools : tuple of Pool
    all_sets : bool
        Whether every set of tiers was looked at as one that shares a pool.
    """

    problem: FleetProblem
    of: dict[tuple[int, int], TierPoints]
    refused: dict[tuple[int, int], str]
    pools: tuple[Pool, ...]
    all_sets: bool

    def steady_rate(self, tier: int, machine: int) -> float:
        """Rate that a tier asks of its workers between start and end of a run [1/s]."""
        return self.problem.tiers[tier].rate / self.of[tier, machine].run_share

    def feed(self, pool: Pool) -> Feed:
        """Say what the tiers of a pool ask of it."""
        return _feed(self.problem, self.of, pool.machine, pool.tiers, [pool.kind])


def fleet_points(problem: FleetProblem) -> FleetPoints:
    """Find the operating points of all tiers on all machines."""
    of: dict[tuple[int, int], TierPoints] = {}
    refused: dict[tuple[int, int], str] = {}
    for place in range(len(problem.machines)):
        for number in range(len(problem.tiers)):
            try:
                of[number, place] = _tier_points(problem.problem(number, place))
            except InputError as error:
                refused[number, place] = str(error)
    pools: list[Pool] = []
    all_sets = True
    for machine in range(len(problem.machines)):
        for group in _groups(of, machine):
            sets, whole = _sets(group)
            all_sets = all_sets and whole
            for tiers in sets:
                pools += _pools(problem, of, machine, tiers)
    return FleetPoints(problem, of, refused, tuple(pools), all_sets)


def _tier_points(problem: Problem) -> TierPoints:
    decode = decode_points(problem)
    if not len(decode):
        raise InputError(f"no decode worker reaches {problem.limits.target:g} tok/s/user")
    options = every_prefill_option(problem)
    modes = np.where(options.attention_dp, "dp", "tp").tolist()
    prefill = {
        PrefillKind(gpus, mode): place
        for place, (gpus, mode) in enumerate(zip(options.gpus.tolist(), modes, strict=True))
    }
    return TierPoints(problem, decode, prefill, options)


def _groups(of: Mapping[tuple[int, int], TierPoints], machine: int) -> list[list[int]]:
    """Part the tiers of a machine into those that may share prefill workers.

    One prefill worker serves tiers of the same model, precision, engine and frontends.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for (tier, place), points in of.items():
        if place == machine:
            what = points.problem.scenario
            kind = (what.model, what.precision, what.engine, what.frontends)
            groups.setdefault(kind, []).append(tier)
    return list(groups.values())


def _sets(group: Sequence[int]) -> tuple[list[tuple[int, ...]], bool]:
    """List the sets of tiers that may share a pool, small ones first; and whether those are all."""
    found: list[tuple[int, ...]] = []
    for size in range(1, len(group) + 1):
        if len(found) + math.comb(len(group), size) > MOST_POOLS:
            return [*found, tuple(group)], False
        found += combinations(group, size)
    return found, True


def _pools(
    problem: FleetProblem,
    of: dict[tuple[int, int], TierPoints],
    machine: int,
    tiers: tuple[int, ...],
) -> Iterator[Pool]:
    """Size a pool of each kind of prefill worker for a set of tiers."""
    kinds = sorted(set.intersection(*(set(of[tier, machine].prefill) for tier in tiers)))
    if not kinds:
        return
    feed = _feed(problem, of, machine, tiers, kinds)
    fewest = fewest_workers(feed, of[tiers[0], machine].problem.constants)
    for kind, count in zip(kinds, fewest.tolist(), strict=True):
        if count:
            yield Pool(machine, tiers, kind, count)


def _feed(
    problem: FleetProblem,
    of: dict[tuple[int, int], TierPoints],
    machine: int,
    tiers: tuple[int, ...],
    kinds: Sequence[PrefillKind],
) -> Feed:
    """Say what tiers ask of a pool of each kind: one row for each kind, a column for each tier."""
    points = [of[tier, machine] for tier in tiers]

    def column(each: TierPoints, name: str) -> FloatArray:
        values: FloatArray = getattr(each.options.prefill, name)
        places = [each.prefill[kind] for kind in kinds]
        return np.broadcast_to(values, len(each.options.gpus))[places]

    limits = [each.problem.limits.max_ttft for each in points]
    rates = [
        problem.tiers[tier].rate / each.run_share for tier, each in zip(tiers, points, strict=True)
    ]
    return Feed(
        rate=np.broadcast_to(np.array(rates), (len(kinds), len(tiers))),
        prefill=Prefill(
            *(np.stack([column(p, n) for p in points], axis=-1) for n in Prefill._fields)
        ),
        input_tokens=np.array([float(p.problem.scenario.workload.input_tokens) for p in points]),
        max_ttft=np.array([math.inf if limit is None else limit for limit in limits]),
    )
