"""What a closed queueing network is made of: a fleet, its workers, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import (
    BoolArray,
    FloatArray,
    IntArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
    take,
)
from costmodel.percentiles import Spread, late_tpot
from costmodel.prefill import Prefill
from costmodel.resolve import of_workers
from costmodel.step_time import StepTime
from costmodel.waiting import Median
from costmodel.workload import Workload


class Fleet(NamedTuple):
    """How many workers of each role; arrays broadcast.

    Workers that do both count as prefill workers too, of no GPUs of their own.
    """

    prefill_workers: FloatArray
    prefill_gpus_per_worker: FloatArray
    decode_workers: FloatArray
    frontends: FloatArray  # that route requests, each for itself

    def gpus(self, workers: WorkerArrays) -> FloatArray:
        """All GPUs of the deployment."""
        decode = self.decode_workers * workers.gpus
        return np.asarray(self.prefill_workers * self.prefill_gpus_per_worker + decode)


class Interleaved(NamedTuple):
    """What prefill does to decode steps in the same worker; nothing where a worker only decodes."""

    aggregated: BoolArray
    step_factor: FloatArray  # of the step without prefill [1]
    seconds: FloatArray  # more per token for each request in flight, per rank (dp) or worker [s]
    steps: FloatArray  # that pass from the arrival of a request to its prefill, without a queue [1]


class Network(NamedTuple):
    """All that the closed network needs to know of some deployments."""

    machine: MachineArrays
    model: ModelArrays
    workers: WorkerArrays
    paths: PathArrays
    prefill: Prefill
    fleet: Fleet
    workload: Workload
    calibration: Calibration
    mixed: Interleaved | None = None  # where some worker prefills what it decodes

    def take(self, index: IntArray) -> Network:
        """Keep the chosen deployments."""
        return Network(
            take(self.machine, index),
            take(self.model, index),
            take(self.workers, index),
            take(self.paths, index),
            take(self.prefill, index),
            take(self.fleet, index),
            take(self.workload, index),
            of_workers(self.calibration, index, np.size(self.workers.gpus)),
            None if self.mixed is None else take(self.mixed, index),
        )


class DecodeRate(NamedTuple):
    """What one decode worker does with a given batch in flight; shapes broadcast."""

    requests: FloatArray  # in flight, per rank (dp) or worker (tp)
    in_flight: FloatArray  # on the whole worker
    step: StepTime
    tpot: FloatArray  # median over requests [s]
    tpot_deviation: FloatArray  # over requests, standard one of its logarithm [1]
    decode_seconds: FloatArray  # of one request, mean [s]
    request_rate: FloatArray  # of the worker [1/s]
    nic_load: FloatArray  # share of its NICs' rate that hand-over and collectives use [1]
    arrival_wait: FloatArray  # of a request for the steps of a worker that prefills it as well [s]

    def tpot_at(self, percentile: float | None) -> FloatArray:
        """Percentile of TPOT over requests [%]; None: its median [s]."""
        return late_tpot(self.tpot, self.tpot_deviation, percentile)


class Steady(NamedTuple):
    """The network in steady state with a given batch in flight; shapes broadcast."""

    decode: DecodeRate
    request_rate: FloatArray  # of the deployment [1/s]
    prefill_load: FloatArray  # share of the prefill capacity in use [1]
    prefill_seconds: FloatArray  # from arrival until a decode slot is asked for [s]
    users: FloatArray  # requests in the system that keep this batch in flight

    @property
    def load(self) -> FloatArray:
        """Share in use of what brings requests to decode: prefill or the NICs of decode [1]."""
        return np.maximum(self.prefill_load, self.decode.nic_load)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What a benchmark of the deployment would print; shapes broadcast."""

    steady: Steady
    tpot_median: FloatArray  # [s]
    tpot_mean: FloatArray  # [s]
    ttft_mean: FloatArray  # [s]
    request_rate: FloatArray  # ramp-up and ramp-down included [1/s]
    total_tok_s_per_gpu: FloatArray  # [token/s]
    median_wait: Callable[[], Median]  # for a slot; a search never asks, so it is not at hand
    spread_over_requests: Callable[[], Spread]  # as above

    @cached_property
    def spread(self) -> Spread:
        """How TTFT spreads over the requests of the run."""
        return self.spread_over_requests()

    def tpot_at(self, percentile: float | None) -> FloatArray:
        """Percentile of TPOT over requests [%]; None: its median [s]."""
        return self.steady.decode.tpot_at(percentile)

    def ttft_at(self, percentile: float | None) -> FloatArray:
        """Percentile of TTFT over requests [%]; None: its mean [s]."""
        return self.ttft_mean if percentile is None else self.spread.ttft_at(percentile)

    @cached_property
    def _wait(self) -> Median:
        return self.median_wait()

    @property
    def ttft_median(self) -> FloatArray:
        """Median time to first token [s]."""
        return self.steady.prefill_seconds + self._wait.value

    @property
    def ttft_other_median(self) -> FloatArray:
        """Median that another run may show; equal where there is one mode [s]."""
        return self.steady.prefill_seconds + self._wait.other


def ranks(workers: WorkerArrays) -> FloatArray:
    """Ranks that batch requests of their own: all groups of GPUs under dp, one under tp."""
    return np.asarray(workers.gpus / workers.tp)
