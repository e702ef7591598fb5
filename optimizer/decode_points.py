"""Operating points of decode workers: for each shape the largest batch that meets a target.

All shapes are solved at once. A fuller batch takes longer and yields more, so that this batch is
the best of its shape; it need not be whole, as requests in flight are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costmodel.decode_rate import decode_rate
from costmodel.inputs import FloatArray, IntArray, take
from costmodel.network import DecodeRate
from costmodel.prefill import Prefill
from costmodel.resolve import of_workers
from costmodel.root import last_below
from costmodel.serving import MOST_LOAD, prefill_wait
from optimizer.decode_workers import DecodeWorkers, decode_workers
from optimizer.problem import Problem
from optimizer.space import Shape

LEAST = 0.5
"""Smallest batch in flight looked at, on a worker: below it most steps serve nobody. [1]"""

MANY = 2.0**14
"""Workers of a pool in which a request finds one that is idle. [1]"""


@dataclass(frozen=True, eq=False)
class DecodePoints:
    """Decode workers at the largest batch that meets the target; one entry each, best first.

    Attributes
    ----------
    shapes : tuple of Shape
    requests : array of float
        In flight, per rank (dp) or worker (tp). [1]
    most_slots : array of int
        That memory and the space allow, per rank (dp) or worker (tp). [1]
    request_rate : array of float
        Of one worker. No number of workers serves more for each, whatever waits. [1/s]
    arrival_wait : array of float
        Least time that a request waits for the steps of a worker that prefills it as well. [s]
    """

    shapes: tuple[Shape, ...]
    requests: FloatArray
    most_slots: IntArray
    request_rate: FloatArray
    arrival_wait: FloatArray

    def __len__(self) -> int:
        """Count the points."""
        return len(self.shapes)

    def take(self, places: IntArray) -> DecodePoints:
        """Keep the chosen points."""
        return DecodePoints(
            tuple(self.shapes[place] for place in places.tolist()),
            self.requests[places],
            self.most_slots[places],
            self.request_rate[places],
            self.arrival_wait[places],
        )

    def of_size(self, gpus: int) -> IntArray:
        """Places of the points of one size of worker, those of the highest rate first."""
        sizes = np.array([shape.gpus for shape in self.shapes], dtype=np.int64)
        return np.flatnonzero(sizes == gpus)


def decode_points(problem: Problem) -> DecodePoints:
    """Find the operating point of every decode worker that can meet the target.

    Raises
    ------
    InputError
        If no decode worker of the space runs on the cluster.
    """
    known = decode_workers(problem)
    largest = np.minimum(np.floor(known.memory), float(problem.space.largest_batch))
    ranks = known.workers.gpus / known.workers.tp
    some = np.flatnonzero(largest >= 1.0)
    low = np.log(LEAST / ranks[some])
    lacking = _Lacking(known, problem, some)
    found = last_below(lacking, low, np.log(largest[some]), lacking.part)
    meets = lacking(found) <= 0.0
    kept, requests = some[meets], np.minimum(np.exp(found[meets]), largest[some][meets])
    rate = rate_at(known, problem, kept, requests)
    order = np.argsort(-rate.request_rate, kind="stable")
    chosen = kept[order]
    return DecodePoints(
        shapes=tuple(known.shapes[place] for place in chosen.tolist()),
        requests=requests[order],
        most_slots=largest[chosen].astype(np.int64),
        request_rate=rate.request_rate[order],
        arrival_wait=np.broadcast_to(rate.arrival_wait, len(kept))[order],
    )


def rate_at(
    known: DecodeWorkers, problem: Problem, places: IntArray, requests: FloatArray
) -> DecodeRate:
    """Rate chosen workers with some requests in flight, per rank (dp) or worker (tp)."""
    return decode_rate(
        known.facts.machine,
        known.facts.model,
        take(known.workers, places),
        take(known.paths, places),
        problem.scenario.workload,
        requests,
        of_workers(known.constants, places, len(known.shapes)),
        mixed=None if known.mixed is None else take(known.mixed, places),
    )


@dataclass(frozen=True, eq=False)
class _Lacking:
    """Log of what a batch needs over what there is: of time, of the NICs, of prefill.

    Of workers that prefill what they decode TTFT is that in so large a pool that no request queues;
    those of a smaller one wait longer.
    """

    known: DecodeWorkers
    problem: Problem
    places: IntArray

    def __call__(self, log_batch: FloatArray) -> FloatArray:
        rate = rate_at(self.known, self.problem, self.places, np.exp(log_batch))
        needed = np.maximum(rate.tpot * self.problem.limits.target, rate.nic_load / MOST_LOAD)
        if self.known.prefill is not None:
            needed = np.maximum(needed, self._of_prefill(rate, self.known.prefill))
        return np.asarray(np.log(needed))

    def _of_prefill(self, rate: DecodeRate, every: Prefill) -> FloatArray:
        """Weigh what prefill in the same workers needs of its capacity and of TTFT."""
        prefill, limit = take(every, self.places), self.problem.limits.max_ttft
        load = rate.request_rate / prefill.capacity
        needed = np.asarray(load / MOST_LOAD)
        if limit is None:
            return needed
        tokens = self.problem.scenario.workload.input_tokens
        constants = of_workers(self.known.constants, self.places, len(self.known.shapes))
        wait = prefill_wait(
            load, MANY * prefill.servers, tokens * prefill.seconds_per_token, constants
        )
        return np.maximum(needed, (prefill.latency + wait + rate.arrival_wait) / limit)

    def part(self, index: IntArray) -> _Lacking:
        """Chosen workers alone."""
        return _Lacking(self.known, self.problem, self.places[index])


def slots_of(points: DecodePoints, place: int) -> list[int]:
    """Slots worth trying for a point: those that its batch fills, and the next fewer [1].

    With the first no request waits for a slot that the target leaves free; with the second the
    target is met however many users there are.
    """
    requests, most = float(points.requests[place]), int(points.most_slots[place])
    up, down = min(math.ceil(requests), most), math.floor(requests)
    return sorted({up, down} - {0}, reverse=True)
