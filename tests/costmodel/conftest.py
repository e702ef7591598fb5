"""A made-up machine, model and calibration whose numbers a reader can multiply in the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from costmodel.calibration import Calibration, calibration_of, constants_of
from costmodel.calibration_file import shipped_calibration
from costmodel.corpus_deviations import shared_constants
from costmodel.deployments import case_of, deployments_of, run
from costmodel.deviations import Traits
from costmodel.inputs import (
    AttentionArrays,
    FloatArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
)
from costmodel.network import Fleet, Network
from costmodel.prefill import Prefill
from costmodel.resolve import resolve
from costmodel.workload import Workload
from presets import ServingRow

ROUND = {
    "hbm_efficiency": 0.5,
    "cache_efficiency": 0.25,
    "expert_efficiency": 0.5,
    "expert_efficiency[format=fp8]": 0.5,
    "expert_efficiency[format=fp8,kernel=trtllm]": 0.5,
    "expert_efficiency[format=bf16]": 0.8,
    "dense_efficiency": 0.4,
    "attention_efficiency": 0.5,
    "attention_efficiency[kernel_profile=hopper]": 1.6,
    "attention_tile": 64.0,
    "roofline_exponent": 2.0,
    "expert_tile": 4.0,
    "expert_tile[kernel_profile=blackwell,format=fp8]": 2.0,
    "touch_spread": 1.0,
    "expert_spread": 0.5,
    "eplb_gain": 0.5,
    "split_tile_time[format=fp4]": 1e-9,
    "layer_time": 10e-6,
    "layer_time[kernel_profile=hopper]": 2.0,
    "layer_time[kernel_profile=blackwell,format=fp8]": 1.5,
    "step_time": 1e-3,
    "request_time": 1e-6,
    "draft_factor": 2.0,
    "sync_share": 0.1,
    "engine_factor": 1.0,
    "exchange_factor": 2.0,
    "overlap": 0.25,
    "all_reduce_factor": 2.0,
    "all_reduce_launch": 5e-6,
    "all_reduce_launch[kernel_profile=hopper]": 0.8,
    "two_shot_latency": 20e-6,
    "link_efficiency": 0.5,
    "kernel_path_latency": 1e-6,
    "crossing_reduce_latency": 40e-6,
    "crossing_reduce_efficiency": 0.25,
    "dispatch.latency": 10e-6,
    "dispatch.latency_per_doubling": 1e-6,
    "dispatch.seconds_per_byte": 1e-12,
    "combine.latency": 40e-6,
    "combine.latency_per_doubling": 1e-6,
    "combine.seconds_per_byte": 1e-12,
    "combine_low_precision.latency": 30e-6,
    "combine_low_precision.latency_per_doubling": 1e-6,
    "combine_low_precision.seconds_per_byte": 1e-12,
    "prepare.latency": 5e-6,
    "prepare.latency_per_doubling": 1e-6,
    "prepare.seconds_per_byte": 1e-12,
    "low_latency_dispatch.latency": 15e-6,
    "low_latency_dispatch.latency_per_doubling": 2e-6,
    "low_latency_dispatch.nic_efficiency": 0.5,
    "low_latency_dispatch.link_efficiency": 0.25,
    "low_latency_combine.latency": 12e-6,
    "low_latency_combine.latency_per_doubling": 3e-6,
    "low_latency_combine.nic_efficiency": 0.8,
    "low_latency_combine.link_efficiency": 0.5,
    "normal_dispatch.latency": 30e-6,
    "normal_dispatch.latency_per_doubling": 25e-6,
    "normal_dispatch.nic_efficiency": 0.5,
    "normal_dispatch.copy_rate": 2e11,
    "normal_combine.latency": 50e-6,
    "normal_combine.latency_per_doubling": 40e-6,
    "normal_combine.nic_efficiency": 0.8,
    "normal_combine.copy_rate": 4e11,
    "gather.latency": 20e-6,
    "gather.latency_per_doubling": 5e-6,
    "gather.nic_efficiency": 0.25,
    "gather.link_efficiency": 0.5,
    "deepep_latency[kernel_profile=blackwell]": 8e-6,
    "low_latency_factor": 2.0,
    "normal_factor": 3.0,
    "prefill_efficiency": 0.2,
    "prefill_attention_efficiency": 0.5,
    "first_token_time": 0.1,
    "prefill_wait": 0.5,
    "prefill_imbalance": 0.1,
    "acceptance": 1.0,
    "acceptance_input": 0.1,
    "acceptance_output": 0.2,
    "mean_to_median": 0.02,
    "reserved_bytes": 10e9,
    "cache_share": 0.5,
    "rounds": 10.0,
    "tpot_half_width.fp4": 0.1,
    "tpot_half_width.fp8": 0.15,
    "tpot_half_width.crossing": 0.3,
    "ttft_half_width.fp4": 0.5,
    "ttft_half_width.fp8": 0.6,
    "ttft_half_width.crossing": 0.7,
    "throughput_half_width.fp4": 0.2,
    "throughput_half_width.fp8": 0.25,
    "throughput_half_width.crossing": 0.4,
    "extrapolation_widening": 2.0,
}


def made_by(rows: Sequence[ServingRow], calibration: Calibration) -> list[ServingRow]:
    made = run(deployments_of([case_of(row) for row in rows]), calibration)
    return [
        row.model_copy(
            update={
                "tpot_ms": 1e3 * float(made.tpot_mean[i]),
                "tpot_median_ms": 1e3 * float(made.tpot_median[i]),
                "iteration_ms": 1e3 * float(made.steady.decode.step.total[i]),
                "ttft_ms": 1e3 * float(made.ttft_mean[i]),
                "ttft_median_ms": 1e3 * float(made.ttft_median[i]),
                "total_tok_s_per_gpu": float(made.total_tok_s_per_gpu[i]),
                "tok_s_per_user": None,
            }
        )
        for i, row in enumerate(rows)
    ]


@pytest.fixture(scope="session")
def as_made() -> Callable[[Sequence[ServingRow], Calibration], list[ServingRow]]:
    """Rows as the model itself would have measured them."""
    return made_by


def number(value: float) -> FloatArray:
    return np.asarray(value)


@pytest.fixture(scope="session")
def plain() -> Calibration:
    """Constants that are easy to multiply; no test of arithmetic reads a fitted value.

    Nothing deviates as the corpus says, and nothing is held against it.
    """
    shared = shared_constants(shipped_calibration()).calibration
    coverage = shared.coverage.model_copy(update={"corpus": None})
    return calibration_of(constants_of(shared) | ROUND, coverage)


@pytest.fixture(scope="session")
def machine() -> MachineArrays:
    return MachineArrays(
        hbm_rate=number(1e12),
        hbm_bytes=number(100e9),
        flops_experts=number(4e13),
        flops_dense=number(1e14),
        flops_draft=number(1e13),
        flops_attention=number(1e14),
        flops_bf16=number(5e13),
        kernel_factor=number(1.0),
        hand_over_start=number(0.0),
        hand_over_efficiency=number(1.0),
        descriptor_time=number(0.0),
    )


@pytest.fixture(scope="session")
def blackwell(plain: Calibration) -> Calibration:
    """Constants of FP4 experts on Blackwell, whose drafts are in BF16."""
    return resolve(plain, Traits("trtllm", "blackwell", "fp4", "bf16"))


@pytest.fixture(scope="session")
def hopper(plain: Calibration) -> Calibration:
    """Constants of FP8 experts on Hopper."""
    return resolve(plain, Traits("trtllm", "hopper", "fp8", "fp8"))


def attention(layers: float) -> AttentionArrays:
    """32 heads over one cache of 50 B a token; 6 M weights that are split and 2 M that are not."""
    return AttentionArrays(
        layers=number(layers),
        params_split=number(6e6),
        params_whole=number(2e6),
        bytes_split=number(12e6),
        bytes_whole=number(4e6),
        heads=number(32),
        split=number(1),
        score_value_dim=number(100),
        prompt_score_value_dim=number(200),
        entry_bytes=number(50),
        ratio=number(1),
        kept=number(np.inf),
        attended=number(np.inf),
        recent=number(0),
        index_bytes=number(0),
        index_products=number(0),
        state_bytes=number(0),
        state_products=number(0),
    )


@pytest.fixture(scope="session")
def model() -> ModelArrays:
    return ModelArrays(
        hidden=number(1000),
        layers=number(5),
        moe_layers=number(4),
        experts=number(16),
        top_k=number(2),
        expert_width=number(1000),
        expert_params=number(1e6),
        expert_bytes=number(5e5),
        shared_params=number(2e6),
        shared_bytes=number(1e6),
        dense_params=number(8e6),
        dense_bytes=number(4e6),
        attention=(attention(5),),
        draft_attention=attention(1),
        head_params=number(1e7),
        head_bytes=number(2e7),
        embedding_bytes=number(2e7),
        draft_layers=number(1),
        draft_passes=number(1),
        draft_block=np.asarray(False),
        draft_wide=np.asarray(False),
        draft_moe=number(1),
        draft_dense_params=number(0),
        draft_dense_bytes=number(0),
        draft_head_params=number(1e7),
        draft_head_bytes=number(2e7),
        draft_own_head_bytes=number(0),
        draft_weight_ratio=number(4),
        active_params=number(1e8),
        expert_input_bytes=number(500),
        dispatch_bytes=number(500),
        combine_bytes=number(1000),
        draft_join_params=number(1e6),
        draft_expert_input_bytes=number(2000),
        draft_dispatch_bytes=number(2000),
        draft_combine_bytes=number(3000),
    )


@pytest.fixture(scope="session")
def dp_workers() -> WorkerArrays:
    """Four GPUs, expert parallel over all, each with requests of its own; no drafts."""
    return WorkerArrays(
        gpus=number(4),
        ep=number(4),
        attention_dp=np.asarray(True),
        mtp_depth=number(0),
        drafts_kept=number(0),
        kept_as_given=np.asarray(False),
        eplb_slots=number(0),
        context=number(1000),
        low_latency=np.asarray(True),
        normal=np.asarray(True),
        gather=np.asarray(True),
        fp8_dispatch=np.asarray(False),
        fp4_combine=np.asarray(True),
    )


@pytest.fixture(scope="session")
def tp_workers() -> WorkerArrays:
    """Four GPUs that split attention and every expert."""
    return WorkerArrays(
        gpus=number(4),
        ep=number(1),
        attention_dp=np.asarray(False),
        mtp_depth=number(0),
        drafts_kept=number(0),
        kept_as_given=np.asarray(False),
        eplb_slots=number(0),
        context=number(1000),
        low_latency=np.asarray(True),
        normal=np.asarray(True),
        gather=np.asarray(True),
        fp8_dispatch=np.asarray(False),
        fp4_combine=np.asarray(True),
    )


@pytest.fixture(scope="session")
def inside() -> PathArrays:
    """Four GPUs of one domain at 100 GB/s: each sends 3 bytes of an all-to-all, 1 to each other."""
    return PathArrays(
        seconds_per_pair_byte=number(3 / 1e11),
        domain_latency=number(1e-6),
        domains=number(1),
        nvlink_rate=number(1e11),
        nic_rate=number(1e10),
    )


@pytest.fixture(scope="session")
def across() -> PathArrays:
    """Four GPUs in two domains: each sends 2 of its 3 bytes over a NIC of 10 GB/s."""
    return PathArrays(
        seconds_per_pair_byte=number(2 / 1e10),
        domain_latency=number(1e-6),
        domains=number(2),
        nvlink_rate=number(1e11),
        nic_rate=number(1e10),
    )


@pytest.fixture(scope="session")
def workload() -> Workload:
    return Workload(number(1000), number(1000))


@pytest.fixture(scope="session")
def network(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    inside: PathArrays,
    workload: Workload,
    blackwell: Calibration,
) -> Network:
    """One prefill worker of 2 GPUs, 100 requests/s, before two decode workers of 4 GPUs."""
    prefill = Prefill(
        seconds_per_token=number(2 / 100 / 900),
        latency=number(0.15),
        capacity=number(100),
        servers=number(2),
    )
    return Network(
        machine=machine,
        model=model,
        workers=dp_workers,
        paths=inside,
        prefill=prefill,
        fleet=Fleet(number(1), number(2), number(2), number(4)),
        workload=workload,
        calibration=blackwell,
    )
