"""Decode workers alone: every one with every batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from costmodel.calibration import Calibration
from costmodel.decode import draft_time
from costmodel.decode_rate import decode_rate
from costmodel.deviations import Kinds
from costmodel.inputs import (
    BoolArray,
    FloatArray,
    IntArray,
    PathArrays,
    WorkerArrays,
    take,
)
from costmodel.network import DecodeRate, Interleaved
from costmodel.resolve import of_workers
from costmodel.step_time import StepTime
from costmodel.workload import Workload
from optimizer.confidence import promise_of, ttft_factor
from optimizer.decode_workers import Facts, decode_workers
from optimizer.inside import inside_batches
from optimizer.problem import Problem
from optimizer.space import Shape, batch_grid
from presets import InputError

BLOCK = 1 << 14
"""States rated at a time: arrays of an eighth of a megabyte stay in the cache. [1]"""

LINKS_BIT = 32
"""Where the links of a worker stand in its key: beyond any size."""

NOT_KEPT = StepTime(*(np.zeros(()) for _ in StepTime._fields))
"""Stands for the parts of steps; `DecodeStates.step_of` gives those of one state."""


@dataclass(frozen=True, eq=False)
class DecodeStates:
    """Decode workers with a batch in flight, the fastest of each size first; one entry each.

    Attributes
    ----------
    shapes : tuple of Shape
        Shapes that appear.
    shape : array of int
        Index into `shapes`.
    batch : array of int
        Requests in flight per rank (dp) or worker (tp). [1]
    workers : WorkerArrays
        The workers as the cost model reads them.
    paths : PathArrays
        The links between a worker's GPUs.
    facts : Facts
    constants : Calibration
        Of each shape.
        The machine and the model.
    rate : DecodeRate
        What one worker does, without the parts of its step.
    promised : array of float
        Share of the median interactivity that counts against a target. [1]
    ttft_half_width : array of float
        Half-width of the interval of TTFT, without what lies outside the data in prefill.
    margin : float
        Half-widths by which a limit is to be kept. [1]
    percentile : float or None
        Of TPOT that a target is asked of; None: the median. [%]
    mixed : Interleaved or None
        What prefill does to the steps of workers that do both; None where workers only decode.
    """

    shapes: tuple[Shape, ...]
    shape: IntArray
    batch: IntArray
    workers: WorkerArrays
    paths: PathArrays
    facts: Facts
    constants: Calibration
    rate: DecodeRate
    promised: FloatArray
    ttft_half_width: FloatArray
    margin: float
    percentile: float | None = None
    mixed: Interleaved | None = None

    def __len__(self) -> int:
        """Count the states."""
        return len(self.batch)

    @property
    def tok_s_per_user(self) -> FloatArray:
        """Median interactivity [token/s]."""
        return np.asarray(1.0 / self.rate.tpot)

    @cached_property
    def column_key(self) -> IntArray:
        """Key of the columns that each state goes with, as `column_key` has it."""
        keys = [column_key(shape, self.mixed is not None) for shape in self.shapes]
        return np.array(keys)[self.shape]

    @cached_property
    def speed(self) -> FloatArray:
        """Interactivity that counts against a target [token/s]."""
        return np.asarray(self.promised / self.rate.tpot_at(self.percentile))

    @cached_property
    def before(self) -> IntArray:
        """State of the same shape with the next smaller batch; -1 for the smallest.

        A state with fewer requests in flight than slots is slower than that.
        """
        before = np.full(len(self), -1)
        order = np.lexsort((self.batch, self.shape))
        same = self.shape[order][1:] == self.shape[order][:-1]
        before[order[1:][same]] = order[:-1][same]
        return before

    @cached_property
    def speed_before(self) -> FloatArray:
        """Interactivity of the next smaller batch; infinite where there is none [token/s]."""
        return np.where(self.before < 0, np.inf, self.speed[self.before])

    @cached_property
    def is_last(self) -> BoolArray:
        """Whether no state of the same shape has a larger batch."""
        last = np.ones(len(self), dtype=np.bool_)
        last[self.before[self.before >= 0]] = False
        return last

    @cached_property
    def structure(self) -> IntArray:
        """Number of the structure of each state, from 0."""
        numbers: dict[tuple[object, ...], int] = {}
        of_shape = [numbers.setdefault(shape.structure, len(numbers)) for shape in self.shapes]
        return np.array(of_shape)[self.shape]

    def ttft_factor(self, states: IntArray, widening: FloatArray) -> FloatArray:
        """Factor by which the TTFT of states counts against its limit [1].

        `widening` is that of the prefill workers.
        """
        if not self.margin:
            return np.ones(())
        return ttft_factor(self.margin, self.ttft_half_width[states] * widening)

    def step_of(self, state: int, problem: Problem) -> StepTime:
        """Parts of the step of one state [s]."""
        return self.rate_of(state, np.asarray(float(self.batch[state])), problem).step

    def rate_of(self, states: IntArray | int, requests: FloatArray, problem: Problem) -> DecodeRate:
        """Rate the workers of states with some requests in flight, with the parts of the step."""
        return decode_rate(
            self.facts.machine,
            self.facts.model,
            take(self.workers, states),
            take(self.paths, states),
            problem.scenario.workload,
            requests,
            of_workers(self.constants, self.shape[states], len(self.shapes)),
            mixed=None if self.mixed is None else take(self.mixed, states),
        )

    def shape_of(self, state: int) -> Shape:
        """Shape of one state."""
        return self.shapes[int(self.shape[state])]


def column_key(shape: Shape, is_aggregated: bool) -> int:
    """Tell workers apart that go with other columns: by size, as decode workers.

    Workers that do both prefill by their attention, which counts as well; and so do the links.
    """
    kind = 2 * shape.gpus + (shape.attention == "dp") if is_aggregated else shape.gpus
    return kind + (shape.links << LINKS_BIT)


def decode_states(problem: Problem) -> DecodeStates:
    """Rate every allowed decode worker with every batch that fits its memory.

    A state promises interactivity and TTFT with the confidence of the limits; within the data only
    states inside the data of the calibration are kept.

    Raises
    ------
    InputError
        If no decode worker of the space runs on the cluster, or none has memory for one request.
    """
    known, workload = decode_workers(problem), problem.scenario.workload
    shapes, workers, facts = known.shapes, known.workers, known.facts
    constants, mixed = known.constants, known.mixed
    grid = batch_grid(problem.space)
    batches = [_batches(grid, float(limit)) for limit in known.memory]
    if problem.limits.within_data:
        spans = inside_batches(shapes, problem)
        batches = [
            some[(some >= least) & (some <= most)]
            for some, (least, most) in zip(batches, spans, strict=True)
        ]
    shape = np.repeat(np.arange(len(shapes)), [len(values) for values in batches])
    if not len(shape):
        raise _no_memory(problem)
    batch = np.concatenate(batches)
    rate = _rate(facts, workers, known.paths, workload, shape, batch, constants, known.kinds, mixed)
    promise = promise_of(shapes, problem, inside=problem.limits.within_data).take(shape)
    promised = promise.speed(batch)
    # Sorting is stable: of equals the first shape comes first, and its smaller batch.
    percentile = problem.limits.target_percentile
    order = np.lexsort((rate.tpot_at(percentile) / promised, workers.gpus[shape]))
    return DecodeStates(
        shapes=shapes,
        shape=shape[order],
        batch=batch[order],
        workers=take(workers, shape[order]),
        paths=take(known.paths, shape[order]),
        facts=facts,
        constants=constants,
        rate=take_rate(rate, order),
        promised=promised[order],
        ttft_half_width=promise.half_width(batch)[order],
        margin=promise.margin,
        percentile=percentile,
        mixed=None if mixed is None else take(mixed, shape[order]),
    )


def inside_states(states: DecodeStates, problem: Problem) -> DecodeStates:
    """Keep the states inside the data, as they promise by the limits of a problem.

    What `decode_states` gives where those limits are within the data, without rating them again.

    Parameters
    ----------
    states : DecodeStates
        Of a problem that differs in its limits alone.
    problem : Problem
        What is asked.

    Raises
    ------
    InputError
        If none is inside, or none of those has memory for one request.
    """
    least, most = np.array(inside_batches(states.shapes, problem))[states.shape].T
    kept = np.flatnonzero((states.batch >= least) & (states.batch <= most))
    if not len(kept):
        raise _no_memory(problem)
    found = take_states(states, kept)
    promise = promise_of(states.shapes, problem, inside=True).take(found.shape)
    # Of one size all promise alike, so that they stay in order.
    return replace(
        found,
        promised=promise.speed(found.batch),
        ttft_half_width=promise.half_width(found.batch),
        margin=promise.margin,
    )


def take_states(states: DecodeStates, index: IntArray) -> DecodeStates:
    """Keep the chosen states."""
    return replace(
        states,
        shape=states.shape[index],
        batch=states.batch[index],
        workers=take(states.workers, index),
        paths=take(states.paths, index),
        rate=take_rate(states.rate, index),
        promised=states.promised[index],
        ttft_half_width=states.ttft_half_width[index],
        mixed=None if states.mixed is None else take(states.mixed, index),
    )


def _no_memory(problem: Problem) -> InputError:
    scenario, cluster = problem.scenario, problem.cluster
    return InputError(
        f"isl {scenario.isl} and osl {scenario.osl}: no decode worker of the space has memory "
        f"for {scenario.model.name} at {scenario.precision} and one request on {cluster.sku}, "
        f"gpus {cluster.gpus}; give more gpus in a cluster file, a precision of fewer bits, "
        "shorter lengths or a machine of more memory"
    )


def take_rate(rate: DecodeRate, index: IntArray | slice) -> DecodeRate:
    """Keep the chosen entries of a rate."""
    return DecodeRate(
        requests=rate.requests[index],
        in_flight=rate.in_flight[index],
        step=rate.step,
        tpot=rate.tpot[index],
        tpot_deviation=rate.tpot_deviation[index],
        decode_seconds=rate.decode_seconds[index],
        request_rate=rate.request_rate[index],
        nic_load=rate.nic_load[index],
        arrival_wait=rate.arrival_wait[index],
    )


def _batches(grid: IntArray, limit: float) -> IntArray:
    """Batches of the grid that fit, and the largest that fits."""
    largest = min(math.floor(limit), int(grid[-1]))
    fitting = grid[grid < largest]
    return np.append(fitting, largest) if largest >= 1 else fitting


def _rate(
    facts: Facts,
    workers: WorkerArrays,
    paths: PathArrays,
    workload: Workload,
    shape: IntArray,
    batch: IntArray,
    constants: Calibration,
    kinds: Kinds,
    mixed: Interleaved | None,
) -> DecodeRate:
    """Rate the workers of each shape with each batch, block by block; the parts are not kept."""
    draft = _drafts(facts, workers, paths, shape, batch, constants, kinds)
    rates = [
        decode_rate(
            facts.machine,
            facts.model,
            take(workers, shape[block]),
            take(paths, shape[block]),
            workload,
            batch[block].astype(np.float64),
            of_workers(constants, shape[block], np.size(workers.gpus)),
            draft=draft[block],
            mixed=None if mixed is None else take(mixed, shape[block]),
        )
        for block in _blocks(len(shape))
    ]
    names = [name for name in DecodeRate._fields if name != "step"]
    joined = {name: np.concatenate([getattr(rate, name) for rate in rates]) for name in names}
    return DecodeRate(**joined, step=NOT_KEPT)


def _drafts(
    facts: Facts,
    workers: WorkerArrays,
    paths: PathArrays,
    shape: IntArray,
    batch: IntArray,
    constants: Calibration,
    kinds: Kinds,
) -> FloatArray:
    """Time one pass of drafts of each shape with each batch.

    Shapes that differ in depth alone share it, but where a pass drafts as many tokens.
    """
    nothing = np.zeros(())
    apart = workers._replace(drafts_kept=nothing, context=nothing, level=nothing)
    if not facts.model.draft_block:
        apart = apart._replace(mtp_depth=nothing)
    traits = 0 if kinds.which is None else kinds.which
    every = (*apart, *paths, traits)
    columns = (np.broadcast_to(each, workers.gpus.shape).tolist() for each in every)
    groups: dict[tuple[float, ...], int] = {}
    group = [groups.setdefault(row, len(groups)) for row in zip(*columns, strict=True)]
    width = int(batch.max()) + 1
    place = np.array(group)[shape] * width + batch
    state = np.full(len(groups) * width, -1)
    state[place] = np.arange(len(place))  # any one of the states that share a draft
    chosen = state[state >= 0]
    time = np.zeros(len(state))
    for block in _blocks(len(chosen)):
        some = chosen[block]
        time[place[some]] = draft_time(
            facts.machine,
            facts.model,
            take(workers, shape[some]),
            take(paths, shape[some]),
            batch[some].astype(np.float64),
            of_workers(constants, shape[some], np.size(workers.gpus)),
        )
    return time[place]


def _blocks(count: int) -> list[slice]:
    return [slice(first, first + BLOCK) for first in range(0, count, BLOCK)]
