"""Prefill, slots and decode as one closed queueing network.

Each of N users sends the next request when the last one is answered. A request passes prefill,
waits for a slot of a decode worker where all are taken, and decodes. What does not fit in the slots
waits and shows up as TTFT, not as TPOT. Equations: ``docs/cost-model.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodel.calibration import Calibration
from costmodel.decode_rate import decode_rate
from costmodel.inputs import (
    FloatArray,
    IntArray,
)
from costmodel.network import (
    Benchmark,
    DecodeRate,
    Fleet,
    Network,
    Steady,
    ranks,
)
from costmodel.percentiles import BY_MEDIAN, Judged, Spread
from costmodel.prefill import Prefill
from costmodel.root import last_below
from costmodel.waiting import (
    Median,
    bunched_wait,
    median_wait,
    normal_probability,
    spread_of_ends,
    wave_width,
)
from costmodel.workload import Workload, mean_over_median

SMALLEST = 1e-18
"""Smallest batch looked at, of the largest. [1]"""

MOST_LOAD = 0.98
"""Largest share of the prefill capacity, and of the decode NICs, that a run keeps in use. [1]

The queue of an open network grows without end towards a load of 1; users who wait for their answer
before they ask again throttle themselves before. Beyond this share more users only wait longer.
"""

MOST_AT_RANDOM = 8
"""Slots of a worker up to which users at random are counted, not taken as normal. [1]"""


def steady_state(network: Network, requests: FloatArray, max_batch: FloatArray) -> Steady:
    """Solve the network when each rank (dp) or worker (tp) holds ``requests`` in decode."""
    batch = batch_met(requests, max_batch, ranks(network.workers), network.fleet)
    decode = decode_rate(
        network.machine,
        network.model,
        network.workers,
        network.paths,
        network.workload,
        requests,
        network.calibration,
        batch,
        mixed=network.mixed,
    )
    return join_prefill(
        decode,
        network.prefill,
        network.fleet,
        network.workload,
        network.calibration,
    )


def batch_met(
    requests: FloatArray,
    max_batch: FloatArray,
    ranks_of_worker: FloatArray,
    fleet: Fleet,
) -> FloatArray:
    """Count the requests in flight that a request meets on its rank (dp) or worker (tp) [1].

    Where workers hold n requests of some mean and variance, a request, more often on a full worker,
    meets ``E[n^2] / E[n] = mean + variance / mean``. Slots bound it, and a request meets at least
    itself.
    """
    of_worker = requests * ranks_of_worker
    more = routing_variance(of_worker, fleet) / of_worker / ranks_of_worker
    met = np.maximum(requests, np.minimum(max_batch, requests + more))
    return np.maximum(met, 1.0 / ranks_of_worker)


def routing_variance(mean: FloatArray, fleet: Fleet) -> FloatArray:
    """Variance of the requests that a decode worker has, of the given mean [1].

    Each frontend sends its requests round the K workers in turn, so that of its own no worker has
    more than one above another: a variance of ``p (1 - p)`` for a fraction p, 1/6 over all p. With
    F frontends that do not know of each other these add up, one of them apart, which alone would
    keep the workers in turn. It is no more than that of requests at random, ``mean (1 - 1/K)``.
    """
    at_random = mean * (1.0 - 1.0 / fleet.decode_workers)
    return np.asarray(np.minimum(at_random, (fleet.frontends - 1.0) / 6.0))


def join_prefill(
    decode: DecodeRate,
    prefill: Prefill,
    fleet: Fleet,
    workload: Workload,
    calibration: Calibration,
) -> Steady:
    """Put prefill workers before decode workers: their load, their wait and the users it takes.

    In a worker that does both a request arrives in the midst of decode steps.
    """
    request_rate = fleet.decode_workers * decode.request_rate
    load = request_rate / (fleet.prefill_workers * prefill.capacity)
    servers = fleet.prefill_workers * prefill.servers
    service = workload.input_tokens * prefill.seconds_per_token
    seconds = prefill.latency + prefill_wait(load, servers, service, calibration)
    bunched = bunched_wait(
        fleet.decode_workers * decode.in_flight / (fleet.prefill_workers * prefill.capacity),
        decode.decode_seconds,
        spread_of_ends(workload.length_deviation, calibration),
    )
    seconds = seconds + decode.arrival_wait + bunched
    return Steady(
        decode=decode,
        request_rate=request_rate,
        prefill_load=load,
        prefill_seconds=seconds,
        users=fleet.decode_workers * decode.in_flight + request_rate * seconds,
    )


def prefill_wait(
    load: FloatArray, servers: FloatArray, service: FloatArray, calibration: Calibration
) -> FloatArray:
    """Mean wait for a prefill rank (dp) or worker (tp) [s]; infinite from a load of 1.

    Parameters
    ----------
    load
        Share of the prefill capacity in use. [1]
    servers
        Ranks (dp) or workers (tp) that each serve a request, all together. [1]
    service
        Time of one request on one of them. [s]

    Notes
    -----
    Sakasegawa's approximation of a queue with c servers and regular service (H. Sakasegawa, Ann.
    Inst. Statist. Math. 29, 1977), ``s load^(sqrt(2 (c + 1)) - 1) / (2 c (1 - load))``, and part of
    the iteration that is running when a request arrives, as the ranks of a worker step together.
    """
    busy = np.minimum(load, 1.0)
    with np.errstate(divide="ignore"):
        queue = busy ** (np.sqrt(2.0 * (servers + 1.0)) - 1.0) / (2.0 * servers * (1.0 - busy))
    return service * (calibration.prefill_wait * busy + queue)


def fullest(
    network: Network,
    max_batch: FloatArray,
    users: FloatArray,
    slots: FloatArray,
    max_ttft: FloatArray | None = None,
    max_tpot: FloatArray | None = None,
    guess: FloatArray | None = None,
    judged: Judged = BY_MEDIAN,
) -> Steady:
    """Fill decode until ``max_batch``, the users, prefill, NICs, TTFT or TPOT allow no more.

    A fuller batch needs more users and more of prefill, as it takes longer and yields more.

    Parameters
    ----------
    max_batch
        Largest batch in flight looked for, per rank (dp) or worker (tp). [1]
    users
        Who are there to keep it in flight. [1]
    slots
        Slots of each rank (dp) or worker (tp). [1]
    max_ttft
        Longest TTFT of just as many users as keep the batch in flight. [s]
    max_tpot
        Longest TPOT. [s]
    guess
        Batch that is probably none too many, if any. [1]
    judged
        Percentiles of TTFT and TPOT that are to be no longer.
    """
    lacking = _Lacking(network, users, slots, max_ttft, max_tpot, judged)
    most = np.log(max_batch)
    above = None if guess is None else np.log(guess)
    found = last_below(lacking, most + np.log(SMALLEST), most, lacking.part, above)
    return steady_state(network, np.where(found == most, max_batch, np.exp(found)), slots)


@dataclass(frozen=True, eq=False)
class _Lacking:
    """Log of what a batch needs over what there is, of whatever lacks most; as `fullest` has it."""

    network: Network
    users: FloatArray
    slots: FloatArray
    max_ttft: FloatArray | None
    max_tpot: FloatArray | None
    judged: Judged

    def __call__(self, log_batch: FloatArray) -> FloatArray:
        steady = steady_state(self.network, np.exp(log_batch), self.slots)
        with np.errstate(invalid="ignore"):  # before an overloaded prefill no end of users waits
            needs = [steady.users / self.users]
            if self.max_ttft is not None:
                result = benchmark_of(self.network, steady, self.slots, steady.users)
                needs.append(result.ttft_at(self.judged.ttft) / self.max_ttft)
            if self.max_tpot is not None:
                needs.append(steady.decode.tpot_at(self.judged.tpot) / self.max_tpot)
        most_needed = steady.load / MOST_LOAD
        for need in needs:
            most_needed = np.maximum(most_needed, np.where(np.isfinite(need), need, 0.0))
        return np.asarray(np.log(most_needed))

    def part(self, index: IntArray) -> _Lacking:
        """Chosen deployments alone."""
        max_ttft = None if self.max_ttft is None else self.max_ttft[index]
        max_tpot = None if self.max_tpot is None else self.max_tpot[index]
        network = self.network.take(index)
        users, slots = self.users[index], self.slots[index]
        return _Lacking(network, users, slots, max_ttft, max_tpot, self.judged)


def serve(
    network: Network,
    max_batch: FloatArray,
    concurrency: FloatArray,
    in_flight: FloatArray | None = None,
    guess: FloatArray | None = None,
) -> Benchmark:
    """Serve ``concurrency`` users with at most ``max_batch`` requests per rank or worker.

    ``in_flight`` is a batch per rank or worker that the users are known not to exceed, and
    ``guess`` one that they probably reach, if any.
    """
    groups = network.fleet.decode_workers * ranks(network.workers)
    most = np.minimum(max_batch if in_flight is None else in_flight, concurrency / groups)
    guess = None if guess is None else np.minimum(guess, most)
    steady = fullest(network, most, concurrency, max_batch, guess=guess)
    return benchmark_of(network, steady, max_batch, concurrency)


def benchmark_of(
    network: Network, steady: Steady, slots: FloatArray, concurrency: FloatArray
) -> Benchmark:
    """Print what a run of a network in a steady state would; ``slots`` per rank or worker."""
    return benchmark(
        steady,
        network.workers.mtp_depth,
        network.prefill,
        network.fleet,
        network.workload,
        network.fleet.gpus(network.workers),
        slots * ranks(network.workers),
        concurrency,
        network.calibration,
    )


def benchmark(
    steady: Steady,
    mtp_depth: FloatArray,
    prefill: Prefill,
    fleet: Fleet,
    workload: Workload,
    gpus: FloatArray,
    slots: FloatArray,
    concurrency: FloatArray,
    calibration: Calibration,
) -> Benchmark:
    """Print what a run of ``rounds`` requests per user would, around a steady state.

    The mean TTFT follows from Little's law: what is not in decode waits. All users arrive at once
    at the start, so the first round waits half the time that prefill needs for all of them; at the
    end the deployment drains over half a round. That burst makes waves, so that few requests wait
    as long as the mean: the median is that of `median_wait`.
    """
    rounds = calibration.rounds
    busy = np.ones(())
    decoding = fleet.decode_workers * steady.decode.in_flight
    if np.any(fleet.frontends > 1.0):  # one sends users in turn: no slot is free while any waits
        with np.errstate(invalid="ignore"):
            past_prefill = concurrency - steady.request_rate * steady.prefill_seconds
        busy = share_of_slots(slots, fleet, np.fmax(past_prefill, decoding))
    request_rate = steady.request_rate * busy
    decode_seconds = steady.decode.decode_seconds
    slot_wait = np.maximum(
        concurrency / request_rate - decode_seconds - steady.prefill_seconds, 0.0
    )
    ttft = steady.prefill_seconds + slot_wait
    capacity = fleet.prefill_workers * prefill.capacity
    first_round = np.maximum(concurrency / (2.0 * capacity) - (ttft - prefill.latency), 0.0)
    ttft_mean = ttft + first_round / rounds
    mean = mean_over_median(mtp_depth, calibration)
    cycle = ttft_mean + decode_seconds
    request_rate = (1.0 - 1.0 / (2.0 * rounds)) * concurrency / cycle
    tokens = workload.input_tokens + workload.output_tokens

    def median() -> Median:
        drafts = calibration.draft_spread * np.sqrt(mtp_depth)
        spread = spread_of_ends(np.hypot(workload.length_deviation, drafts), calibration)
        width = wave_width(decode_seconds, concurrency / capacity, spread)
        deviation = np.sqrt(routing_variance(decoding / fleet.decode_workers, fleet)) / slots
        return median_wait(slot_wait, decode_seconds, width, deviation)

    def spread() -> Spread:
        return Spread(
            soonest=prefill.latency + slot_wait,
            wait=steady.prefill_seconds - prefill.latency,
            burst=np.asarray(concurrency / capacity),
            rounds=rounds,
        )

    return Benchmark(
        steady=steady,
        tpot_median=steady.decode.tpot,
        tpot_mean=steady.decode.tpot * mean,
        ttft_mean=ttft_mean,
        request_rate=request_rate,
        total_tok_s_per_gpu=request_rate * tokens / gpus,
        median_wait=median,
        spread_over_requests=spread,
    )


def share_of_slots(slots: FloatArray, fleet: Fleet, users: FloatArray) -> FloatArray:
    """Share of the slots in use, of those that a perfect router would use [1].

    ``users`` are those past prefill: in decode, or waiting for a slot.

    Frontends that do not wait for a free slot leave some worker short while another has a queue. A
    worker has about ``n ~ N(N/K, variance)`` of N users, the variance that of `routing_variance`,
    and ``E[min(n, slots)]`` slots in use; with few slots no less than users at random have.
    """
    mean = users / fleet.decode_workers
    deviation = np.sqrt(routing_variance(mean, fleet)) + 1e-9
    above = (mean - slots) / deviation
    density = np.exp(-0.5 * above**2) / np.sqrt(2.0 * np.pi)
    overflow = deviation * np.maximum(density + above * normal_probability(above), 0.0)
    in_use = np.maximum(mean - overflow, _in_use_at_random(slots, fleet, users))
    return np.asarray(np.minimum(in_use / np.minimum(mean, slots), 1.0))


def _in_use_at_random(slots: FloatArray, fleet: Fleet, users: FloatArray) -> FloatArray:
    """Slots in use of a worker with few that users choose at random; 0 of one with more [1].

    The number of users on a worker is binomial, of which the normal has a poor tail.
    """
    chosen = 1.0 / fleet.decode_workers
    few = (slots <= MOST_AT_RANDOM) & (chosen < 1.0)
    odds = chosen / np.maximum(1.0 - chosen, 1e-9)
    probability = (1.0 - np.minimum(chosen, 0.999_999)) ** users
    idle = np.zeros(())
    for number in range(MOST_AT_RANDOM):
        idle = idle + np.maximum(slots - number, 0.0) * probability
        probability = probability * odds * np.maximum(users - number, 0.0) / (number + 1.0)
    return np.where(few, np.maximum(slots - idle, 0.0), 0.0)
