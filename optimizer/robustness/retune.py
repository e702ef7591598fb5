"""Fleets that keep their hardware and engine, and take the batch and users that suit them best.

What is bought and built is a fleet: workers, their GPUs, attention, drafts. Batch and users are
settings: when steps turn out longer than thought, fewer requests go to each worker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.calibration import Calibration
from costmodel.decode_rate import decode_rate
from costmodel.deployments import Deployments, deployments_of, memory_limit, network_of
from costmodel.inputs import BoolArray, FloatArray
from costmodel.network import Benchmark, Network
from costmodel.results import Case, Configuration
from costmodel.serving import MOST_LOAD, benchmark_of, join_prefill, serve
from optimizer.confidence import Promise, prefill_widening, promise_of
from optimizer.problem import Limits, Problem
from optimizer.space import prefill_shape_of, shape_of
from optimizer.throttled import SAME, serve_fed

SETTINGS = {"max_batch": 1, "concurrency": 1}
"""What a configuration has beside its fleet."""

TTFT_STEPS = 24
"""How many smaller batches are tried under a limit on TTFT. [1]

The last user is a whole one and waits longer, so that TTFT may also fall with one slot more.
"""


@dataclass(frozen=True, eq=False)
class Retuned:
    """Fleets at the batch and users that give most; shape ``(fleets,)`` or ``(draws, fleets)``.

    Attributes
    ----------
    batch : array of float
        Slots per rank (dp) or worker (tp); 0 where no batch meets the limits. [1]
    users : array of float
        [1]
    total_tok_s_per_gpu : array of float
        0 where no batch meets the limits. [token/s]
    """

    batch: FloatArray
    users: FloatArray
    total_tok_s_per_gpu: FloatArray


def fleet_of(configuration: Configuration) -> Configuration:
    """Fleet of a configuration: itself with one slot and one user."""
    return configuration.model_copy(update=SETTINGS)


def with_settings(
    fleets: Sequence[Configuration], retuned: Retuned
) -> tuple[Configuration | None, ...]:
    """Write fleets retuned under one calibration; None where no batch meets the limits."""
    return tuple(
        fleet.model_copy(update={"max_batch": int(batch), "concurrency": int(users)})
        if batch
        else None
        for fleet, batch, users in zip(
            fleets, retuned.batch.ravel().tolist(), retuned.users.ravel().tolist(), strict=True
        )
    )


@dataclass(frozen=True, eq=False)
class Retuning:
    """Fleets ready to be retuned under any calibration: facts are looked up once."""

    deployments: Deployments
    limits: Limits
    largest_batch: int
    promise: Promise
    widening: FloatArray  # of the interval of TTFT, by prefill workers outside the data

    def under(self, calibration: Calibration) -> Retuned:
        """Retune under a calibration, or under many: constants of shape ``(draws, 1)``.

        Notes
        -----
        As in the search: as many slots as meet the limits all full, or one slot more with as many
        users as prefill feeds, whichever gives more. TPOT, the load of prefill and TTFT are taken
        to rise with the batch, so that bisection finds the most slots. Under a limit on TTFT
        fewer are tried as well: users come whole, and so TTFT does not rise smoothly. With a given
        number of users more slots shorten their wait, so that a limit on TTFT bounds none of this.
        """
        network = network_of(self.deployments, calibration)
        memory = memory_limit(self.deployments, calibration)
        most = np.floor(np.minimum(memory, self.largest_batch))
        full = self._most_slots(network, most, whole=False)
        found = _better(self._full(network, full), self._fed(network, np.minimum(full + 1.0, most)))
        if self.limits.max_ttft is None or self.limits.concurrency is not None:
            return found
        found = _better(found, self._fed(network, full))
        found = _better(found, self._full(network, self._most_slots(network, most, whole=True)))
        for step in range(1, TTFT_STEPS + 1):
            fewer = full - np.maximum(step, np.round(full * (step / TTFT_STEPS) ** 2))
            found = _better(found, self._full(network, fewer))
        return found

    def _most_slots(self, network: Network, most: FloatArray, whole: bool) -> FloatArray:
        """Find by bisection the most slots that meet the limits all full; `whole` as in `_full`."""
        asked = self.limits.concurrency
        meets = self._meets if asked is None else self._keeps_up
        low, high = np.zeros_like(most), most
        for _ in range(self.largest_batch.bit_length()):
            middle = np.ceil((low + high) / 2.0)
            slots = np.maximum(middle, 1.0)
            fits = (middle > 0) & meets(_full(network, slots, asked, whole), slots)
            low = np.where(fits, middle, low)
            high = np.where(fits, high, np.maximum(middle - 1.0, 0.0))
        return low

    def _full(self, network: Network, slots: FloatArray) -> Retuned:
        """Fill all slots; without a slot nothing runs."""
        one = np.maximum(slots, 1.0)
        run = _full(network, one, self.limits.concurrency)
        return _retuned(run, slots, self._meets(run, one) & (slots > 0))

    def _fed(self, network: Network, slots: FloatArray) -> Retuned:
        """Fill as many slots as prefill and the target allow, or as the given users take."""
        one, asked = np.maximum(slots, 1.0), self.limits.concurrency
        if asked is None:
            slowest = self.promise.speed(one) / self.limits.target
            longest = None if self.limits.max_ttft is None else self._longest_ttft(one)
            run = _Run(*serve_fed(network, one, longest, slowest, judged=self.limits.judged))
        else:
            users = np.full_like(one, float(asked))
            run = _Run(serve(network, one, users), users)
        return _retuned(run, slots, self._meets(run, one) & (slots > 0))

    def _meets(self, run: _Run, slots: FloatArray) -> BoolArray:
        """Whether every limit is met."""
        in_time = run.result.ttft_at(self.limits.ttft_percentile) <= self._longest_ttft(slots)
        return np.asarray(self._keeps_up(run, slots) & in_time)

    def _longest_ttft(self, slots: FloatArray) -> FloatArray:
        """Longest TTFT that keeps the limit with its confidence; infinite without one [s]."""
        longest = math.inf if self.limits.max_ttft is None else self.limits.max_ttft
        factor = self.promise.ttft_factor(slots, self.widening)
        return np.broadcast_to(longest / factor, slots.shape)

    def _keeps_up(self, run: _Run, slots: FloatArray) -> BoolArray:
        """Whether steps are fast enough, and prefill and the users keep their slots full."""
        slowest = self.promise.speed(slots) / self.limits.target
        fast = run.result.tpot_at(self.limits.target_percentile) <= slowest * (1.0 + SAME)
        fed = run.result.steady.load <= MOST_LOAD
        return np.asarray(fast & fed & (run.result.steady.users <= run.users))


@dataclass(frozen=True, eq=False)
class _Run:
    """A benchmark, and with how many users."""

    result: Benchmark
    users: FloatArray


def retuning_of(fleets: Sequence[Configuration], problem: Problem) -> Retuning:
    """Look up the facts of fleets; GPU budget and placement are taken to hold.

    The calibration of the problem is that of the intervals by which a target and a TTFT are met
    with confidence.

    Raises
    ------
    InputError
        If a worker does not fit the cluster, or the model is not offered at the precision.
    """
    cases = [Case(fleet, problem.scenario, *problem.resources) for fleet in fleets]
    return Retuning(
        deployments_of(cases, problem.calibration.anchors),
        problem.limits,
        problem.space.largest_batch,
        promise_of([shape_of(fleet) for fleet in fleets], problem),
        prefill_widening([prefill_shape_of(fleet) for fleet in fleets], problem),
    )


def _full(
    network: Network, slots: FloatArray, asked: int | None = None, whole: bool = True
) -> _Run:
    """Benchmark with all slots in use, by as many users as that takes unless some are asked for.

    `whole` rounds the users up, as a run must.
    """
    decode = decode_rate(
        network.machine,
        network.model,
        network.workers,
        network.paths,
        network.workload,
        slots,
        network.calibration,
        mixed=network.mixed,
    )
    steady = join_prefill(
        decode, network.prefill, network.fleet, network.workload, network.calibration
    )
    if asked is not None:
        users = np.full_like(steady.users, float(asked))
    else:
        users = np.ceil(steady.users) if whole else steady.users
    with np.errstate(invalid="ignore"):  # a wait without end has no throughput
        result = benchmark_of(network, steady, slots, users)
    return _Run(result, users)


def _retuned(run: _Run, slots: FloatArray, meets: BoolArray) -> Retuned:
    return Retuned(
        batch=np.where(meets, slots, 0.0),
        users=np.where(meets, run.users, 0.0),
        total_tok_s_per_gpu=np.where(meets, run.result.total_tok_s_per_gpu, 0.0),
    )


def _better(one: Retuned, other: Retuned) -> Retuned:
    """Take of each place the run of more throughput."""
    more = other.total_tok_s_per_gpu > one.total_tok_s_per_gpu
    return Retuned(
        **{name: np.where(more, getattr(other, name), value) for name, value in vars(one).items()}
    )
