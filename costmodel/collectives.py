"""Seconds that groups of GPUs spend moving data: all-to-all of experts, all-reduce of attention.

Sizes are bytes, rates bytes per second one way per GPU, times seconds. The load that a group puts
on its worst link comes from the topology as ``seconds_per_pair_byte``: the time of a uniform
all-to-all in which each ordered pair of GPUs exchanges one byte.
"""

from __future__ import annotations

import numpy as np

from costmodel.calibration import AllToAllKernel, Calibration
from costmodel.inputs import BoolArray, FloatArray, PathArrays

LARGEST_DISPATCH = 8 * 2**20
"""Bytes of a rank's dispatch, a copy per expert at the precision of their input, up to which
engines take low-latency kernels over NICs; beyond it they gather all tokens (MoE performance guide
of TensorRT-LLM 1.3, 2026-09)."""

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
    bytes_per_pair * seconds_per_pair_byte / efficiency + rounds * excess latency``. Leaving the
    NVLink domain costs the path's excess latency several times over: a message, its flag, and
    waiting for the slowest peer.
    """
    wire = tokens * copies * token_bytes * paths.seconds_per_pair_byte
    wire = wire / wire_efficiency(paths, calibration)
    local = preparation_time(kernel, tokens, hidden_bytes, ranks)
    rounds = calibration.crossing_rounds * excess_latency(paths.latency, calibration)
    return np.where(ranks > 1, local + wire + rounds, 0.0)


def wire_efficiency(paths: PathArrays, calibration: Calibration) -> FloatArray:
    """Share of its worst link's rate that a group reaches: NVLink in a domain, else NIC [1]."""
    return np.where(paths.domains > 1, calibration.nic_efficiency, calibration.link_efficiency)


def nic_copies(
    tokens: FloatArray,
    input_bytes: FloatArray,
    top_k: FloatArray,
    ranks: FloatArray,
    ep: FloatArray,
    paths: PathArrays,
) -> FloatArray:
    """Count the copies of a token that the engine sends to a given rank over NICs [1].

    Up to `LARGEST_DISPATCH` low-latency kernels send one per expert; beyond it an all-gather sends
    one to each domain, whose ranks share it over NVLink, where that is less.
    """
    one_per_expert, one_per_domain = copies_sent(ep, top_k), paths.domains / ranks
    fewer = np.minimum(one_per_expert, one_per_domain)
    sent = tokens * top_k * input_bytes <= LARGEST_DISPATCH
    return np.where(sent, one_per_expert, fewer)


def nic_copies_timed(
    tokens: FloatArray,
    input_bytes: FloatArray,
    top_k: FloatArray,
    ranks: FloatArray,
    ep: FloatArray,
    paths: PathArrays,
) -> FloatArray:
    """Count the copies to a given rank whose bytes take as long over NICs as the exchange does [1].

    Those of `nic_copies`, but no fewer bytes than low-latency kernels send at `LARGEST_DISPATCH`:
    where engines change to a gather it is no quicker than what they change from, or they would have
    changed before. So no larger batch is quicker than a smaller one.
    """
    largest = LARGEST_DISPATCH / (tokens * top_k * input_bytes)
    at_change = copies_sent(ep, top_k) * np.minimum(largest, 1.0)
    return np.maximum(at_change, nic_copies(tokens, input_bytes, top_k, ranks, ep, paths))


def engine_exchange_time(
    kernel: AllToAllKernel,
    tokens: FloatArray,
    token_bytes: FloatArray,
    hidden_bytes: FloatArray,
    ranks: FloatArray,
    copies: FloatArray,
    copies_over_nics: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> FloatArray:
    """One direction of an MoE all-to-all as it runs in the engine [s].

    As `exchange_time` inside a domain, ``exchange_factor`` times. Beyond it NICs carry copies of
    their own beside NVLink, the slower of the two counts, and so does the longer path.
    """
    factor = calibration.exchange_factor
    sent = tokens * token_bytes
    wire = factor * sent * copies * (ranks - 1.0) / paths.nvlink_rate / calibration.link_efficiency
    sync = factor * calibration.crossing_rounds * excess_latency(paths.domain_latency, calibration)
    crossing = paths.domains > 1
    if crossing.any():
        nics = sent * copies_over_nics * paths.seconds_per_pair_byte / calibration.nic_efficiency
        nics = np.where(crossing, nics * crossing_slowdown(paths, calibration), 0.0)
        wire = np.maximum(wire, nics)
        sync = np.maximum(sync, crossing_latency(paths, calibration))
    time = factor * preparation_time(kernel, tokens, hidden_bytes, ranks) + sync + wire
    return np.where(ranks > 1, time, 0.0)


def crossing_latency(paths: PathArrays, calibration: Calibration) -> FloatArray:
    """Synchronise a collective that leaves its domain over its longer path, in the engine [s]."""
    rounds = calibration.crossing_factor * calibration.crossing_rounds
    longer = rounds * excess_latency(paths.latency, calibration)
    return np.where(paths.domains > 1, longer, 0.0)


def crossing_slowdown(paths: PathArrays, calibration: Calibration) -> FloatArray:
    """Time of bytes over NICs in the engine over that of the measured kernels [1].

    ``crossing_factor`` on the path that those were measured on; it goes with the latency of the
    path, as a bounded window in flight makes it, and a path as short as NVLink's has none.
    """
    measured = calibration.nic_path_latency - calibration.kernel_path_latency
    excess = excess_latency(paths.latency, calibration)
    return 1.0 + (calibration.crossing_factor - 1.0) * excess / measured


def excess_latency(latency: FloatArray, calibration: Calibration) -> FloatArray:
    """Latency of a path beyond that of the NVLink path which the kernels were measured on [s]."""
    return np.maximum(latency - calibration.kernel_path_latency, 0.0)


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
    """All-reduce of ``size`` bytes over a worker's GPUs [s]: the quickest of several hierarchies.

    In a first stage groups of g GPUs of one NVLink domain reduce among themselves, one-shot (each
    reads all others) or two-shot (reduce-scatter, then all-gather). Where g is less than all, each
    GPU then reduces its 1/g of the result with the other groups, ``2 size/g (1 - g/W)``, over
    NVLink inside a domain and over NICs between domains, where the longer path delays the
    synchronisation. ``factor`` is the time in the engine over that of the kernels inside a domain;
    between domains `crossing_factor` is.
    """
    inside = gpus / paths.domains
    wire = calibration.link_efficiency * paths.nvlink_rate / factor
    nic = calibration.nic_efficiency * paths.nic_rate / crossing_slowdown(paths, calibration)
    first = calibration.crossing_rounds * excess_latency(paths.domain_latency, calibration)
    two_shot = factor * calibration.two_shot_latency
    sync = np.maximum(two_shot, crossing_latency(paths, calibration))
    between = np.where(paths.domains == 1, wire, np.minimum(wire, nic))
    best = np.full(np.broadcast_shapes(size.shape, gpus.shape, inside.shape), np.inf)
    smaller = [np.asarray(each) for each in GROUP_SIZES if each < inside.max()]
    for group in (*smaller, inside):
        once = size * (group - 1.0) / wire
        twice = two_shot + 2.0 * size * (group - 1.0) / group / wire
        second = sync + 2.0 * size / group * (1.0 - group / gpus) / between
        time = np.minimum(once, twice) + np.where(group < gpus, second, 0.0)
        whole = (inside % group == 0) | (group == inside)
        best = np.minimum(best, np.where((group <= inside) & whole, time, np.inf))
    return np.where(gpus > 1, factor * (launch + first) + best, 0.0)
