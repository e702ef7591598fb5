"""What deployments promise: throughput that no slots and no number of users exceed.

A promise is the less of what the decode workers yield at the target and what prefill takes while it
keeps the limit on TTFT. What is promised less than was found needs no evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray
from costmodel.prefill import Prefill
from costmodel.root import last_below
from costmodel.serving import MOST_LOAD, prefill_wait
from optimizer.candidates import Candidates, Merit
from optimizer.spans import Points
from optimizer.value import request_tokens

SLACK = 1e-6
"""By which a promise is more than what solved batches come to. [1]"""

LEAST_LOAD = 1e-6
"""Load of prefill at which hardly a request waits. [1]"""


@dataclass(frozen=True, eq=False)
class Promised:
    """Deployments, at one target, by what they promise; one entry each.

    Attributes
    ----------
    point : array of int
        Index into the operating points of the target.
    fleet : array of int
        Index into the counts of workers.
    merit : Merit
    """

    point: IntArray
    fleet: IntArray
    merit: Merit

    def __len__(self) -> int:
        """Count the entries."""
        return len(self.point)

    def take(self, index: IntArray | BoolArray) -> Promised:
        """Keep the chosen entries."""
        merit = Merit(self.merit.first[index], self.merit.second[index])
        return Promised(self.point[index], self.fleet[index], merit)


def fed(candidates: Candidates) -> FloatArray:
    """Bound the requests that the prefill workers of each fleet take [1/s]."""
    problem, counts, options = candidates.problem, candidates.counts, candidates.options
    every_option = np.broadcast_arrays(*options.prefill, options.gpus)[:-1]
    prefill = Prefill(*(values[counts.option] for values in every_option))
    limits, capacity = problem.limits, counts.prefill_workers * prefill.capacity
    if limits.max_ttft is None:
        return np.asarray(MOST_LOAD * capacity)
    spans = candidates.spans
    every = np.arange(len(spans))
    factor = np.min(
        [spans.ttft_factor(every, widening).min() for widening in options.widening], initial=np.inf
    )
    longest = limits.max_ttft / factor
    if limits.ttft_percentile is not None:  # of which the mean says nothing
        return np.where(prefill.latency <= longest, MOST_LOAD * capacity, 0.0)
    servers = counts.prefill_workers * prefill.servers
    service = float(problem.scenario.workload.input_tokens) * prefill.seconds_per_token

    def late(log_load: FloatArray) -> FloatArray:
        wait = prefill_wait(np.exp(log_load), servers, service, problem.constants)
        return np.asarray(np.log((prefill.latency + wait) / longest))

    low = np.full(len(counts), np.log(LEAST_LOAD))
    load = np.exp(last_below(late, low, np.full(len(counts), np.log(MOST_LOAD))))
    return np.where(late(low) <= 0.0, load, 0.0) * capacity


def promised(candidates: Candidates, points: Points, most_fed: FloatArray) -> Promised:
    """Promise of every deployment that may meet all limits at one target.

    Parameters
    ----------
    candidates, points
        Workers, and their operating points at the target.
    most_fed : array of float
        From `fed`. [1/s]
    """
    problem, counts = candidates.problem, candidates.counts
    keys = candidates.spans.key[points.row]
    found_points, found_fleets, found_rates = [], [], []
    for key, part in candidates.parts.items():
        of_key = np.flatnonzero(keys == key)
        if not len(of_key) or part.start == part.stop:
            continue
        workers = counts.decode_workers[part]
        yields = _yields(candidates, points, of_key, workers)
        rate = np.minimum(yields, most_fed[part])
        point, fleet = np.nonzero(rate > 0.0)
        found_points.append(of_key[point])
        found_fleets.append(part.start + fleet)
        found_rates.append(rate[point, fleet])
    none = np.zeros(0, dtype=np.int64)
    point, fleet = np.concatenate([none, *found_points]), np.concatenate([none, *found_fleets])
    rate = np.concatenate([np.zeros(0), *found_rates])
    # A run drains over half of a round at its end.
    share = 1.0 - 1.0 / (2.0 * float(problem.calibration.rounds))
    throughput = rate * request_tokens(problem.scenario) * share * (1.0 + SLACK)
    every = Promised(point, fleet, candidates.merit(fleet, throughput))
    return every.take(np.isfinite(every.merit.first))


def _yields(
    candidates: Candidates, points: Points, some: IntArray, workers: IntArray
) -> FloatArray:
    """Bound what numbers of workers yield at chosen points, shape ``(points, numbers)`` [1/s].

    No more requests are in flight than there are users.
    """
    users, spans = candidates.problem.limits.concurrency, candidates.spans
    rate = points.rate[some][:, None]
    if users is None:
        return np.asarray(rate * workers)
    numbers, place = np.unique(workers, return_inverse=True)
    row, number = (each.ravel() for each in np.meshgrid(points.row[some], numbers, indexing="ij"))
    requests = np.minimum(
        users / (spans.ranks[row] * number), np.repeat(points.requests[some], len(numbers))
    )
    by_number = spans.rate(row, requests).request_rate.reshape(len(some), -1)
    return np.asarray(by_number[:, place] * workers)
