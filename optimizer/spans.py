"""Decode workers with the slots that they may have, before anything is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from costmodel.decode_rate import decode_rate
from costmodel.inputs import FloatArray, IntArray, take
from costmodel.network import DecodeRate, ranks
from costmodel.resolve import of_workers
from costmodel.root import WIDTH, enclosed
from costmodel.serving import MOST_LOAD
from optimizer.confidence import promise_of, ttft_factor
from optimizer.decode_points import rate_at
from optimizer.decode_workers import DecodeWorkers, decode_workers
from optimizer.inside import inside_batches
from optimizer.problem import Problem
from optimizer.space import Shape, batch_grid
from presets import InputError

NEAR = 0.002
"""How closely a batch at a target is bounded, of the logarithm. [1]"""

LINKS_BIT = 32
"""Where the links of a worker stand in its key: beyond any size."""


@dataclass(frozen=True, eq=False)
class Spans:
    """Decode workers, each with slots over which its intervals are equally wide; one entry each.

    A worker is there once, or with a confidence once inside and once to either side of the data.

    Attributes
    ----------
    problem : Problem
        Of which the target is not looked at.
    known : DecodeWorkers
    place : array of int
        Index into its shapes.
    least, most : array of int
        Fewest and most slots, per rank (dp) or worker (tp). [1]
    promised : array of float
        Share of the median interactivity that counts against a target. [1]
    ttft_half_width : array of float
        Half-width of the interval of TTFT, without what lies outside the data in prefill.
    margin : float
        Half-widths by which a limit is to be kept. [1]
    """

    problem: Problem
    known: DecodeWorkers
    place: IntArray
    least: IntArray
    most: IntArray
    promised: FloatArray
    ttft_half_width: FloatArray
    margin: float

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.place)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of all workers."""
        return self.known.shapes

    @cached_property
    def grid(self) -> IntArray:
        """Slots that are tried, but for the most that fit [1]."""
        return batch_grid(self.problem.space)

    @cached_property
    def key(self) -> IntArray:
        """Key of the fleets that each goes with, as `fleet_key` has it."""
        one_pool = self.problem.is_aggregated
        return np.array([fleet_key(shape, one_pool) for shape in self.shapes])[self.place]

    @cached_property
    def structure(self) -> IntArray:
        """Number of the structure of each, from 0."""
        numbers: dict[tuple[object, ...], int] = {}
        of_shape = [numbers.setdefault(shape.structure, len(numbers)) for shape in self.shapes]
        return np.array(of_shape)[self.place]

    @cached_property
    def ranks(self) -> FloatArray:
        """Ranks (dp), or one (tp), that have the slots [1]."""
        every = ranks(self.known.workers)
        return np.asarray(np.broadcast_to(every, len(self.shapes))[self.place])

    @cached_property
    def count(self) -> IntArray:
        """Numbers of slots that are tried of each [1]."""
        below = np.searchsorted(self.grid, self.most) - np.searchsorted(self.grid, self.least)
        return np.asarray(below + 1)

    def floor(self, rows: IntArray, requests: FloatArray) -> IntArray:
        """Most slots tried that so many requests fill; 0 where they fill none [1]."""
        place = np.searchsorted(self.grid, requests, side="right") - 1
        slots = np.where(requests >= self.most[rows], self.most[rows], self.grid[place])
        return np.where((place >= 0) & (slots >= self.least[rows]), slots, 0)

    def above(self, rows: IntArray, slots: IntArray) -> IntArray:
        """Next more slots; 0 where there are none [1]."""
        at_least = np.maximum(slots + 1, self.least[rows])
        place = np.minimum(np.searchsorted(self.grid, at_least), len(self.grid) - 1)
        following = np.minimum(self.grid[place], self.most[rows])
        return np.where(slots < self.most[rows], following, 0)

    def rate(self, rows: IntArray, requests: FloatArray) -> DecodeRate:
        """Rate workers with some requests in flight, per rank (dp) or worker (tp)."""
        return rate_at(self.known, self.problem, self.place[rows], requests)

    def speed(self, rows: IntArray, requests: FloatArray) -> FloatArray:
        """Interactivity that counts against a target [token/s]."""
        tpot = self.rate(rows, requests).tpot_at(self.problem.limits.target_percentile)
        return np.asarray(self.promised[rows] / tpot)

    def ttft_factor(self, rows: IntArray, widening: FloatArray) -> FloatArray:
        """Factor by which TTFT counts against its limit [1]; `widening` is that of prefill."""
        if not self.margin:
            return np.ones(())
        return ttft_factor(self.margin, self.ttft_half_width[rows] * widening)


def fleet_key(shape: Shape, is_aggregated: bool) -> int:
    """Tell workers apart that go with other fleets: by size, as decode workers.

    Workers that do both prefill by their attention, which counts as well; and so do the links.
    """
    kind = 2 * shape.gpus + (shape.attention == "dp") if is_aggregated else shape.gpus
    return kind + (shape.links << LINKS_BIT)


def spans_of(problem: Problem, known: DecodeWorkers | None = None) -> Spans:
    """Find the slots that every allowed decode worker may have in its memory.

    Parameters
    ----------
    problem : Problem
        What is asked. Within the data only slots inside the data of the calibration are kept.
    known : DecodeWorkers, optional
        Its workers, where they were gathered before for other limits.

    Raises
    ------
    InputError
        If no decode worker of the space runs on the cluster, or none has memory for one request.
    """
    known = decode_workers(problem) if known is None else known
    inside, shapes = problem.limits.within_data, known.shapes
    promise = promise_of(shapes, problem, inside=inside)
    grid = batch_grid(problem.space)
    fitting = np.minimum(np.floor(known.memory), float(grid[-1])).astype(np.int64)
    edges = np.array(inside_batches(shapes, problem)) - [1, 0] if inside else promise.edges
    if inside:
        starts, ends = edges[:, :1] + 1, edges[:, 1:]
    else:
        starts = np.column_stack([np.ones(len(shapes)), edges + 1.0])
        ends = np.column_stack([edges, np.full(len(shapes), np.inf)])
    place, part = (each.ravel() for each in np.indices(starts.shape))
    starts, ends = starts.ravel(), ends.ravel()
    most = np.where(fitting[place] <= ends, fitting[place], _grid_floor(grid, ends))
    least = np.minimum(grid[np.minimum(np.searchsorted(grid, starts), len(grid) - 1)], most)
    kept = (least >= np.maximum(starts, 1)) & (most >= least)
    if not kept.any():
        raise _no_memory(problem)
    place, part = place[kept], part[kept]
    return Spans(
        problem=problem,
        known=known,
        place=place,
        least=least[kept].astype(np.int64),
        most=most[kept].astype(np.int64),
        promised=np.exp(-promise.margin * promise.tpot[place, part]),
        ttft_half_width=promise.ttft[place, part],
        margin=promise.margin,
    )


def _grid_floor(grid: IntArray, ends: FloatArray) -> IntArray:
    place = np.searchsorted(grid, ends, side="right") - 1
    return np.where(place >= 0, grid[np.maximum(place, 0)], 0)


def _no_memory(problem: Problem) -> InputError:
    scenario, cluster = problem.scenario, problem.cluster
    return InputError(
        f"isl {scenario.isl} and osl {scenario.osl}: no decode worker of the space has memory "
        f"for {scenario.model.name} at {scenario.precision} and one request on {cluster.sku}, "
        f"gpus {cluster.gpus}; give more gpus in a cluster file, a precision of fewer bits, "
        "shorter lengths or a machine of more memory"
    )


@dataclass(frozen=True, eq=False)
class Points:
    """Operating points at one target of the workers that can meet it; one entry each.

    Attributes
    ----------
    target : float
        [token/s]
    row : array of int
        Index into the spans.
    full : array of int
        Most slots that may all be full, per rank (dp) or worker (tp); 0 where none may. [1]
    more : array of int
        Next more slots, of which not all may be full; 0 where memory holds no more. [1]
    requests : array of float
        No more are in flight at the target, per rank (dp) or worker (tp). [1]
    rate : array of float
        What one worker yields with those: no setting of it yields more. [1/s]
    """

    target: float
    row: IntArray
    full: IntArray
    more: IntArray
    requests: FloatArray
    rate: FloatArray


def points_at(spans: Spans, targets: FloatArray) -> list[Points]:
    """Find the largest batch of every worker at every target, by root finding over all at once.

    A fuller batch takes longer and yields more. No batch is less than one request on a worker, and
    where the NICs take no more it ends there.
    """
    count = len(spans)
    row, target = np.tile(np.arange(count), len(targets)), np.repeat(targets, count)
    lacking = _Lacking(spans, row, target)
    low, most = -np.log(spans.ranks[row]), spans.most[row].astype(np.float64)
    _, above = enclosed(lacking, low, np.log(most), NEAR, lacking.part)
    requests = np.minimum(np.exp(above) * (1.0 + WIDTH), most)
    full = spans.floor(row, requests)
    some = np.flatnonzero(full)
    while len(some):
        some = some[lacking.part(some)(np.log(full[some])) > 0.0]
        full[some] = spans.floor(row[some], np.asarray(full[some] - 0.5))
        some = some[full[some] > 0]
    met = spans.speed(row, np.exp(low)) >= target
    more, rate = spans.above(row, full), spans.rate(row, requests).request_rate
    places = np.split(np.arange(len(row)), len(targets))
    return [
        Points(float(one), row[some], full[some], more[some], requests[some], rate[some])
        for one, some in zip(targets, (each[met[each]] for each in places), strict=True)
    ]


class _Lacking:
    """Log of what a batch needs over what there is: of time, or of the NICs."""

    def __init__(self, spans: Spans, rows: IntArray, targets: FloatArray) -> None:
        self.spans, self.rows, self.targets = spans, rows, targets
        known, place = spans.known, spans.place[rows]
        self.workers, self.paths = take(known.workers, place), take(known.paths, place)
        self.mixed = None if known.mixed is None else take(known.mixed, place)
        self.constants = of_workers(known.constants, place, len(known.shapes))

    def __call__(self, log_requests: FloatArray) -> FloatArray:
        """Weigh so many requests in flight on each."""
        problem, facts = self.spans.problem, self.spans.known.facts
        rate = decode_rate(
            facts.machine,
            facts.model,
            self.workers,
            self.paths,
            problem.scenario.workload,
            np.exp(log_requests),
            self.constants,
            mixed=self.mixed,
        )
        tpot = rate.tpot_at(problem.limits.target_percentile)
        in_time = tpot * self.targets / self.spans.promised[self.rows]
        return np.asarray(np.log(np.maximum(in_time, rate.nic_load / MOST_LOAD)))

    def part(self, index: IntArray) -> _Lacking:
        """Chosen workers alone."""
        return _Lacking(self.spans, self.rows[index], self.targets[index])
