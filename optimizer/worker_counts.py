"""How many workers of each role go with each kind of decode worker, and what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from costmodel.inputs import IntArray
from optimizer.links import links_of
from optimizer.placement import Group
from optimizer.prefill import PrefillOptions, pool_shapes
from optimizer.problem import Problem
from optimizer.space import Shape
from optimizer.spans import Spans, fleet_key
from optimizer.value import weights_of
from presets import InputError
from topology.packing import Groups

NO_GPUS: Group = (0, 0)
"""The prefill workers of one pool."""


@dataclass(frozen=True, eq=False)
class WorkerCounts:
    """Pairs of decode and prefill counts for one size of decode worker, the lightest first.

    Workers of one pool count as both, and as prefill have no GPUs.

    Attributes
    ----------
    decode_workers, prefill_workers : array of int
        [1]
    option : array of int
        Index into the prefill options.
    prefill_gpus, decode_gpus : array of int
        All GPUs of each role. [GPU]
    weight : array of int
        What the objective divides by: millionths of dollars per hour, of GPUs or of watts.
    """

    decode_workers: IntArray
    prefill_workers: IntArray
    option: IntArray
    prefill_gpus: IntArray
    decode_gpus: IntArray
    weight: IntArray

    @property
    def gpus(self) -> IntArray:
        """All GPUs of the deployment."""
        return self.prefill_gpus + self.decode_gpus

    @property
    def decode(self) -> Groups:
        """Sizes of decode workers [GPU], and how many."""
        return self.decode_gpus // self.decode_workers, self.decode_workers

    @property
    def prefill(self) -> Groups:
        """Sizes of prefill workers [GPU], and how many."""
        return self.prefill_gpus // self.prefill_workers, self.prefill_workers

    def __len__(self) -> int:
        """Count the counts."""
        return len(self.weight)


def worker_counts(
    problem: Problem, spans: Spans, options: PrefillOptions
) -> dict[int, WorkerCounts]:
    """Count the workers of every deployment, by the `fleet_key` of its decode worker.

    Raises
    ------
    InputError
        If the GPU budget holds none.
    """
    shapes = [spans.shapes[place] for place in np.flatnonzero(np.bincount(spans.place))]
    sizes = sorted({shape.gpus for shape in shapes})
    if problem.is_aggregated:
        counts = _pool_counts(problem, spans.shapes, options)
    else:
        kinds = {fleet_key(shape, is_aggregated=False): shape for shape in shapes}
        counts = {key: _counts(problem, kinds[key], options) for key in sorted(kinds)}
    if not any(map(len, counts.values())):
        space, there, most = problem.space, problem.cluster, problem.limits.max_gpus
        smallest = min(sizes) * min(space.decode_workers) + int(options.gpus[0]) * min(
            space.prefill_workers
        )
        scarce = f"max_gpus {most}" if most <= there.gpus else f"gpus {there.gpus}"
        raise InputError(
            f"{scarce} is too few on {there.sku}; the smallest deployment that holds the model "
            f"takes {smallest}; give that or more"
        )
    return counts


def _counts(problem: Problem, shape: Shape, options: PrefillOptions) -> WorkerCounts:
    """Pairs of counts within the budget that find room in the NVLink domains.

    Of these the ones in which the workers have the links of the shape and of the option.
    """
    space, most, size = problem.space, problem.limits.max_gpus, shape.gpus
    links = links_of(problem)
    sizes = options.gpus.tolist()
    roomy = {
        (decode, prefill, each)
        for decode, each in product(space.decode_workers, set(sizes))
        if decode * size < most
        for prefill in space.prefill_workers
        if problem.has_room((size, decode), (each, prefill))
    }
    found = [
        (decode, prefill, option, prefill * sizes[option], decode * size)
        for decode, option, prefill in product(
            space.decode_workers, range(len(sizes)), space.prefill_workers
        )
        if (decode, prefill, sizes[option]) in roomy
        and (
            links is None
            or links.of_fleet[(size, decode), (sizes[option], prefill)]
            == (shape.links, options.links[option])
        )
    ]
    return _lightest_first(problem, size, found, options.gpus)


def _pool_counts(
    problem: Problem, shapes: Sequence[Shape], options: PrefillOptions
) -> dict[int, WorkerCounts]:
    """Count workers that do both, within the budget and the NVLink domains."""
    counts, links = {}, links_of(problem)
    for option, shape in enumerate(pool_shapes(shapes)):
        size = shape.gpus
        groups = [(size, count) for count in problem.space.decode_workers]
        roomy = [
            group
            for group in groups
            if problem.has_room(group, NO_GPUS)
            and (links is None or links.of_fleet[group, NO_GPUS][0] == shape.links)
        ]
        found = [(count, count, option, 0, count * size) for _, count in roomy]
        key = fleet_key(shape, is_aggregated=True)
        counts[key] = _lightest_first(problem, size, found, options.gpus)
    return counts


def _lightest_first(
    problem: Problem, size: int, found: Sequence[tuple[int, int, int, int, int]], gpus: IntArray
) -> WorkerCounts:
    """Put fleets of one size of worker into counts: rows of the first five fields.

    `gpus` are those of the prefill options; workers that have none are not paid for twice.
    """
    table = np.array(found, dtype=np.int64).reshape(-1, 5).T
    decode, prefill, option, prefill_gpus, decode_gpus = table
    counted = np.where(gpus[option] > 0, prefill, 0)
    weight = weights_of(problem, (np.asarray(size), decode), (gpus[option], counted))
    order = np.lexsort((option, prefill, prefill_gpus + decode_gpus, weight))
    decode, prefill, option, prefill_gpus, decode_gpus = table[:, order]
    return WorkerCounts(decode, prefill, option, prefill_gpus, decode_gpus, weight[order])


def take_counts(counts: WorkerCounts, index: IntArray) -> WorkerCounts:
    """Keep the chosen counts."""
    return WorkerCounts(**{name: values[index] for name, values in vars(counts).items()})
