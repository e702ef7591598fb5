"""The fewest GPUs with which replicas of a deployment serve a rate, whatever the budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from costmodel.results import Configuration
from optimizer.entries import joined
from optimizer.lattice import Lattice, configuration_of, evaluate
from optimizer.objective import Objective
from optimizer.placement import NOBODY, roomy
from optimizer.problem import Problem
from optimizer.resources import Resources
from optimizer.value import replicas_for
from presets import ClusterSpec, InputError
from topology.cluster import MAX_GPUS


def fewest_gpus(problem: Problem, rate: float, slowest: float) -> int | None:
    """Find the GPUs that a rate takes, by solving again on clusters that are large enough.

    Parameters
    ----------
    problem : Problem
        What is kept, but for the target and the GPU budget.
    rate : float
        [1/s]
    slowest : float
        The target; 0 where it is not kept. [token/s]

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
    bound, largest = _fewest(free, rate, slowest, problem.resources.gpus)
    if bound is None:
        return None
    return _fewest(enlarged(free, min(bound, largest)), rate, slowest, bound)[0]


def _fewest(problem: Problem, rate: float, slowest: float, most: int) -> tuple[int | None, int]:
    """Fewest GPUs by the deployments of at most some GPUs, and GPUs of the largest of the space."""
    lattice = evaluate(problem.within(replace(problem.limits, max_gpus=most)), slowest)
    entries = joined([lattice.front, lattice.throttled])
    entries = entries.take(entries.speed >= slowest)
    replicas = replicas_for(rate, entries.throughput, problem.scenario)
    least = replicas * entries.gpus
    found: int | None = None
    for place in np.argsort(least, kind="stable").tolist():
        if least[place] >= (MAX_GPUS + 1 if found is None else found):
            break
        key = int(entries.state[place]), int(entries.column[place]), int(entries.users[place])
        room = _room(problem.resources, configuration_of(lattice, *key), int(replicas[place]))
        found = room if found is None or (room is not None and room < found) else found
    return found, _largest(problem, lattice)


def _room(resources: Resources, configuration: Configuration, replicas: int) -> int | None:
    """Size the smallest clusters with room for copies of a deployment [GPU]."""
    gpus = configuration.gpus * replicas
    decode = configuration.decode_gpus_per_worker, configuration.decode_workers * replicas
    prefill = configuration.prefill_gpus_per_worker, configuration.prefill_workers * replicas
    there = resources.prefill_cluster
    try:
        if there is None:
            return roomy(_of_size(resources.cluster, gpus), decode, prefill).gpus
        return max(
            roomy(_of_size(resources.cluster, gpus), decode, NOBODY).gpus,
            roomy(_of_size(there, gpus), NOBODY, prefill).gpus,
        )
    except InputError:
        return None


def _largest(problem: Problem, lattice: Lattice) -> int:
    space = problem.space
    decode = max(space.decode_gpus) * max(space.decode_workers)
    return decode + int(lattice.options.gpus.max()) * max(space.prefill_workers)


def enlarged(problem: Problem, gpus: int) -> Problem:
    """Give clusters at least some GPUs, in whole NVLink domains."""
    there = problem.prefill_cluster
    return replace(
        problem,
        cluster=_of_whole_domains(problem.cluster, gpus),
        prefill_cluster=None if there is None else _of_whole_domains(there, gpus),
    )


def _of_whole_domains(cluster: ClusterSpec, gpus: int) -> ClusterSpec:
    domain = int(cluster.hardware().gpus_per_domain.value)
    return _of_size(cluster, max(cluster.gpus, -(-gpus // domain) * domain))


def _of_size(cluster: ClusterSpec, gpus: int) -> ClusterSpec:
    return cluster.model_copy(update={"gpus": gpus})
