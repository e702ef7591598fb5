"""Seconds that groups of GPUs spend moving data: all-to-all of experts, all-reduce of attention.

Sizes are bytes, rates bytes per second one way per GPU, times seconds. The load that a group puts
on its worst link comes from the topology as ``seconds_per_pair_byte``: the time of a uniform
all-to-all in which each ordered pair of GPUs exchanges one byte.
"""

from __future__ import annotations

import numpy as np

from costmodel.calibration import AllToAllKernel, Calibration
from costmodel.inputs import BoolArray, FloatArray, PathArrays

GROUP_SIZES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # first stages that an all-reduce may have


def ranks_hit(ep: FloatArray, top_k: FloatArray) -> FloatArray:
    """Chance that a given rank holds at least one of a token's experts [1].

    A token goes once to each rank that holds one of its experts, not once per expert:
    ``1 - (1 - 1/EP)^k`` for experts chosen independently.

    >>> float(ranks_hit(np.float64(8), np.float64(8)).round(4))
    0.6564
    """
    return np.asarray(1.0 - (1.0 - 1.0 / ep) ** top_k)


def copies_sent(ep: FloatArray, top_k: FloatArray) -> FloatArray:
    """Count the copies of a token that go to a given rank where a kernel sends one per expert [1].

    Low-latency kernels over NICs do not join the experts of one rank: ``k / EP`` on average.

    >>> float(copies_sent(np.float64(16), np.float64(8)))
    0.5
    """
    return np.asarray(top_k / ep)


def exchange_time(
    kernel: AllToAllKernel,
    tokens: FloatArray,
    token_bytes: FloatArray,
    hidden_bytes: FloatArray,
    ranks: FloatArray,
    copies: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> FloatArray:
    """One direction of an MoE all-to-all inside an NVLink domain.

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
    copies
        Copies of a token that go to a given rank: `ranks_hit` or `copies_sent`. [1]
    paths
        Load and latency of the group's links.

    Returns
    -------
    Time of the exchange. [s]

    Notes
    -----
    ``t = latency + latency_per_doubling log2(ranks) + tokens * hidden_bytes * seconds_per_byte +
    bytes_per_pair * (ranks - 1) / (efficiency * rate) + excess latency`` of a path longer than that
    which the kernels were measured on.
    """
    wire = tokens * copies * token_bytes * (ranks - 1.0) / paths.nvlink_rate
    wire = wire / calibration.link_efficiency + excess_latency(paths, calibration)
    local = preparation_time(kernel, tokens, hidden_bytes, ranks)
    return np.where(ranks > 1, local + wire, 0.0)


def excess_latency(paths: PathArrays, calibration: Calibration) -> FloatArray:
    """Latency inside a domain beyond that of the path which the kernels were measured on [s]."""
    return np.maximum(paths.domain_latency - calibration.kernel_path_latency, 0.0)


def kernel_where(
    condition: BoolArray, first: AllToAllKernel, second: AllToAllKernel
) -> AllToAllKernel:
    """Take the first kernel where a condition holds, else the second; fields broadcast."""
    return AllToAllKernel(
        np.where(condition, first.latency, second.latency),
        np.where(condition, first.latency_per_doubling, second.latency_per_doubling),
        np.where(condition, first.seconds_per_byte, second.seconds_per_byte),
    )


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
    factor: float | FloatArray = 1.0,
) -> FloatArray:
    """All-reduce of ``size`` bytes over a worker's GPUs [s].

    ``factor`` is the time in the engine over that of the kernels inside a domain.
    """
    near = _reduce_in_domain(size, gpus, paths, calibration, launch, factor)
    crossing = paths.domains > 1
    if not crossing.any():
        return near
    return np.where(crossing, _reduce_across(size, gpus, paths, calibration), near)


def _reduce_in_domain(
    size: FloatArray,
    gpus: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
    launch: FloatArray,
    factor: float | FloatArray,
) -> FloatArray:
    """All-reduce inside a domain: the quickest of several hierarchies [s].

    In a first stage groups of g GPUs reduce among themselves, one-shot (each reads all others) or
    two-shot (reduce-scatter, then all-gather). Where g is less than all, each GPU then reduces its
    1/g of the result with the other groups, ``2 size/g (1 - g/W)``.
    """
    wire = calibration.link_efficiency * paths.nvlink_rate / factor
    two_shot = factor * calibration.two_shot_latency
    best = np.full(np.broadcast_shapes(size.shape, gpus.shape, wire.shape), np.inf)
    smaller = [np.asarray(each) for each in GROUP_SIZES if each < gpus.max()]
    for group in (*smaller, gpus):
        once = size * (group - 1.0) / wire
        twice = two_shot + 2.0 * size * (group - 1.0) / group / wire
        second = two_shot + 2.0 * size / group * (1.0 - group / gpus) / wire
        time = np.minimum(once, twice) + np.where(group < gpus, second, 0.0)
        whole = (gpus % group == 0) | (group == gpus)
        best = np.minimum(best, np.where((group <= gpus) & whole, time, np.inf))
    first = launch + excess_latency(paths, calibration)
    return np.where(gpus > 1, factor * first + best, 0.0)


def _reduce_across(
    size: FloatArray, gpus: FloatArray, paths: PathArrays, calibration: Calibration
) -> FloatArray:
    """All-reduce across N domains of g GPUs, as NCCL does it [s].

    Two shots inside each domain, ``2 size (1 - 1/g)`` over NVLink, and between them each GPU's 1/g,
    ``2 size/g (1 - 1/N)`` over its NIC; its fixed time grows with each doubling of N.
    """
    inside = gpus / paths.domains
    wire = calibration.link_efficiency * paths.nvlink_rate
    nic = calibration.crossing_reduce_efficiency * paths.nic_rate
    near = 2.0 * size * (1.0 - 1.0 / inside) / wire
    far = 2.0 * size / inside * (1.0 - 1.0 / paths.domains) / nic
    return calibration.crossing_reduce_latency * np.log2(paths.domains) + near + far
