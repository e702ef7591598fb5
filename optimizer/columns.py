"""Fleets: how many workers of each role for each kind of decode worker, and what they weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray
from optimizer.links import links_of
from optimizer.placement import Group
from optimizer.prefill import PrefillOptions, pool_shapes
from optimizer.problem import Problem
from optimizer.space import Shape
from optimizer.states import DecodeStates, column_key
from optimizer.value import weights_of
from presets import InputError
from topology.packing import Groups

NO_GPUS: Group = (0, 0)
"""The prefill workers of one pool."""


@dataclass(frozen=True, eq=False)
class Columns:
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
    place : array of int
        Number among all columns of the size.
    """

    decode_workers: IntArray
    prefill_workers: IntArray
    option: IntArray
    prefill_gpus: IntArray
    decode_gpus: IntArray
    weight: IntArray
    place: IntArray

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
        """Count the columns."""
        return len(self.weight)


def all_columns(
    problem: Problem, states: DecodeStates, options: PrefillOptions
) -> dict[int, Columns]:
    """Fleets of every kind of decode worker that has a state, by its `column_key`.

    Raises
    ------
    InputError
        If the GPU budget holds none.
    """
    shapes = [states.shapes[place] for place in np.flatnonzero(np.bincount(states.shape))]
    sizes = sorted({shape.gpus for shape in shapes})
    if problem.is_aggregated:
        columns = _pool_columns(problem, states.shapes, options)
    else:
        kinds = {column_key(shape, is_aggregated=False): shape for shape in shapes}
        columns = {key: _columns(problem, kinds[key], options) for key in sorted(kinds)}
    if not any(map(len, columns.values())):
        space, there, most = problem.space, problem.cluster, problem.limits.max_gpus
        smallest = min(sizes) * min(space.decode_workers) + int(options.gpus[0]) * min(
            space.prefill_workers
        )
        scarce = f"max_gpus {most}" if most <= there.gpus else f"gpus {there.gpus}"
        raise InputError(
            f"{scarce} is too few on {there.sku}; the smallest deployment that holds the model "
            f"takes {smallest}; give that or more"
        )
    return columns


def _columns(problem: Problem, shape: Shape, options: PrefillOptions) -> Columns:
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


def _pool_columns(
    problem: Problem, shapes: Sequence[Shape], options: PrefillOptions
) -> dict[int, Columns]:
    """Count workers that do both, within the budget and the NVLink domains."""
    columns, links = {}, links_of(problem)
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
        key = column_key(shape, is_aggregated=True)
        columns[key] = _lightest_first(problem, size, found, options.gpus)
    return columns


def _lightest_first(
    problem: Problem, size: int, found: Sequence[tuple[int, int, int, int, int]], gpus: IntArray
) -> Columns:
    """Put fleets of one size of worker into columns: rows of the first five fields.

    `gpus` are those of the prefill options; workers that have none are not paid for twice.
    """
    table = np.array(found, dtype=np.int64).reshape(-1, 5).T
    decode, prefill, option, prefill_gpus, decode_gpus = table
    counted = np.where(gpus[option] > 0, prefill, 0)
    weight = weights_of(problem, (np.asarray(size), decode), (gpus[option], counted))
    order = np.lexsort((option, prefill, prefill_gpus + decode_gpus, weight))
    decode, prefill, option, prefill_gpus, decode_gpus = table[:, order]
    place = np.arange(len(order))
    return Columns(decode, prefill, option, prefill_gpus, decode_gpus, weight[order], place)


def has_twin(pairs: Columns, options: PrefillOptions) -> BoolArray:
    """Tell columns of prefill tp from which one differs in nothing but dp, and that takes as much.

    Where TTFT does not count they gain no more than a user over their twins, as users are whole.
    """
    dp, gpus = options.attention_dp[pairs.option], options.gpus[pairs.option]
    capacity = options.prefill.capacity[pairs.option]
    counts = pairs.decode_workers, pairs.prefill_workers, gpus
    fleets = list(zip(*(values.tolist() for values in counts), strict=True))
    twins = {fleet: most for fleet, most, is_dp in zip(fleets, capacity, dp, strict=True) if is_dp}
    most = np.array([twins.get(fleet, -1.0) for fleet in fleets])
    return np.asarray(~dp & (most >= capacity))


def take_columns(columns: Columns, index: IntArray) -> Columns:
    """Keep the chosen columns."""
    return Columns(**{name: values[index] for name, values in vars(columns).items()})


def join_columns(parts: Sequence[Columns]) -> Columns:
    """Put columns one after the other."""
    names = vars(parts[0])
    return Columns(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in names})


def level_starts(pairs: Columns) -> IntArray:
    """First column of every level: columns of one weight and one number of GPUs."""
    changed = (np.diff(pairs.weight) != 0) | (np.diff(pairs.gpus) != 0)
    return np.concatenate([[0], np.flatnonzero(changed) + 1])


def first_at(throughput: FloatArray, row: IntArray, level: IntArray, starts: IntArray) -> IntArray:
    """First column of a level that reaches the best of its row there."""
    ends = np.append(starts[1:], throughput.shape[1])
    column = np.empty(len(row), dtype=np.int64)
    for number in sorted(set(level.tolist())):
        chosen = np.flatnonzero(level == number)
        part = throughput[row[chosen], starts[number] : ends[number]]
        column[chosen] = starts[number] + np.argmax(part, axis=1)
    return column
