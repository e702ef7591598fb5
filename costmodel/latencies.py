"""Measured latencies of collectives against the model's: what their constants are fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from costmodel.calibration import AllToAllKernel, Calibration
from costmodel.collectives import all_reduce_time, exchange_time, preparation_time, ranks_hit
from costmodel.counts import BF16_BYTES, FP8_BYTES, NVFP4_BYTES, path_arrays
from costmodel.inputs import FloatArray, PathArrays, stack
from presets import AllReduceRow, AllToAllRow, default_cluster, load_hardware
from topology import group_table

KERNEL_FAMILY = "trtllm-NVLinkTwoSided"  # what the engines behind the serving rows run
KERNEL_OF = {
    ("dispatch", "nvfp4"): ("dispatch_fp4", NVFP4_BYTES),
    ("dispatch", "fp8"): ("dispatch_fp8", FP8_BYTES),
    ("combine_low_precision", "nvfp4"): ("combine_fp4", NVFP4_BYTES),
    ("combine", "bfloat16"): ("combine_fp8", BF16_BYTES),
    ("prepare", "bfloat16"): ("prepare", 0.0),
}  # measured operation and type: kernel of the model, and bytes per element on the wire
LARGEST_TOKENS = 8192  # per rank; beyond any decode batch
LARGEST_MESSAGE = 2**25  # elements
LATENCY_SPREAD = 0.10  # of log latencies


def exchange_residuals(rows: Sequence[AllToAllRow]) -> Callable[[Calibration], FloatArray]:
    """Log residuals of measured dispatch, combine and prepare latencies."""
    chosen = [
        row
        for row in rows
        if row.kernel == KERNEL_FAMILY
        and row.tokens_per_rank <= LARGEST_TOKENS
        and (row.op, row.dtype) in KERNEL_OF
    ]
    groups = {key: [row for row in chosen if (row.op, row.dtype) == key] for key in KERNEL_OF}
    inputs = {key: _exchange_inputs(group) for key, group in groups.items() if group}

    def residuals(calibration: Calibration) -> FloatArray:
        parts = []
        for key, (tokens, hidden, ep, top_k, paths, measured) in inputs.items():
            name, size = KERNEL_OF[key]
            kernel: AllToAllKernel = getattr(calibration, name)
            if size == 0.0:
                time = preparation_time(kernel, tokens, 2.0 * hidden, ep)
            else:
                hit = ranks_hit(ep, top_k)
                time = exchange_time(
                    kernel, tokens, size * hidden, 2.0 * hidden, ep, hit, paths, calibration
                )
            parts.append(np.log(time / measured) / LATENCY_SPREAD)
        return np.concatenate(parts, axis=-1) if parts else np.zeros(0)

    return residuals


def reduce_residuals(rows: Sequence[AllReduceRow]) -> Callable[[Calibration], FloatArray]:
    """Log residuals of measured all-reduce latencies."""
    chosen = [row for row in rows if row.message_elements_bf16 <= LARGEST_MESSAGE]
    size = np.array([2.0 * row.message_elements_bf16 for row in chosen])
    gpus = np.array([float(row.gpus) for row in chosen])
    paths = stack([_paths(row.sku, row.gpus) for row in chosen])
    blackwell = np.array([load_hardware(row.sku).generation == "blackwell" for row in chosen])
    measured = np.array([row.latency_us * 1e-6 for row in chosen])

    def residuals(calibration: Calibration) -> FloatArray:
        launch = np.where(
            blackwell, calibration.all_reduce_launch, calibration.all_reduce_launch_hopper
        )
        time = all_reduce_time(size, gpus, paths, calibration, launch)
        return np.asarray(np.log(time / measured) / LATENCY_SPREAD)

    return residuals


ExchangeInputs = tuple[FloatArray, FloatArray, FloatArray, FloatArray, PathArrays, FloatArray]


def _exchange_inputs(rows: Sequence[AllToAllRow]) -> ExchangeInputs:
    return (
        np.array([float(row.tokens_per_rank) for row in rows]),
        np.array([float(row.hidden) for row in rows]),
        np.array([float(row.ep) for row in rows]),
        np.array([float(row.top_k) for row in rows]),
        stack([_paths(row.sku, row.ep) for row in rows]),
        np.array([row.latency_us * 1e-6 for row in rows]),
    )


def _paths(sku: str, gpus: int) -> PathArrays:
    domain = int(load_hardware(sku).gpus_per_domain.value)
    cluster = default_cluster(sku, max(domain, gpus))
    return path_arrays(group_table(cluster, [gpus])[gpus])
