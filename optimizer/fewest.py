"""The fewest GPUs with which replicas of a deployment serve a rate, whatever the budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from costmodel.inputs import BoolArray, IntArray
from costmodel.results import Configuration
from optimizer.entries import Entries, joined
from optimizer.evaluation import evaluate
from optimizer.lattice import Lattice, configuration_of
from optimizer.objective import Objective
from optimizer.problem import Problem
from optimizer.slowed import slowed
from optimizer.value import charged, replicas_for
from presets import ClusterSpec
from presets.scale_out import MAX_GPUS


def fewest_gpus(problem: Problem, rate: float) -> int | None:
    """Find the GPUs that a rate takes, by solving again on clusters that are large enough.

    They are those that are charged: GPUs that serve, or those of whole domains.

    Parameters
    ----------
    problem : Problem
        What is kept, but for the GPU budget.
    rate : float
        [1/s]

    Returns
    -------
    int or None
        None where no cluster that can be described would do. [GPU]

    Notes
    -----
    The deployments that the GPUs at hand allow bound the answer; the second solution has every
    deployment of the space within that bound, so that its answer is the fewest.
    """
    # Weighed by GPUs alone, as for the rate, and none is left out for missing it.
    free = replace(problem, objective=Objective("throughput"))
    whole = problem.objective.counts_domains
    bound, largest = _fewest(free, rate, problem.resources.gpus, whole)
    if bound is None:
        return None
    again = problem if whole else free
    gpus = bound if whole else min(bound, largest)
    return _fewest(_of_whole_domains(again, gpus), rate, bound, whole)[0]


def of_size(problem: Problem, gpus: int) -> Problem:
    """Give clusters at least some GPUs."""

    def sized(cluster: ClusterSpec) -> ClusterSpec:
        return cluster if cluster.gpus >= gpus else cluster.resized(gpus)

    return _resized(problem, sized)


def _fewest(problem: Problem, rate: float, most: int, whole: bool) -> tuple[int | None, int]:
    """Fewest GPUs by the deployments of at most some GPUs, and GPUs of the largest of the space.

    `whole` counts those of whole domains.
    """
    problem = problem.within(replace(problem.limits, max_gpus=most))
    target = problem.limits.target
    lattice = evaluate(problem, target)
    # As many as there can be: what is asked is how many it takes.
    counted = replace(
        _of_whole_domains(problem, MAX_GPUS),
        objective=Objective("gpus", "domain" if whole else "gpu", rate),
    )

    def taken(entries: Entries) -> IntArray:
        fleets = lattice.fleets(entries)
        copies = replicas_for(rate, entries.throughput, problem.scenario)
        return charged(counted, fleets.decode, fleets.prefill, copies)

    found = MAX_GPUS + 1

    def fewer(entries: Entries) -> BoolArray:
        return np.asarray(taken(entries) < found)

    full = joined([lattice.front, lattice.throttled])
    found = _least(problem, lattice, full.take(full.speed >= target), taken, found)
    (more,) = slowed(problem, lattice, [target], [fewer])
    found = _least(problem, lattice, more, taken, found)
    return found if found <= MAX_GPUS else None, _largest(problem, lattice)


def _least(
    problem: Problem,
    lattice: Lattice,
    entries: Entries,
    taken: Callable[[Entries], IntArray],
    most: int,
) -> int:
    """Fewest GPUs that entries take and one of each has room in; `most` where none takes fewer."""
    gpus = taken(entries)
    for place in np.argsort(gpus, kind="stable").tolist():
        if gpus[place] >= most:
            break
        key = (int(each[place]) for each in (entries.state, entries.column, entries.users))
        most = min(most, _room(problem, configuration_of(lattice, *key), int(gpus[place])))
    return most


def _room(problem: Problem, configuration: Configuration, least: int) -> int:
    """Size of the smallest clusters of some GPUs or more in which a deployment finds room [GPU].

    Its copies count by their GPUs alone, or by whole domains.
    """
    decode = configuration.decode_gpus_per_worker, configuration.decode_workers
    prefill = configuration.prefill_gpus_per_worker, configuration.prefill_workers
    sizes = range(least, MAX_GPUS + 1)
    rooms = (gpus for gpus in sizes if of_size(problem, gpus).resources.has_room(decode, prefill))
    return next(rooms, MAX_GPUS + 1)


def _largest(problem: Problem, lattice: Lattice) -> int:
    space = problem.space
    decode = max(space.decode_gpus) * max(space.decode_workers)
    return decode + int(lattice.options.gpus.max()) * max(space.prefill_workers)


def _of_whole_domains(problem: Problem, gpus: int) -> Problem:
    """Give clusters at least some GPUs, in whole NVLink domains."""

    def sized(cluster: ClusterSpec) -> ClusterSpec:
        domain = int(cluster.hardware().gpus_per_domain.value)
        whole = min(-(-gpus // domain), MAX_GPUS // domain) * domain
        return cluster if cluster.gpus >= whole else cluster.resized(whole)

    return _resized(problem, sized)


def _resized(problem: Problem, sized: Callable[[ClusterSpec], ClusterSpec]) -> Problem:
    there = problem.prefill_cluster
    return replace(
        problem,
        cluster=sized(problem.cluster),
        prefill_cluster=None if there is None else sized(there),
    )
