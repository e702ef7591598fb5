"""Measured latencies of collectives against the model's: what their constants are fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from costmodel.calibration import Calibration, NicKernel, StagedKernel
from costmodel.collectives import all_reduce_time, copies_sent, exchange_time, preparation_time
from costmodel.counts import BF16_BYTES, FP8_BYTES, NVFP4_BYTES, path_arrays
from costmodel.deviations import Kinds, Traits, kinds_of
from costmodel.exchange import Group, low_latency_time, normal_time
from costmodel.inputs import FloatArray, PathArrays, stack
from costmodel.resolve import resolve
from presets import AllReduceRow, AllToAllRow, default_cluster, load_hardware
from topology import group_table

FAMILIES = {
    "trtllm-NVLinkTwoSided": "",  # what the engines behind the serving rows run inside a domain
    "trtllm-NVLinkOneSided": "one_sided_",
    "deepep-low-latency": "low_latency_",
    "deepep-normal": "normal_",
}  # measured kernels: how their constants begin
BYTES = {"nvfp4": NVFP4_BYTES, "fp8": FP8_BYTES, "bfloat16": BF16_BYTES}  # of one element
LARGEST_MESSAGE = 2**25  # elements
LATENCY_SPREAD = 0.10  # of log latencies


def exchange_kernel(row: AllToAllRow) -> str:
    """Name the constants of a measured operation: ``dispatch``, ``normal_combine``, ..."""
    return FAMILIES[row.kernel] + row.op


def exchange_residuals(rows: Sequence[AllToAllRow]) -> Callable[[Calibration], FloatArray]:
    """Log residuals of measured dispatch, combine and prepare latencies, in the order of rows.

    The measurements spread the experts of a token evenly over the ranks, so that a kernel that
    joins the copies to one rank sends ``min(k, EP)`` of them. A combine travels in BF16 whatever
    the precision of the experts, unless it says otherwise.
    """
    kernels = [exchange_kernel(row) for row in rows]
    inputs = {
        name: (
            chosen := np.flatnonzero([kernel == name for kernel in kernels]),
            _exchange_inputs([rows[index] for index in chosen.tolist()]),
        )
        for name in dict.fromkeys(kernels)
    }

    def residuals(calibration: Calibration) -> FloatArray:
        parts = []
        for name, (_, (kinds, group, size, hidden, measured)) in inputs.items():
            time = _kernel_time(name, group, size, hidden, resolve(calibration, kinds))
            parts.append(np.log(time / measured) / LATENCY_SPREAD)
        if not parts:
            return np.zeros(0)
        order = np.argsort(np.concatenate([chosen for chosen, _ in inputs.values()]))
        return np.asarray(np.concatenate(parts, axis=-1)[..., order])

    return residuals


def _kernel_time(
    name: str, group: Group, size: FloatArray, hidden: FloatArray, calibration: Calibration
) -> FloatArray:
    """Time of one operation alone [s]; a token takes `size` bytes, its activation `hidden`."""
    kernel = getattr(calibration, name)
    if isinstance(kernel, NicKernel):
        return low_latency_time(kernel, group, size, calibration)
    if isinstance(kernel, StagedKernel):
        return normal_time(kernel, group, size, calibration)
    tokens, ep = group.tokens, group.ep
    if name == "prepare":
        return preparation_time(kernel, tokens, hidden, ep)
    copies = copies_sent(ep, np.minimum(group.top_k, ep))
    return exchange_time(kernel, tokens, size, hidden, ep, copies, group.paths, calibration)


def reduce_residuals(rows: Sequence[AllReduceRow]) -> Callable[[Calibration], FloatArray]:
    """Log residuals of measured all-reduce latencies."""
    chosen = [row for row in rows if row.message_elements_bf16 <= LARGEST_MESSAGE]
    size = np.array([2.0 * row.message_elements_bf16 for row in chosen])
    gpus = np.array([float(row.gpus) for row in chosen])
    paths = stack([_paths(row.sku, row.gpus) for row in chosen])
    kinds = _kinds(chosen)
    measured = np.array([row.latency_us * 1e-6 for row in chosen])

    def residuals(calibration: Calibration) -> FloatArray:
        own = resolve(calibration, kinds)
        time = all_reduce_time(size, gpus, paths, own, np.asarray(own.all_reduce_launch))
        return np.asarray(np.log(time / measured) / LATENCY_SPREAD)

    return residuals


ExchangeInputs = tuple[Kinds, Group, FloatArray, FloatArray, FloatArray]
"""Traits, ranks, bytes of a token on the wire and of its BF16 activation [B], measured time [s]."""


def _exchange_inputs(rows: Sequence[AllToAllRow]) -> ExchangeInputs:
    ep = np.array([float(row.ep) for row in rows])
    group = Group(
        tokens=np.array([float(row.tokens_per_rank) for row in rows]),
        ranks=ep,
        ep=ep,
        top_k=np.array([float(row.top_k) for row in rows]),
        paths=stack([_paths(row.sku, row.ep) for row in rows]),
    )
    size = np.array([row.hidden * _element_bytes(row) for row in rows])
    hidden = np.array([row.hidden * BF16_BYTES for row in rows])
    return _kinds(rows), group, size, hidden, np.array([row.latency_us * 1e-6 for row in rows])


def _kinds(rows: Sequence[AllToAllRow] | Sequence[AllReduceRow]) -> Kinds:
    """Traits of kernels alone: only the machine tells."""
    profiles = [load_hardware(row.sku).kernel_profile for row in rows]
    return kinds_of([Traits("", profile, "bf16", "bf16") for profile in profiles])


def _element_bytes(row: AllToAllRow) -> float:
    return BF16_BYTES if row.op == "combine" else BYTES[row.dtype]


def _paths(sku: str, gpus: int) -> PathArrays:
    domain = int(load_hardware(sku).gpus_per_domain.value)
    cluster = default_cluster(sku, max(domain, gpus))
    return path_arrays(group_table(cluster, [gpus])[gpus])
