"""Kernels that carry the experts' tokens across NVLink domains, and the quickest of an engine's.

Each takes fixed time and whichever of two things is longer: the bytes over NICs, or those moved
inside a domain. Low-latency kernels send a copy of a token for each of its experts, normal ones a
copy to each domain, which NVLink spreads there while multiprocessors copy, and a gather sends every
token everywhere. All rise with the tokens, so the least of them does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration, NicKernel, StagedKernel
from costmodel.collectives import copies_sent, ranks_hit
from costmodel.inputs import (
    BoolArray,
    FloatArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
)
from presets.engines import ExchangeName


class Exchange(NamedTuple):
    """What one kernel takes of a layer on one rank; shapes broadcast."""

    dispatch: FloatArray  # [s]
    combine: FloatArray  # [s]
    nic_bytes: FloatArray  # that a rank sends over its NIC, both ways [B]
    nvlink_bytes: FloatArray  # and over NVLink [B]


class Carrier(NamedTuple):
    """One kernel, where a worker may run it, and what a token has on the wire."""

    name: ExchangeName
    allowed: BoolArray
    exchange: Exchange
    dispatch_bytes: FloatArray  # [B]
    combine_bytes: FloatArray  # [B]


class Group(NamedTuple):
    """The ranks that exchange, each with ``tokens`` of its own; shapes broadcast."""

    tokens: FloatArray
    ranks: FloatArray
    ep: FloatArray
    top_k: FloatArray
    paths: PathArrays

    @property
    def in_domain(self) -> FloatArray:
        """Ranks of one NVLink domain."""
        return np.asarray(self.ranks / self.paths.domains)

    @property
    def domains_hit(self) -> FloatArray:
        """Other domains that hold one of a token's experts [1]."""
        domains = self.paths.domains
        return (domains - 1.0) * ranks_hit(np.minimum(self.ep, domains), self.top_k)


def nic_share(calibration: Calibration) -> FloatArray:
    """Largest share of a NIC's rate that any kernel reaches in the engine [1]."""
    low, normal = calibration.low_latency_factor, calibration.normal_factor
    shares = (
        calibration.low_latency_dispatch.nic_efficiency / low,
        calibration.low_latency_combine.nic_efficiency / low,
        calibration.normal_dispatch.nic_efficiency / normal,
        calibration.normal_combine.nic_efficiency / normal,
        calibration.gather.nic_efficiency,
    )
    return reduce(np.maximum, map(np.asarray, shares))


def low_latency_time(
    kernel: NicKernel, group: Group, token_bytes: FloatArray, calibration: Calibration
) -> FloatArray:
    """One direction of DeepEP's low-latency kernels, one message for each token and expert [s].

    ``a + d (1 + log2 N) + max(NIC, NVLink)``, N domains; the second term where N is 2 or more.
    """
    paths = group.paths
    sent = group.tokens * copies_sent(group.ep, group.top_k) * token_bytes  # to each other rank
    far = sent * paths.seconds_per_pair_byte / kernel.nic_efficiency
    near = sent * (group.in_domain - 1.0) / (kernel.link_efficiency * paths.nvlink_rate)
    rounds = np.where(paths.domains > 1, 1.0 + np.log2(paths.domains), 0.0)
    fixed = kernel.latency + kernel.latency_per_doubling * rounds
    longer = np.maximum(np.where(paths.domains > 1, far, 0.0), near)
    return fixed + calibration.deepep_latency + longer


def low_latency_busy(calibration: Calibration) -> float | FloatArray:
    """Time of dispatch and combine in which low-latency kernels hold multiprocessors [s].

    The rest of both is in flight, while others compute.
    """
    at = calibration
    fixed = at.low_latency_dispatch.latency + at.low_latency_combine.latency
    return at.low_latency_factor * (fixed + 2.0 * at.deepep_latency)


def normal_time(
    kernel: StagedKernel, group: Group, token_bytes: FloatArray, calibration: Calibration
) -> FloatArray:
    """One direction of DeepEP's normal kernels, one copy to each domain and forwarded there [s].

    ``a + d log2 N + (NIC^4 + SM^4)^(1/4)``: the multiprocessors that copy are busy throughout.
    """
    paths, hit = group.paths, group.domains_hit
    sent = group.tokens * token_bytes
    far = sent * hit / (kernel.nic_efficiency * paths.nic_rate)
    copies = group.ranks * ranks_hit(group.ep, group.top_k) + hit
    moved = np.sqrt(np.hypot(far**2, (sent * copies / kernel.copy_rate) ** 2))
    fixed = kernel.latency + kernel.latency_per_doubling * np.log2(paths.domains)
    return fixed + calibration.deepep_latency + moved


def gather_time(kernel: NicKernel, group: Group, token_bytes: FloatArray) -> FloatArray:
    """All-gather of every token to all ranks, or reduce-scatter of the results back [s].

    ``a + d log2 W + max(NIC, NVLink)``, W ranks; a token goes once to each other domain.
    """
    paths, sent = group.paths, group.tokens * token_bytes
    far = sent * (paths.domains - 1.0) / (kernel.nic_efficiency * paths.nic_rate)
    near = sent * (group.ranks - 1.0) / (kernel.link_efficiency * paths.nvlink_rate)
    fixed = kernel.latency + kernel.latency_per_doubling * np.log2(group.ranks)
    return fixed + np.maximum(far, near)


def crossing_exchange(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> Exchange:
    """Dispatch and combine of one MoE layer across domains by the quickest kernel that may run.

    Infinite where a worker may run none.
    """
    never = np.asarray(np.inf)
    best = Exchange(never, never, np.zeros(()), np.zeros(()))
    for each in carriers(machine, model, workers, tokens, paths, calibration):
        other = each.exchange
        time, shortest = other.dispatch + other.combine, best.dispatch + best.combine
        quicker = each.allowed & (time < shortest)
        best = Exchange(*(np.where(quicker, *pair) for pair in zip(other, best, strict=True)))
    return best


def carriers(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> Iterator[Carrier]:
    """Each kernel that some worker may run.

    Input goes out as the experts multiply it, that of FP8 experts only where the engine quantises
    it first; results come back in BF16, those of FP4 experts in FP4 where low-latency kernels can.
    """
    group = Group(tokens, workers.gpus, workers.ep, model.top_k, paths)
    there = np.where(workers.fp8_dispatch, model.expert_input_bytes, model.dispatch_bytes)
    back = 2.0 * model.expert_width
    narrow = np.where(workers.fp4_combine, model.combine_bytes, back)
    ranks, inside = group.ranks, group.in_domain
    at = calibration
    if workers.low_latency.any():
        factor = at.low_latency_factor * machine.kernel_factor
        each = tokens * copies_sent(group.ep, group.top_k) * (there + narrow)
        low_latency = Exchange(
            factor * low_latency_time(at.low_latency_dispatch, group, there, at),
            factor * low_latency_time(at.low_latency_combine, group, narrow, at),
            each * (ranks - inside),
            each * (inside - 1.0),
        )
        yield Carrier("deepep_low_latency", workers.low_latency, low_latency, there, narrow)
    both, shared = tokens * (there + back), 1.0 - 1.0 / inside
    if workers.normal.any():
        factor = at.normal_factor * machine.kernel_factor
        normal = Exchange(
            factor * normal_time(at.normal_dispatch, group, there, at),
            factor * normal_time(at.normal_combine, group, back, at),
            both * group.domains_hit,
            both * ranks * ranks_hit(group.ep, group.top_k) * shared,
        )
        yield Carrier("deepep_normal", workers.normal, normal, there, back)
    if workers.gather.any():
        gather = Exchange(
            gather_time(at.gather, group, there),
            gather_time(at.gather, group, back),
            both * (paths.domains - 1.0),
            both * ranks * shared,
        )
        yield Carrier("all_gather", workers.gather, gather, there, back)
