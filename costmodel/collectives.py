"""Seconds that groups of GPUs spend moving data: all-to-all of experts, all-reduce of attention.

Sizes are bytes, rates bytes per second one way per GPU, times seconds. The load that a group puts
on its worst link comes from the topology as ``seconds_per_pair_byte``: the time of a uniform
all-to-all in which each ordered pair of GPUs exchanges one byte.
"""

from __future__ import annotations

import numpy as np

from costmodel.calibration import AllToAllKernel, Calibration
from costmodel.inputs import FloatArray, PathArrays

GROUP_SIZES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # first stages that an all-reduce may have


def ranks_hit(ep: FloatArray, top_k: FloatArray) -> FloatArray:
    """Chance that a given rank holds at least one of a token's experts [1].

    A token goes once to each rank that holds one of its experts, not once per expert:
    ``1 - (1 - 1/EP)^k`` for experts chosen independently.

    >>> float(ranks_hit(np.float64(8), np.float64(8)).round(4))
    0.6564
    """
    return np.asarray(1.0 - (1.0 - 1.0 / ep) ** top_k)


def exchange_time(
    kernel: AllToAllKernel,
    tokens: FloatArray,
    token_bytes: FloatArray,
    hidden_bytes: FloatArray,
    ranks: FloatArray,
    hit: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> FloatArray:
    """One direction of an MoE all-to-all.

    Parameters
    ----------
    kernel
        Fixed and per-token cost of the kernel, measured.
    tokens
        Tokens that each rank sends. [1]
    token_bytes
        Size of one copy of one token on the wire. [B]
    hidden_bytes
        Size of one token's BF16 activation, which the kernel reads or writes locally. [B]
    ranks
        Ranks in the group.
    hit
        Chance that a token goes to a given rank, `ranks_hit`. [1]
    paths
        Load and latency of the group's links.

    Returns
    -------
    Time of the exchange. [s]

    Notes
    -----
    ``t = latency + latency_per_doubling log2(ranks) + tokens * hidden_bytes * seconds_per_byte +
    bytes_per_pair * seconds_per_pair_byte / efficiency + excess latency``. Leaving the NVLink
    domain costs the path's excess latency several times over (a message, its flag, and waiting for
    the slowest peer), and less of the wire is used the longer its latency, because a kernel keeps a
    bounded window in flight.
    """
    wire = tokens * hit * token_bytes * paths.seconds_per_pair_byte / calibration.link_efficiency
    local = preparation_time(kernel, tokens, hidden_bytes, ranks)
    moved = wire * crossing_slowdown(paths, calibration)
    rounds = calibration.crossing_rounds * excess_latency(paths.latency, calibration)
    return np.where(ranks > 1, local + moved + rounds, 0.0)


def excess_latency(latency: FloatArray, calibration: Calibration) -> FloatArray:
    """Latency of a path beyond that of the NVLink path which the kernels were measured on [s]."""
    return np.maximum(latency - calibration.kernel_path_latency, 0.0)


def crossing_slowdown(paths: PathArrays, calibration: Calibration) -> FloatArray:
    """Time of bytes on a path of long latency over that at the wire's full use [1]."""
    return 1.0 + excess_latency(paths.latency, calibration) / calibration.window_latency


def preparation_time(
    kernel: AllToAllKernel, tokens: FloatArray, hidden_bytes: FloatArray, ranks: FloatArray
) -> FloatArray:
    """Time the part of a kernel that uses no link: fixed latency and local copies [s]."""
    fixed = kernel.latency + kernel.latency_per_doubling * np.log2(ranks)
    return np.where(ranks > 1, fixed + tokens * hidden_bytes * kernel.seconds_per_byte, 0.0)


def all_reduce_time(
    size: FloatArray,
    gpus: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
    launch: FloatArray,
) -> FloatArray:
    """All-reduce of ``size`` bytes over a worker's GPUs [s]: the quickest of several hierarchies.

    In a first stage groups of g GPUs of one NVLink domain reduce among themselves, one-shot (each
    reads all others) or two-shot (reduce-scatter, then all-gather). Where g is less than all, each
    GPU then reduces its 1/g of the result with the other groups, ``2 size/g (1 - g/W)``, over
    NVLink inside a domain and over NICs between domains.
    """
    inside = gpus / paths.domains
    wire = calibration.link_efficiency * paths.nvlink_rate
    one_domain = paths.domains == 1
    slowdown = crossing_slowdown(paths, calibration)
    rounds = calibration.crossing_rounds * excess_latency(paths.latency, calibration)
    first = calibration.crossing_rounds * excess_latency(paths.domain_latency, calibration)
    between = np.where(one_domain, wire, calibration.link_efficiency * paths.nic_rate)
    best = np.full(np.broadcast_shapes(size.shape, gpus.shape, inside.shape), np.inf)
    for group in (*GROUP_SIZES, inside):
        one_shot = size * (group - 1.0) / wire
        two_shot = calibration.two_shot_latency + 2.0 * size * (group - 1.0) / group / wire
        second = (
            calibration.two_shot_latency
            + 2.0 * size / group * (1.0 - group / gpus) / between * slowdown
            + rounds
        )
        time = np.minimum(one_shot, two_shot) + np.where(group < gpus, second, 0.0)
        whole = (inside % group == 0) | (group == inside)
        best = np.minimum(best, np.where((group <= inside) & whole, time, np.inf))
    return np.where(gpus > 1, launch + first + best, 0.0)
