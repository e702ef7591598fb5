"""Operating points of a fleet: what each tier could run, and the prefill pools that may feed it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from costmodel.inputs import FloatArray
from costmodel.prefill import Prefill
from costmodel.serving import MOST_LOAD
from optimizer.decode_points import DecodePoints, decode_points, slots_of
from optimizer.fleet import FleetProblem
from optimizer.prefill import PrefillOptions, every_prefill_option
from optimizer.prefill_points import Feed, fewest_workers
from optimizer.problem import Problem
from optimizer.space import Attention
from presets import InputError


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
    """

    way: int
    tiers: tuple[int, ...]
    kind: PrefillKind

    @property
    def is_own(self) -> bool:
        """Whether the tier's workers prefill what they decode: it counts as one of no GPUs."""
        return self.kind == OWN


class Need(NamedTuple):
    """What a tier needs of prefill workers of some shape.

    Attributes
    ----------
    load : float
        Workers that it takes at the highest load. [1]
    fewest : int
        Workers below which it is not served, whoever shares them. [1]
    seconds : float
        Time of one of its requests on one server. [s]
    """

    load: float
    fewest: int
    seconds: float


class PoolOption(NamedTuple):
    """A pool that a plan may have, of which it chooses the tiers.

    Attributes
    ----------
    way : int
    kind : PrefillKind
    leader : int or None
        A tier that it feeds wherever it is there, so that each set of tiers is one choice alone.
        None for the pool of tiers without a limit on TTFT: two of those are no better than one.
    needs : dict
        From the tiers that it may feed to what each needs.
    """

    way: int
    kind: PrefillKind
    leader: int | None
    needs: Mapping[int, Need]

    @property
    def is_own(self) -> bool:
        """Whether a tier's workers prefill what they decode."""
        return self.kind == OWN

    def pool(self, tiers: Iterable[int]) -> Pool:
        """Feed some tiers."""
        return Pool(self.way, tuple(sorted(tiers)), self.kind)

    def may_be(self, pool: Pool) -> bool:
        """Whether a pool is one of its choices."""
        if (self.way, self.kind) != (pool.way, pool.kind):
            return False
        return self.needs.keys() >= set(pool.tiers) and self.leader in (None, *pool.tiers)


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
    pools : tuple of PoolOption
    """

    problem: FleetProblem
    of: dict[tuple[int, int], TierPoints]
    refused: dict[tuple[int, int], str]
    pools: tuple[PoolOption, ...]

    def steady_rate(self, tier: int, way: int) -> float:
        """Rate that a tier asks of its workers between start and end of a run [1/s]."""
        return self.problem.tiers[tier].rate / self.of[tier, way].run_share

    def feed(self, pool: Pool) -> Feed:
        """Say what the tiers of a pool ask of it."""
        return _feed(self.problem, self.of, pool.way, pool.tiers, pool.kind)

    def fewest(self, pool: Pool) -> int | None:
        """Count the workers of a pool without which a tier waits too long; None where always [1].

        Those that serve while spare ones are away, and these.
        """
        constants = self.of[pool.tiers[0], pool.way].problem.constants
        (count,) = fewest_workers(self.feed(pool), constants).tolist()
        return count + self.problem.spares if count else None

    def option(self, pool: Pool) -> int:
        """Place of the option that a pool is a choice of."""
        return next(place for place, each in enumerate(self.pools) if each.may_be(pool))

    def shorter(self, pool: Pool) -> list[int]:
        """Tiers that the pool may feed too, and that would shorten its mean time of a request.

        All others only add to its load and to the wait.
        """
        needs = self.pools[self.option(pool)].needs
        rates = [self.steady_rate(tier, pool.way) for tier in pool.tiers]
        mean = np.average([needs[tier].seconds for tier in pool.tiers], weights=rates)
        return [
            tier
            for tier, need in needs.items()
            if tier not in pool.tiers and need.seconds < mean * (1.0 - 1e-12)
        ]


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
    pools: list[PoolOption] = []
    for place, way in enumerate(problem.ways):
        if way.is_aggregated:
            alone = [tier for tier, other in of if other == place]
            pools += [PoolOption(place, OWN, tier, {tier: Need(0.0, 0, 0.0)}) for tier in alone]
            continue
        for group in _groups(of, place):
            kinds = sorted(set().union(*(of[tier, place].prefill for tier in group)))
            for kind in kinds:
                pools += _options(problem, of, place, group, kind)
    return FleetPoints(problem, of, refused, tuple(pools))


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


def _options(
    problem: FleetProblem,
    of: Mapping[tuple[int, int], TierPoints],
    way: int,
    group: Sequence[int],
    kind: PrefillKind,
) -> Iterator[PoolOption]:
    """List the pools of a kind: one led by each tier with a limit on TTFT, one of all others."""
    tiers = [tier for tier in group if kind in of[tier, way].prefill]
    feed = _feed(problem, of, way, tiers, kind)
    alone = feed._replace(rate=np.diag(feed.rate[0]))
    shortest = np.full(len(tiers), feed.seconds.min())
    fewest = fewest_workers(alone, of[tiers[0], way].problem.constants, shortest)
    columns = alone.busy / MOST_LOAD, fewest, feed.seconds[0]
    needs = {
        tier: Need(*need)
        for tier, *need in zip(tiers, *(each.tolist() for each in columns), strict=True)
        if need[1]
    }
    limited = [tier for tier in needs if of[tier, way].problem.limits.max_ttft is not None]
    others = [tier for tier in needs if tier not in limited]
    for place, leader in enumerate(limited):
        chosen = [*limited[place:], *others]
        yield PoolOption(way, kind, leader, {tier: needs[tier] for tier in chosen})
    if others:
        yield PoolOption(way, kind, None, {tier: needs[tier] for tier in others})


def _feed(
    problem: FleetProblem,
    of: Mapping[tuple[int, int], TierPoints],
    way: int,
    tiers: Sequence[int],
    kind: PrefillKind,
) -> Feed:
    """Say what tiers ask of a pool: one row, a column for each tier."""
    points = [of[tier, way] for tier in tiers]

    def column(each: TierPoints, name: str) -> FloatArray:
        assert each.options is not None
        values: FloatArray = getattr(each.options.prefill, name)
        return np.broadcast_to(values, len(each.options.gpus))[[each.prefill[kind]]]

    limits = [each.problem.limits.max_ttft for each in points]
    rates = [
        problem.tiers[tier].rate / each.run_share for tier, each in zip(tiers, points, strict=True)
    ]
    return Feed(
        rate=np.array([rates]),
        prefill=Prefill(
            *(np.stack([column(p, n) for p in points], axis=-1) for n in Prefill._fields)
        ),
        input_tokens=np.array([float(p.problem.scenario.workload.input_tokens) for p in points]),
        max_ttft=np.array([math.inf if limit is None else limit for limit in limits]),
    )
