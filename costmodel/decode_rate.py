"""What one decode worker does with a given batch in flight: its step, its rate, its NICs."""

from __future__ import annotations

import numpy as np

from costmodel.aggregated import joined_step
from costmodel.calibration import Calibration
from costmodel.decode import decode_step
from costmodel.exchange import nic_share
from costmodel.hand_over import hand_over_busy
from costmodel.inputs import FloatArray, MachineArrays, ModelArrays, PathArrays, WorkerArrays
from costmodel.network import DecodeRate, Interleaved, ranks
from costmodel.percentiles import tpot_deviation
from costmodel.step_time import StepTime
from costmodel.workload import Workload, acceptance_length, mean_over_median


def decode_rate(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    workload: Workload,
    requests: FloatArray,
    calibration: Calibration,
    batch: FloatArray | None = None,
    draft: FloatArray | None = None,
    mixed: Interleaved | None = None,
) -> DecodeRate:
    """Rate of one decode worker whose ranks (dp) or which (tp) holds ``requests`` in flight.

    ``batch`` is the batch that a request meets, where uneven routing makes that more than the mean;
    ``draft`` is what `draft_time` gives, where it is known; ``mixed`` is what prefill in the same
    workers does, if any.
    """
    met = requests if batch is None else batch
    step = decode_step(machine, model, workers, paths, met, calibration, draft)
    kept = acceptance_length(workers, workload, calibration)
    handed = hand_over_busy(machine, model, workload, paths.nic_rate)
    arrival_wait = np.zeros(requests.shape)
    if mixed is not None:
        step = joined_step(step, met, kept, mixed)
        handed = np.where(mixed.aggregated, 0.0, handed)
        arrival_wait = mixed.steps * step.total
    step = step.scaled(workers.level)
    tpot = step.total / kept
    mean_tpot = tpot * mean_over_median(workers.mtp_depth, calibration)
    decode_seconds = mean_tpot * (workload.output_tokens - 1.0)
    in_flight = ranks(workers) * requests
    request_rate = in_flight / decode_seconds
    drafts = calibration.draft_spread * np.sqrt(workers.mtp_depth)
    interleaved = None if mixed is None else step.interleaved_prefill / step.total
    arriving = request_rate * handed / workers.gpus
    nic_load = arriving + collectives_nic_load(step, paths, calibration)
    return DecodeRate(
        requests=requests,
        in_flight=in_flight,
        step=step,
        tpot=tpot,
        tpot_deviation=tpot_deviation(drafts, interleaved, requests),
        decode_seconds=decode_seconds,
        request_rate=request_rate,
        nic_load=nic_load,
        arrival_wait=arrival_wait,
    )


def collectives_nic_load(
    step: StepTime, paths: PathArrays, calibration: Calibration
) -> float | FloatArray:
    """Bound the share of a worker's NICs that its own collectives use; none in a domain [1].

    While collectives or drafts run their bytes take no more than the kernels' share of the rate.
    """
    crossing = paths.domains > 1
    if not crossing.any():
        return 0.0
    busy = (step.exposed_communication + step.hidden + step.draft) / step.total
    return np.where(crossing, busy * nic_share(calibration) / calibration.engine_factor, 0.0)
