"""Workers that prefill what they decode: how much longer their steps take.

Equations: ``docs/cost-model.md``.
"""

from __future__ import annotations

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import BoolArray, FloatArray, MachineArrays, ModelArrays, WorkerArrays
from costmodel.memory import weight_bytes
from costmodel.network import Interleaved
from costmodel.prefill import Prefill
from costmodel.step_time import StepTime
from costmodel.workload import Workload


def interleaved(
    aggregated: BoolArray,
    early: BoolArray,
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    prefill: Prefill,
    workload: Workload,
    calibration: Calibration,
) -> Interleaved | None:
    """Say what prefill does to decode steps in the same worker; None where no worker does both.

    Parameters
    ----------
    aggregated
        Which workers prefill what they decode.
    early
        Which run a release whose steps take `early_release` times as long.
    prefill
        What one of these workers does as a prefill worker.

    Notes
    -----
    While a request decodes its ``o`` tokens, each of the ``b`` requests beside it is prefilled once
    or makes room for one that is, so a token takes ``b P / o`` longer, ``P`` the prefill of a
    request: its work, and a share of what a pass takes whatever its tokens, launches and reads of
    the weights, which the step that it shares has anyhow. On Blackwell the
    steps of workers whose experts, or requests, are spread over ranks take longer than the same
    steps of workers that only decode; no term explains that, so it is one factor.
    Ranks of attention dp step together, so what one prefills holds up the others too: all of it
    where requests come one by one, none where an engine gathers one for each rank
    (`mixed_rank_stall`, the share of the others' prefill that a rank waits for).
    A request that arrives waits for steps to end before a scheduler takes it up (`mixed_steps`);
    under attention dp for more, until other ranks have one to prefill as well.
    """
    if not np.any(aggregated):
        return None
    work = prefill.seconds_per_token * workload.input_tokens
    read = weight_bytes(model, workers) / (machine.hbm_rate * calibration.hbm_efficiency)
    fixed = model.layers * calibration.layer_time + read
    reaching = calibration.mixed_prefill * work + calibration.mixed_fixed_share * fixed
    together = workers.attention_dp & (workers.gpus > 1)
    spread = together | (workers.ep > 1)
    ranks = np.where(together, workers.gpus / workers.tp, 1.0)
    reaching = reaching * (1.0 + calibration.mixed_rank_stall * (ranks - 1.0))
    factor = np.where(spread, calibration.mixed_expert_ranks, 1.0) * np.where(
        early, calibration.early_release, 1.0
    )
    return Interleaved(
        aggregated=aggregated,
        step_factor=np.where(aggregated, factor, 1.0),
        seconds=np.where(aggregated, reaching / workload.output_tokens, 0.0),
        steps=np.where(
            aggregated,
            np.where(together, calibration.mixed_rank_steps, calibration.mixed_steps),
            0.0,
        ),
    )


def joined_step(
    step: StepTime, requests: FloatArray, kept: FloatArray, mixed: Interleaved
) -> StepTime:
    """Lengthen decode steps by the prefill that arrives in them.

    Parameters
    ----------
    requests
        That a request meets, per rank (dp) or worker (tp). [1]
    kept
        Tokens of a request per step. [1]
    """
    arriving = kept * requests * mixed.seconds
    return step.scaled(mixed.step_factor)._replace(interleaved_prefill=arriving)
