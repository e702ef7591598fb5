"""Operating points of a fleet: what each tier could run, and the prefill pools that may feed it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray
from costmodel.prefill import Prefill
from optimizer.decode_points import DecodePoints, decode_points, slots_of
from optimizer.fleet import FleetProblem
from optimizer.prefill import PrefillOptions, every_prefill_option
from optimizer.prefill_points import Feed, fewest_workers
from optimizer.problem import Problem
from optimizer.space import Attention
from presets import InputError

MOST_POOLS = 1023
"""Sets of tiers that share a prefill pool which are looked at. [1]"""


class PrefillKind(NamedTuple):
    """A shape of prefill worker."""

    gpus: int
    attention: Attention


OWN = PrefillKind(0, "dp")
"""Stands for prefill by the workers that decode."""


class Pool(NamedTuple):
    """Prefill workers of one shape that feed some tiers, or none for one that prefills its own.

    Attributes
    ----------
    way : int
        Place of the machine and mode.
    tiers : tuple of int
        Their places, rising.
    kind : PrefillKind
    fewest : int
        Workers below which the load, or a limit on TTFT, is not met. [1]
    """

    way: int
    tiers: tuple[int, ...]
    kind: PrefillKind
    fewest: int

    @property
    def is_own(self) -> bool:
        """Whether the tier's workers prefill what they decode: it counts as one of no GPUs."""
        return self.kind == OWN


@dataclass(frozen=True, eq=False)
class TierPoints:
    """What one tier may run in one way.

    Attributes
    ----------
    problem : Problem
    decode : DecodePoints
        Those that can meet the limits.
    prefill : dict
        Place in `options` of each kind.
    options : PrefillOptions or None
        Prefill workers; None where those that decode prefill.
    slots : mapping
        From GPUs of a worker to the slots that those of the size run with, if they do. [1]
    """

    problem: Problem
    decode: DecodePoints
    prefill: dict[PrefillKind, int]
    options: PrefillOptions | None
    slots: Mapping[int, int] = field(default_factory=dict)

    def slots_of(self, place: int) -> list[int]:
        """Slots worth trying for a point, or those that it runs with [1]."""
        given = self.slots.get(self.decode.shapes[place].gpus)
        return slots_of(self.decode, place) if given is None else [given]

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
    """Operating points of every tier in every way, and the pools that may feed them.

    Attributes
    ----------
    problem : FleetProblem
    of : dict
        From places of a tier and a way to its points; those that can serve it alone.
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

    def steady_rate(self, tier: int, way: int) -> float:
        """Rate that a tier asks of its workers between start and end of a run [1/s]."""
        return self.problem.tiers[tier].rate / self.of[tier, way].run_share

    def feed(self, pool: Pool) -> Feed:
        """Say what the tiers of a pool ask of it."""
        return _feed(self.problem, self.of, pool.way, pool.tiers, [pool.kind])


def fleet_points(problem: FleetProblem) -> FleetPoints:
    """Find the operating points of all tiers in all ways that they may be served in."""
    of: dict[tuple[int, int], TierPoints] = {}
    refused: dict[tuple[int, int], str] = {}
    for place, way in enumerate(problem.ways):
        for number, tier in enumerate(problem.tiers):
            if way.serving in tier.servings:
                try:
                    of[number, place] = _tier_points(problem.problem(number, place))
                except InputError as error:
                    refused[number, place] = str(error)
    pools: list[Pool] = []
    all_sets = True
    for place, way in enumerate(problem.ways):
        if way.is_aggregated:
            pools += [Pool(place, (tier,), OWN, 1) for tier, other in of if other == place]
            continue
        for group in _groups(of, place):
            sets, whole = _sets(group)
            all_sets = all_sets and whole
            for tiers in sets:
                pools += _pools(problem, of, place, tiers)
    return FleetPoints(problem, of, refused, tuple(pools), all_sets)


def _tier_points(problem: Problem) -> TierPoints:
    decode = decode_points(problem)
    if not len(decode):
        limit, role = problem.limits.max_ttft, "" if problem.is_aggregated else "decode "
        within = f" and max_ttft {limit:g} s" if limit and problem.is_aggregated else ""
        raise InputError(f"no {role}worker reaches {problem.limits.target:g} tok/s/user{within}")
    if problem.is_aggregated:
        return TierPoints(problem, decode, {}, None)
    options = every_prefill_option(problem)
    modes = np.where(options.attention_dp, "dp", "tp").tolist()
    prefill = {
        PrefillKind(gpus, mode): place
        for place, (gpus, mode) in enumerate(zip(options.gpus.tolist(), modes, strict=True))
    }
    return TierPoints(problem, decode, prefill, options)


def _groups(of: Mapping[tuple[int, int], TierPoints], way: int) -> list[list[int]]:
    """Part the tiers of a way into those that may share prefill workers.

    One prefill worker serves tiers of the same model, precision, engine and frontends.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for (tier, place), points in of.items():
        if place == way:
            groups.setdefault(sharing(points.problem), []).append(tier)
    return list(groups.values())


def sharing(problem: Problem) -> tuple[object, ...]:
    """Give what is alike of tiers that may share prefill workers."""
    what = problem.scenario
    return what.model, what.precision, what.engine, what.frontends


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
    way: int,
    tiers: tuple[int, ...],
) -> Iterator[Pool]:
    """Size a pool of each kind of prefill worker for a set of tiers."""
    kinds = sorted(set.intersection(*(set(of[tier, way].prefill) for tier in tiers)))
    if not kinds:
        return
    feed = _feed(problem, of, way, tiers, kinds)
    fewest = fewest_workers(feed, of[tiers[0], way].problem.constants)
    for kind, count in zip(kinds, fewest.tolist(), strict=True):
        if count:
            yield Pool(way, tiers, kind, count)


def _feed(
    problem: FleetProblem,
    of: dict[tuple[int, int], TierPoints],
    way: int,
    tiers: tuple[int, ...],
    kinds: Sequence[PrefillKind],
) -> Feed:
    """Say what tiers ask of a pool of each kind: one row for each kind, a column for each tier."""
    points = [of[tier, way] for tier in tiers]

    def column(each: TierPoints, name: str) -> FloatArray:
        assert each.options is not None
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
