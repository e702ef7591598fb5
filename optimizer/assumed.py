"""Facts of machines that are assumed, and what would be best were one otherwise.

Which they are is data: every fact of kind "assumed" that another source has otherwise takes part
where the cost model reads it. Prices and watts are what the objective divides by and stay as asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from costmodel.counts import path_arrays
from costmodel.inputs import MachineArrays, PathArrays, stack
from costmodel.results import Configuration, Prediction
from optimizer.decode_workers import facts_of
from optimizer.placement import NOBODY, packs
from optimizer.prefill import prefill_options
from optimizer.problem import Problem
from optimizer.search import curve
from presets import ClusterSpec
from presets.record import Record
from topology import group_table


class AssumedFact(Record):
    """A fact that is assumed, with what other sources say of it.

    Attributes
    ----------
    sku, fact, unit : str
        Machine, name of the fact in its preset, and SI unit.
    value : float
        As assumed, in the unit.
    alternatives : tuple of float
        Other values that are found, rising.
    """

    sku: str
    fact: str
    unit: str
    value: float
    alternatives: tuple[float, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """Value and alternatives, in the unit."""
        return self.value, *self.alternatives


class Supposition(NamedTuple):
    """What is best at each target were one fact otherwise; None where nothing meets it."""

    fact: AssumedFact
    value: float
    predictions: tuple[Prediction | None, ...]


def assumed_facts(problem: Problem) -> tuple[AssumedFact, ...]:
    """List the assumed facts of the machines of a problem that the cost model reads there.

    A fact is read where the links or the machine of some worker of the space change with it: the
    rate of NICs is not where one domain holds all GPUs, and their latency nowhere.

    Raises
    ------
    InputError
        As the search does.
    """
    return tuple(
        fact
        for fact in _assumed(problem)
        if any(
            _differs(supposing(problem, {fact: value}), problem, *_sizes(problem))
            for value in fact.alternatives
        )
    )


def supposing(problem: Problem, values: Mapping[AssumedFact, float]) -> Problem:
    """Pose a problem on machines whose facts are otherwise."""

    def changed(cluster: ClusterSpec) -> ClusterSpec:
        own = {fact.fact: value for fact, value in values.items() if fact.sku == cluster.sku}
        return cluster.supposing(own) if own else cluster

    there = problem.prefill_cluster
    return replace(
        problem,
        cluster=changed(problem.cluster),
        prefill_cluster=None if there is None else changed(there),
    )


def suppositions(
    problem: Problem,
    targets: Sequence[float],
    found: Sequence[tuple[Configuration, Prediction]],
) -> Iterator[Supposition]:
    """Search again with each alternative of each assumed fact.

    Parameters
    ----------
    problem : Problem
        What was asked.
    targets : sequence of float
        In place of that of the problem. [token/s]
    found : sequence of (Configuration, Prediction)
        What is best at each target as the facts are.

    Raises
    ------
    InputError
        As the search does.

    Notes
    -----
    Where no link is quicker than it was, what does not use a slower one stays best: there nothing
    is searched.
    """
    for fact in assumed_facts(problem):
        for value in fact.alternatives:
            other = supposing(problem, {fact: value})
            slower = _nowhere_quicker(other, problem)
            again = [
                place
                for place, (configuration, _) in enumerate(found)
                if not slower or _differs(other, problem, *_sizes_of(configuration))
            ]
            predictions: list[Prediction | None] = [prediction for _, prediction in found]
            if again:
                answers = curve(other, [targets[place] for place in again], explained=False)
                for place, answer in zip(again, answers, strict=True):
                    predictions[place] = answer.prediction
            yield Supposition(fact, value, tuple(predictions))


def _assumed(problem: Problem) -> Iterator[AssumedFact]:
    resources = problem.resources
    for cluster in dict.fromkeys((resources.cluster, resources.prefill_on)):
        for name, fact in cluster.assumed().items():
            others = {other.value for other in fact.alternatives} - {fact.value}
            yield AssumedFact(
                sku=cluster.sku,
                fact=name,
                unit=fact.unit,
                value=fact.value,
                alternatives=tuple(sorted(others)),
            )


class _Read(NamedTuple):
    """What the cost model reads of machines and links of some workers, decode before prefill."""

    machines: tuple[MachineArrays, MachineArrays]
    paths: tuple[PathArrays, PathArrays]


def _read(problem: Problem, decode: list[int], prefill: list[int]) -> _Read:
    here, there = problem.cluster, problem.resources.prefill_on
    return _Read(
        (facts_of(problem.scenario, here).machine, facts_of(problem.scenario, there).machine),
        (_paths(here, decode), _paths(there, prefill)),
    )


def _paths(cluster: ClusterSpec, sizes: list[int]) -> PathArrays:
    """Links of workers of some sizes, each alone: what slows them together moves with these."""
    table = group_table(cluster, sizes)
    return stack([path_arrays(table[size]) for size in sizes])


def _same(one: Sequence[MachineArrays | PathArrays], other: Sequence[Any]) -> bool:
    """Whether all figures are equal."""
    return all(map(np.array_equal, chain(*one), chain(*other)))


def _sizes(problem: Problem) -> tuple[list[int], list[int]]:
    """Sizes of decode and of prefill workers that are tried [GPU]."""
    most = min(problem.budget, problem.cluster.gpus)
    decode = [
        size
        for size in problem.space.decode_gpus
        if size <= most and packs(problem.cluster, (size, 1), NOBODY)
    ]
    if problem.is_aggregated:
        return decode, decode
    there, prefill = problem.resources.prefill_on, prefill_options(problem).gpus.tolist()
    return decode, [size for size in prefill if packs(there, (size, 1), NOBODY)]


def _sizes_of(configuration: Configuration) -> tuple[list[int], list[int]]:
    prefill = configuration.prefill_gpus_per_worker  # none where one pool does both
    return [configuration.decode_gpus_per_worker], [prefill or configuration.decode_gpus_per_worker]


def _differs(other: Problem, problem: Problem, decode: list[int], prefill: list[int]) -> bool:
    """Whether machines or links of workers of some sizes differ."""
    now, then = _read(problem, decode, prefill), _read(other, decode, prefill)
    return not (_same(now.machines, then.machines) and _same(now.paths, then.paths))


def _nowhere_quicker(other: Problem, problem: Problem) -> bool:
    """Whether machines are alike, and no link of any worker is better than it was."""
    sizes = _sizes(problem)
    now, then = _read(problem, *sizes), _read(other, *sizes)
    return _same(now.machines, then.machines) and all(
        bool(
            (after.seconds_per_pair_byte >= before.seconds_per_pair_byte).all()
            and (after.domain_latency >= before.domain_latency).all()
            and (after.nvlink_rate <= before.nvlink_rate).all()
            and (after.nic_rate <= before.nic_rate).all()
        )
        for before, after in zip(now.paths, then.paths, strict=True)
    )
